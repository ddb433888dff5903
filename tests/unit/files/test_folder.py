"""`app/files/folder.py`: what is kept, found, refused, swept and erased."""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotFound, StorageFull, TooLarge, UnknownKind
from app.files.folder import UNUSED_S, Files
from app.files.names import folder_of
from app.turns.transcript import Attachment
from tests.unit.files.test_kinds import PNG

OTHERS = f"{'0' * 32}-{'1' * 32}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def files(root: Path) -> Files:
    return Files(root, max_bytes=1000, max_chat_bytes=3000)


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def added(files: Files, content: bytes = PNG, key: str = "ellie", name: str = "a.png") -> Attachment:
    attachment, _ = await files.add(key, name, "", pieces(content))
    return attachment


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def test_a_file_is_kept(files: Files) -> None:
    """What was uploaded is there, whole, with what is known of it; its chat has it, also after it was used."""
    attachment, note = await files.add("a/ü", "../x.png", "image/jpeg", pieces(PNG[:5], b"", PNG[5:]))

    assert (note.name, note.media_type, note.bytes) == ("x.png", "image/png", len(PNG))
    assert note.sha256 == hashlib.sha256(PNG).hexdigest()
    assert await files.read(attachment.file_id) == PNG
    assert await files.find("a/ü", attachment.file_id) == note
    assert await files.use("a/ü", [attachment.file_id]) == [attachment]
    assert await files.use("a/ü", [attachment.file_id]) == [attachment]


async def test_files_of_another_chat_are_not_there(files: Files) -> None:
    """Who knows the id of a file of another chat learns nothing by it."""
    attachment = await added(files, key="ellie")
    for file_id in (attachment.file_id, OTHERS, "../../etc/passwd", "x" * 1000):
        with pytest.raises(NotFound, match="is in this chat"):
            await files.use("bob", [file_id])
        with pytest.raises(NotFound):
            await files.find("bob", file_id)
    assert await files.read(OTHERS) is None
    assert await files.read("../../etc/passwd") is None


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", UnknownKind), (b"\0", UnknownKind), (PNG + b"x" * 1000, TooLarge), (b"<svg/>", UnknownKind)],
)
async def test_what_is_refused_leaves_nothing(files: Files, root: Path, content: bytes, error: type[Exception]) -> None:
    """A file that is empty, too large or of no known kind is refused, and nothing of it stays."""
    with pytest.raises(error):
        await files.add("ellie", "a", "image/png", pieces(content[:10], content[10:]))
    assert left(root) == [folder_of("ellie")]


async def test_a_chat_has_a_limit(files: Files) -> None:
    """The files of one chat are limited together; another chat has its own limit."""
    for _ in range(3):
        await added(files, b"x" * 800)
    with pytest.raises(TooLarge, match="MAX_CHAT_FILE_BYTES"):
        await added(files, b"x" * 800)
    await added(files, b"x" * 800, key="bob")


async def test_an_upload_that_breaks_off_leaves_nothing(files: Files, root: Path) -> None:
    """A client that goes away in the middle leaves no half of a file."""

    async def broken() -> AsyncIterator[bytes]:
        yield PNG
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await files.add("ellie", "a.png", "", broken())
    assert left(root) == [folder_of("ellie")]


async def test_a_full_disk_is_told(files: Files, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is a sentence with status 507, and nothing stays."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="no room") as raised:
        await added(files)
    assert raised.value.status == 507
    assert left(root) == [folder_of("ellie")]


async def test_no_link_is_followed(files: Files, root: Path, tmp_path: Path) -> None:
    """Links in the folder, and a folder that is a link, are not followed; `erase` removes the link only."""
    secret = tmp_path / "secret"
    secret.write_bytes(PNG)
    attachment = await added(files)
    folder, stem = attachment.file_id.split("-")
    (root / folder / stem).unlink()
    (root / folder / stem).symlink_to(secret)
    assert await files.read(attachment.file_id) is None

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / stem).write_bytes(PNG)
    (root / folder_of("bob")).symlink_to(elsewhere)
    assert await files.read(f"{folder_of('bob')}-{stem}") is None
    with pytest.raises(OSError, match=r"directory|link"):
        await added(files, key="bob")
    await files.erase("bob")
    await files.erase("ellie")
    assert left(root) == []
    assert secret.exists()
    assert (elsewhere / stem).exists()


async def test_erase(files: Files) -> None:
    """`erase` removes all of one chat and nothing of another; done again, or where nothing is, it does nothing."""
    mine, other = await added(files), await added(files, key="bob")
    await files.erase("ellie")
    await files.erase("ellie")
    assert await files.read(mine.file_id) is None
    assert await files.read(other.file_id) == PNG
    with pytest.raises(NotFound):
        await files.use("ellie", [mine.file_id])


async def test_erased_while_it_arrives(files: Files, root: Path) -> None:
    """A file whose chat is forgotten while it arrives is not kept, and its sender is told."""

    async def erased() -> AsyncIterator[bytes]:
        yield PNG
        await files.erase("ellie")

    with pytest.raises(NotFound, match="erased while"):
        await files.add("ellie", "a.png", "", erased())
    assert left(root) == []


async def test_what_was_never_used_is_swept(files: Files, root: Path) -> None:
    """After a day an unused file is gone, and half of one; used and young ones stay, and empty folders go."""
    old, used = await added(files), await added(files)
    await files.use("ellie", [used.file_id])
    await added(files, key="bob")
    (root / folder_of("bob") / ("f" * 32 + ".part")).write_bytes(b"half")

    assert files.sweep() == 0
    assert files.sweep(now=time.time() + UNUSED_S + 60) == 3
    assert await files.read(old.file_id) is None
    assert await files.read(used.file_id) == PNG
    assert not (root / folder_of("bob")).exists()
    with pytest.raises(NotFound):
        await files.use("ellie", [old.file_id])


async def test_erase_all(files: Files, root: Path) -> None:
    """`make reset` erases the files of all chats, and nothing that is not ours."""
    await added(files)
    await added(files, key="bob")
    (root / "mine").mkdir()
    files.erase_all()
    assert left(root) == ["mine"]
    (root / "mine").rmdir()
    files.erase_all()
    files.erase_all()
    assert left(root.parent) == []


def test_nothing_to_sweep(files: Files) -> None:
    """Where no file ever came there is no folder, and nothing is swept."""
    assert files.sweep() == 0
