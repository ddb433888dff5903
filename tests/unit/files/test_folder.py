"""`app/files/folder.py`: what only a folder has: links, and a disk without room."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.errors import StorageFull
from app.files.folder import FolderFiles
from app.files.names import folder_of
from tests.unit.files.test_kinds import PNG
from tests.unit.files.test_stores import added


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def files(root: Path) -> FolderFiles:
    return FolderFiles(root, max_bytes=1000, max_chat_bytes=3000)


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def test_a_full_disk_is_told(files: FolderFiles, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is a sentence with status 507, and nothing stays."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="no room") as raised:
        await added(files)
    assert raised.value.status == 507
    assert left(root) == [folder_of("ellie")]


async def test_no_link_is_followed(files: FolderFiles, root: Path, tmp_path: Path) -> None:
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


async def test_erase_all(files: FolderFiles, root: Path) -> None:
    """Folders of ours go, those that are not ours stay, and the root goes when it is empty."""
    await added(files)
    await added(files, key="bob")
    (root / "mine").mkdir()
    files.erase_all()
    assert left(root) == ["mine"]
    (root / "mine").rmdir()
    files.erase_all()
    files.erase_all()
    assert left(root.parent) == []
