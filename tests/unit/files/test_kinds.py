"""`app/files/kinds.py` and `names.py`: which files are taken, and what they are called."""

import pytest

from app.files.kinds import Kind
from app.files.names import MAX_NAME_CHARS, clean_name, folder_of, is_of_chat, new_id, place_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def kind_of(content: bytes, declared: str = "", piece: int = 3) -> str | None:
    """Return the kind of a file that arrives in small pieces."""
    kind = Kind()
    for start in range(0, len(content), piece):
        kind.add(content[start : start + piece])
    return kind.media_type(declared)


@pytest.mark.parametrize("piece", [1, 3, 4096])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"GIF87a....", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        ("héllo\n".encode(), "text/plain"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"\x89PNG\r\n", None),
        (b"MZ\x90\0\x03", None),
        (b"\xff\xfeh\0i\0", None),
        (b"half of a letter: \xc3", None),
        (b"a\0b", None),
    ],
)
def test_the_content_decides(content: bytes, kind: str | None, piece: int) -> None:
    """What a file is follows from its bytes, however they arrive."""
    assert kind_of(content, piece=piece) == kind


@pytest.mark.parametrize(
    ("content", "declared", "kind"),
    [
        (PNG, "text/html", "image/png"),
        (PNG, "image/svg+xml", "image/png"),
        (b"<svg onload='alert(1)'/>", "image/svg+xml", None),
        (b"<script>", "image/png", None),
        (b"<script>", "text/html; charset=utf-8", "text/plain"),
        (b"a,b\n", "Text/CSV; header=present", "text/csv"),
        (b"# Title", "text/markdown", "text/markdown"),
        (b"{}", "application/json", "text/plain"),
        (b"x", "text/x-evil\r\nx: y", "text/plain"),
    ],
)
def test_what_is_said_is_not_believed(content: bytes, declared: str, kind: str | None) -> None:
    """A header makes no image of text and no HTML of text; it only tells CSV and Markdown from other text."""
    assert kind_of(content, declared) == kind


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a b.txt", "a b.txt"),
        ("..", "file"),
        ("", "file"),
        ("a\r\nx-evil: 1.png", "a\\r\\nx-evil: 1.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("ünï🙂.png", "ünï🙂.png"),
    ],
)
def test_names_are_harmless(name: str, shown: str) -> None:
    """A name has no path and nothing that drives a terminal, a header or the direction of a line."""
    assert clean_name(name) == shown


def test_a_long_name_keeps_its_ending() -> None:
    """A long name is cut in front of its ending."""
    shown = clean_name("x" * 500 + ".png")
    assert len(shown) == MAX_NAME_CHARS
    assert shown.endswith("….png")


@pytest.mark.parametrize("key", ["ellie", "../../etc", "a/b", "..", "ü\u0308", "x" * 256, "a\\b"])
def test_a_chat_has_a_folder_of_its_own(key: str) -> None:
    """Whatever a key is, its folder is a plain name, and ids are of that chat only."""
    file_id = new_id(key)
    assert folder_of(key).isalnum()
    assert place_of(file_id) == (folder_of(key), file_id[33:])
    assert is_of_chat(file_id, key)
    assert not is_of_chat(file_id, key + "x")


@pytest.mark.parametrize("file_id", ["", "..", "../x", "a" * 65, f"{'a' * 32}-{'b' * 32}\n", f"{'A' * 32}-{'b' * 32}"])
def test_what_is_no_id(file_id: str) -> None:
    """Nothing but an id of ours names a place."""
    assert place_of(file_id) is None
