"""The folder of files: one folder in it for each chat, and in that each file with a note of what it is.

`….part` is a file that arrives, `<id>` the whole one. Its note is `<id>.new` until a message uses it, then
`<id>.used`; both are one `rename` away from each other, so that no file is swept while a message takes it. No link is
followed. The content of a file is never logged.
"""

import asyncio
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.errors import StorageFull
from app.files.names import folder_of, is_folder, is_of_chat, new_id, place_of
from app.files.store import UNUSED_S, Incoming, Note, attachment, erased_meanwhile, not_here
from app.turns.transcript import Attachment

FOLDER = "chat-files"  # in that of the chats, where no setting names another
_NEW, _USED, _PART = ".new", ".used", ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderFiles:
    """The files of all chats, below `root`. A file has `max_bytes` at most, those of one chat `max_chat_bytes`."""

    def __init__(self, root: Path, *, max_bytes: int, max_chat_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._max_chat_bytes = max_chat_bytes

    async def add(
        self, key: str, name: str, declared: str, pieces: AsyncIterable[bytes], *, seed: str | None = None
    ) -> tuple[Attachment, Note]:
        """Keep a file for a chat as it arrives. With a `seed` it has the same id when it comes again.

        Errors: TooLarge (413), UnknownKind (415), StorageFull (507); what had arrived is removed then.
        """
        file_id = new_id(key, seed)
        folder, stem = folder_of(key), file_id.rpartition("-")[2]
        part = secrets.token_hex(16) + _PART
        with told_when_full():
            used = await asyncio.to_thread(self._prepare, folder)
            file = await asyncio.to_thread(self._create, folder, part)
            try:
                incoming = Incoming(used=used, max_bytes=self._max_bytes, max_chat_bytes=self._max_chat_bytes)
                async for piece in pieces:
                    incoming.add(piece)
                    await asyncio.to_thread(file.write, piece)
                note = incoming.note(name, declared)
                await asyncio.to_thread(self._keep, folder, part, stem, file, note)
            except BaseException:
                with suppress(OSError):
                    file.close()
                self._remove(folder, part)
                raise
        return attachment(file_id, note), note

    async def use(self, key: str, file_ids: Sequence[str]) -> list[Attachment]:
        """Return the files that a message brings, and have them kept from here on. It may be done again.

        Errors: NotFound for one that is not of this chat, or not here.
        """
        return await asyncio.to_thread(lambda: [self._use(key, file_id) for file_id in file_ids])

    async def read(self, file_id: str) -> bytes | None:
        """Return the content of a file, None if it is gone."""
        return await asyncio.to_thread(self._read, file_id, "")

    async def find(self, key: str, file_id: str) -> Note:
        """Return what is known of a file of this chat. Errors: NotFound."""
        found = await asyncio.to_thread(self._note, file_id) if is_of_chat(file_id, key) else None
        if found is None:
            raise not_here(file_id)
        return found

    async def erase(self, key: str) -> None:
        """Remove all files of a chat."""
        await asyncio.to_thread(self._erase, self._root / folder_of(key))

    def erase_all(self) -> None:
        """Remove the files of all chats; what else is there stays. Errors: OSError."""
        with suppress(FileNotFoundError):
            for name in filter(is_folder, os.listdir(self._root)):
                self._erase(self._root / name)
            with suppress(OSError):  # something else is in it
                self._root.rmdir()

    async def sweep(self, now: float | None = None) -> int:
        """Remove what no message has used for a day, and return how many files that were."""
        return await asyncio.to_thread(self._sweep_all, (time.time() if now is None else now) - UNUSED_S)

    # Each of these is for a thread.

    def _sweep_all(self, limit: float) -> int:
        with suppress(FileNotFoundError):
            return sum(self._sweep(name, limit) for name in os.listdir(self._root) if is_folder(name))
        return 0

    def _prepare(self, folder: str) -> int:
        """Make the folder of a chat, and return how many bytes are in it."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._root / folder, 0o700)
        with self._open(folder) as fd, os.scandir(fd) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)

    def _create(self, folder: str, part: str) -> BinaryIO:
        with self._open(folder) as fd:
            return os.fdopen(os.open(part, _CREATE, 0o600, dir_fd=fd), "wb")

    def _keep(self, folder: str, part: str, stem: str, file: BinaryIO, note: Note) -> None:
        """Make a file that has arrived whole known, or nothing of it."""
        file.flush()
        os.fsync(file.fileno())
        file.close()
        try:
            with self._open(folder) as fd:
                os.rename(part, stem, src_dir_fd=fd, dst_dir_fd=fd)
                with os.fdopen(os.open(part, _CREATE, 0o600, dir_fd=fd), "wb") as written:
                    written.write(note.model_dump_json().encode())
                    written.flush()
                    os.fsync(written.fileno())
                os.rename(part, stem + _NEW, src_dir_fd=fd, dst_dir_fd=fd)
        except FileNotFoundError as exc:
            raise erased_meanwhile() from exc

    def _use(self, key: str, file_id: str) -> Attachment:
        place = place_of(file_id)
        if place is None or place[0] != folder_of(key):
            raise not_here(file_id)
        with suppress(FileNotFoundError), self._open(place[0]) as fd, suppress(FileNotFoundError):
            os.rename(place[1] + _NEW, place[1] + _USED, src_dir_fd=fd, dst_dir_fd=fd)
        note = self._note(file_id)
        if note is None:
            raise not_here(file_id)
        return attachment(file_id, note)

    def _note(self, file_id: str) -> Note | None:
        written = self._read(file_id, _USED) or self._read(file_id, _NEW)
        return None if written is None else Note.model_validate_json(written)

    def _read(self, file_id: str, ending: str) -> bytes | None:
        place = place_of(file_id)
        if place is None:
            return None
        try:
            with self._open(place[0]) as fd, os.fdopen(os.open(place[1] + ending, _READ, dir_fd=fd), "rb") as file:
                return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                return None
            raise

    def _remove(self, folder: str, *names: str) -> None:
        with suppress(OSError), self._open(folder) as fd:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)

    def _erase(self, folder: Path) -> None:
        with suppress(FileNotFoundError):
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder)

    def _sweep(self, folder: str, limit: float) -> int:
        """Remove the old files of a folder that no message has used, and the folder when nothing is left in it."""
        swept = 0
        with suppress(OSError), self._open(folder) as fd:
            names = set(os.listdir(fd))
            for stem in {name.partition(".")[0] for name in names}:
                if stem + _USED in names or not self._is_old(fd, names & {stem, stem + _NEW, stem + _PART}, limit):
                    continue
                with suppress(FileNotFoundError):
                    if stem + _NEW in names:  # who removes this has won: a message can take the file no more
                        os.unlink(stem + _NEW, dir_fd=fd)
                    self._remove(folder, stem, stem + _PART)
                    swept += 1
        with suppress(OSError):
            os.rmdir(self._root / folder)
        return swept

    @staticmethod
    def _is_old(fd: int, names: set[str], limit: float) -> bool:
        return all(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime < limit for name in names)

    @contextmanager
    def _open(self, folder: str) -> Iterator[int]:
        """Hold the folder of a chat, which is no link."""
        fd = os.open(self._root / folder, _READ | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)


@contextmanager
def told_when_full() -> Iterator[None]:
    """Say it in a sentence if the disk is full in the block. Errors: StorageFull."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise StorageFull from exc
        raise
