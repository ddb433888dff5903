"""`app/web/uploads/parts.py`: messages in parts, as clients of other makers send them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from app.errors import TooLarge, UnknownKind, UsageError
from app.files import Files
from app.files.folder import FolderFiles
from app.web.uploads.parts import DataUrl, read_content, stored
from tests.unit.files.test_kinds import PNG

SENT = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{SENT}"
TEXT = {"type": "text", "text": "look"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return FolderFiles(tmp_path, max_bytes=1000, max_chat_bytes=3000)


def source(**fields: str) -> dict[str, Any]:
    return {"type": "image", "source": fields}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, "image"),
        ({"type": "image_url", "image_url": URL}, "image"),
        ({"type": "file", "file": {"filename": "a.png", "file_data": URL}}, "a.png"),
        (source(type="data", value=SENT, mimeType="image/png"), "image"),
        (source(type="url", value=URL), "image"),
        ({"type": "document", "source": {"type": "url", "value": URL}, "metadata": {"filename": "a.png"}}, "a.png"),
        ({"type": "binary", "mimeType": "image/png", "data": SENT, "filename": "a.png"}, "a.png"),
        ({"type": "binary", "mimeType": "image/png", "url": URL}, "file"),
    ],
)
async def test_parts_that_are_files(files: Files, part: dict[str, Any], name: str) -> None:
    """Images and files come as data, in the parts of Chat Completions and of AG-UI; they are stored as they are."""
    said = read_content([TEXT, part])
    assert said.text == "look"
    assert said.files == (DataUrl(name, URL),)
    ((file_id,),) = [each.values() for each in await stored(files, "ellie", "m", said.files)]
    assert await files.read(file_id) == PNG


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": {}},
        {"type": "file", "file": {"file_id": "file-123"}},
        source(type="url", value="https://example.org/cat.png"),
        source(type="file", value="file-123"),
        {"type": "binary", "mimeType": "image/png", "url": "//example.org/cat.png"},
    ],
)
def test_nothing_is_fetched(part: dict[str, Any]) -> None:
    """A file at another server is refused, wherever that is."""
    with pytest.raises(UsageError, match="nothing is fetched"):
        read_content([TEXT, part])


@pytest.mark.parametrize("content", [None, 1, [TEXT, "text"], [{"type": "input_audio"}], [{"type": "image"}], [{}]])
def test_what_is_no_content(content: Any) -> None:
    """Sound, and what is no part at all, is refused for what it is."""
    with pytest.raises(UsageError, match=r"must be a text or a list of parts|reads text, images and files only"):
        read_content(content)


def test_texts_are_lines() -> None:
    """A text is itself, its parts are its lines."""
    assert read_content("look").text == "look"
    assert read_content([TEXT, TEXT]).text == "look\nlook"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("data:image/png;base64,%%%", UsageError),
        ("data:image/png;base64", UsageError),
        ("data:,\0", UnknownKind),
        (f"data:,{'x' * 2000}", TooLarge),
    ],
)
async def test_odd_data(files: Files, url: str, error: type[Exception]) -> None:
    """A data URL that cannot be read, or whose file is not taken, is refused with a sentence."""
    with pytest.raises(error):
        await stored(files, "ellie", "m", [DataUrl("x", url)])


async def test_sent_again(files: Files) -> None:
    """The same message, sent again, has the same files, also when a message has used them; another has others."""
    brought = [DataUrl("a", "data:,hello%20you"), DataUrl("b", "data:,hello%20you")]
    first = await stored(files, "ellie", "m", brought)
    await files.use("ellie", [each["file_id"] for each in first])
    assert await stored(files, "ellie", "m", brought) == first
    assert len({each["file_id"] for each in [*first, *await stored(files, "ellie", "n", brought)]}) == 4
    assert await files.read(first[0]["file_id"]) == b"hello you"
    assert await files.sweep(now=2e10) == 2
