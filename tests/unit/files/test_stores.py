"""What every store of files does, `app/files/store.py`: what is kept, found, refused, swept and erased."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from app.errors import NotFound, TooLarge, UnknownKind
from app.files.chosen import files_of
from app.files.folder import FolderFiles
from app.files.names import folder_of
from app.files.store import UNUSED_S, Files
from app.settings import Settings
from app.turns.transcript import Attachment
from tests.support.s3_server import BUCKET, S3Server
from tests.unit.files.test_kinds import PNG

OTHERS = f"{'0' * 32}-{'1' * 32}"


class Place(Protocol):
    """Where a store keeps files, as somebody sees it who looks there."""

    files: Files

    def left(self) -> list[str]:
        """Return the names of all that is there."""

    def put(self, path: str) -> None:
        """Put something there, past the store."""


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: Files = FolderFiles(root, max_bytes=1000, max_chat_bytes=3000)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())

    def put(self, path: str) -> None:
        (self._root / path).parent.mkdir(exist_ok=True)
        (self._root / path).write_bytes(b"x")


class Bucket:
    def __init__(self, server: S3Server, prefix: str) -> None:
        self._server, self._prefix = server, prefix
        self.files = files_of(
            Settings(files_dir=f"s3://{BUCKET}/{prefix}", max_file_bytes=1000, max_chat_file_bytes=3000)
        )

    def left(self) -> list[str]:
        return self._server.paths(self._prefix)

    def put(self, path: str) -> None:
        self._server.bucket(self._prefix).put(path, b"x")


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "files")
    server: S3Server = request.getfixturevalue("s3")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)  # of conftest: its client wants certificates, also for http
    for name, value in server.settings.items():
        monkeypatch.setenv(name, value)
    return Bucket(server, f"of/{tmp_path.name}")


@pytest.fixture
def files(place: Place) -> Files:
    return place.files


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def added(files: Files, content: bytes = PNG, key: str = "ellie", name: str = "a.png") -> Attachment:
    attachment, _ = await files.add(key, name, "", pieces(content))
    return attachment


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
async def test_what_is_refused_leaves_nothing(place: Place, content: bytes, error: type[Exception]) -> None:
    """A file that is empty, too large or of no known kind is refused, and nothing of it stays."""
    with pytest.raises(error):
        await place.files.add("ellie", "a", "image/png", pieces(content[:10], content[10:]))
    assert place.left() == []


async def test_a_chat_has_a_limit(files: Files) -> None:
    """The files of one chat are limited together; another chat has its own limit."""
    for _ in range(3):
        await added(files, b"x" * 800)
    with pytest.raises(TooLarge, match="MAX_CHAT_FILE_BYTES"):
        await added(files, b"x" * 800)
    await added(files, b"x" * 800, key="bob")


async def test_an_upload_that_breaks_off_leaves_nothing(place: Place) -> None:
    """A client that goes away in the middle leaves no half of a file."""

    async def broken() -> AsyncIterator[bytes]:
        yield PNG
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await place.files.add("ellie", "a.png", "", broken())
    assert place.left() == []


async def test_erase(files: Files) -> None:
    """`erase` removes all of one chat and nothing of another; done again, or where nothing is, it does nothing."""
    mine, other = await added(files), await added(files, key="bob")
    await files.erase("ellie")
    await files.erase("ellie")
    assert await files.read(mine.file_id) is None
    assert await files.read(other.file_id) == PNG
    with pytest.raises(NotFound):
        await files.use("ellie", [mine.file_id])


async def test_erased_while_it_arrives(place: Place) -> None:
    """A file whose chat is forgotten while it arrives is not kept, and its sender is told."""

    async def erased() -> AsyncIterator[bytes]:
        yield PNG
        await place.files.erase("ellie")

    with pytest.raises(NotFound, match="erased while"):
        await place.files.add("ellie", "a.png", "", erased())
    assert place.left() == []


async def test_what_was_never_used_is_swept(place: Place) -> None:
    """After a day an unused file is gone, and half of one; used and young ones stay, and empty folders go."""
    old, used = await added(place.files), await added(place.files)
    await place.files.use("ellie", [used.file_id])
    await added(place.files, key="bob")
    place.put(f"{folder_of('bob')}/{'f' * 32}.part")

    assert await place.files.sweep() == 0
    assert await place.files.sweep(now=time.time() + UNUSED_S + 60) == 3
    assert await place.files.read(old.file_id) is None
    assert await place.files.read(used.file_id) == PNG
    assert [path for path in place.left() if folder_of("bob") in path] == []
    with pytest.raises(NotFound):
        await place.files.use("ellie", [old.file_id])


async def test_nothing_to_sweep(files: Files) -> None:
    """Where no file ever came there is no folder, and nothing is swept."""
    assert await files.sweep() == 0


async def test_a_file_that_comes_again(place: Place) -> None:
    """With a seed the same file has the same id, and is there once."""
    first, _ = await place.files.add("ellie", "a.png", "", pieces(PNG), seed="s")
    left = place.left()
    assert (await place.files.add("ellie", "a.png", "", pieces(PNG), seed="s"))[0] == first
    assert (place.left(), len(left)) == (left, 2)


async def test_the_files_of_all_chats_are_erased(place: Place) -> None:
    """`make reset` erases the files of all chats, and nothing that is not ours."""
    await added(place.files)
    await added(place.files, key="bob")
    place.put("mine/a")
    place.files.erase_all()
    place.files.erase_all()
    assert place.left() == ["mine/a"]
