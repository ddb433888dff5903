"""The bucket of files: below the prefix a folder for each chat, and in that each file with a note of what it is.

`….part` says that a file arrives, `<id>` is the whole one, `<id>.note` what is known of it: without one it is not
there. `<id>.fate` is made once, by a message that uses the file or by the sweep: whoever makes it has won. Objects
appear whole. The content of a file is never logged.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from app.errors import FilesUnavailable, UsageError
from app.files.folder import told_when_full
from app.files.names import folder_of, is_folder, is_of_chat, new_id, place_of
from app.files.s3_faults import code_of, told
from app.files.store import UNUSED_S, Incoming, Note, attachment, erased_meanwhile, not_here
from app.turns.transcript import Attachment

if TYPE_CHECKING:
    from obstore import ObjectMeta

_NOTE, _FATE, _PART = ".note", ".fate", ".part"
_USED, _SWEPT = b"used", b"swept"  # of different lengths: a list of objects tells them apart
_PIECE = 16 * 2**20  # a file up to this size is one request, so that a crash leaves no part of it behind
_UPLOADS = 8  # at the same time, each of which holds a piece
_ROUNDS = 20
_CONNECT, _REQUEST, _RETRY = timedelta(seconds=5), timedelta(seconds=30), timedelta(seconds=10)


class S3Files:
    """The files of all chats, in a bucket. `options` are those of the client: its address, keys and region."""

    def __init__(
        self, bucket: str, prefix: str, options: Mapping[str, str], *, max_bytes: int, max_chat_bytes: int
    ) -> None:
        self._bucket = bucket
        self._store = _client(bucket, prefix, options)
        self._max_bytes = max_bytes
        self._max_chat_bytes = max_chat_bytes
        self._uploads = asyncio.Semaphore(_UPLOADS)

    async def add(
        self, key: str, name: str, declared: str, pieces: AsyncIterable[bytes], *, seed: str | None = None
    ) -> tuple[Attachment, Note]:
        """As `Files.add`. It arrives in a file without a name, and goes to the bucket when it is known to be taken."""
        file_id = new_id(key, seed)
        folder, _, stem = file_id.partition("-")
        path, part = f"{folder}/{stem}", f"{folder}/{secrets.token_hex(16)}{_PART}"
        used = sum(each["size"] for each in await self._listed(folder))
        await self._put(part, _PART.encode())
        try:
            with told_when_full(), tempfile.TemporaryFile() as file:
                incoming = Incoming(used=used, max_bytes=self._max_bytes, max_chat_bytes=self._max_chat_bytes)
                async for piece in pieces:
                    incoming.add(piece)
                    await asyncio.to_thread(file.write, piece)
                note = incoming.note(name, declared)
                await asyncio.to_thread(file.seek, 0)
                async with self._uploads:
                    await self._put(path, file)
            await self._put(path + _NOTE, note.model_dump_json().encode())
            if await self._get(part) is None:
                await self._delete([path, path + _NOTE])
                raise erased_meanwhile()
        finally:
            with suppress(FilesUnavailable):  # it is swept then
                await self._delete([part])
        return attachment(file_id, note), note

    async def use(self, key: str, file_ids: Sequence[str]) -> list[Attachment]:
        """As `Files.use`."""
        return [await self._use(key, file_id) for file_id in file_ids]

    async def read(self, file_id: str) -> bytes | None:
        """As `Files.read`."""
        place = place_of(file_id)
        return None if place is None else await self._get("/".join(place))

    async def find(self, key: str, file_id: str) -> Note:
        """As `Files.find`."""
        place = place_of(file_id) if is_of_chat(file_id, key) else None
        written = None if place is None else await self._get("/".join(place) + _NOTE)
        if written is None:
            raise not_here(file_id)
        return Note.model_validate_json(written)

    async def erase(self, key: str) -> None:
        """As `Files.erase`: until nothing is found. What arrives meanwhile misses its `.part`, and removes itself."""
        for _ in range(_ROUNDS):
            found = await self._listed(folder_of(key))
            if not found:
                return
            await self._delete([each["path"] for each in found])
        raise FilesUnavailable("The files of this chat cannot be erased while others arrive; try again")

    def erase_all(self) -> None:
        """As `Files.erase_all`."""
        with told(self._bucket):
            for page in self._store.list():
                if found := [each["path"] for each in page if is_folder(each["path"].partition("/")[0])]:
                    self._store.delete(found)

    async def sweep(self, now: float | None = None) -> int:
        """As `Files.sweep`."""
        limit = datetime.fromtimestamp((time.time() if now is None else now) - UNUSED_S, UTC)
        return sum([await self._sweep(path, found, limit) async for path, found in self._by_file()])

    async def _sweep(self, path: str, found: Mapping[str, "ObjectMeta"], limit: datetime) -> bool:
        """Remove the objects of an old file that no message has used, its fate last."""
        fate = found.get(path + _FATE)
        if any(each["last_modified"] >= limit for each in found.values()):
            return False
        if fate is not None and fate["size"] == len(_USED):
            return False
        if fate is None and path + _PART not in found and not await self._put(path + _FATE, _SWEPT, once=True):
            return False  # a message takes it at this moment
        await self._delete([each for each in found if each != path + _FATE])
        await self._delete([path + _FATE])
        return True

    async def _by_file(self) -> AsyncIterator[tuple[str, dict[str, "ObjectMeta"]]]:
        """Yield the objects of each file of all chats. They are listed by their names: those of one come together."""
        path, found = "", dict[str, "ObjectMeta"]()
        pages = aiter(self._store.list())
        while True:
            with told(self._bucket):
                page = await anext(pages, None)
            for each in page or ():
                its = each["path"].partition(".")[0]
                if its != path and found:
                    yield path, found
                    found = {}
                path = its
                if is_folder(path.partition("/")[0]):
                    found[each["path"]] = each
            if page is None:
                break
        if found:
            yield path, found

    async def _use(self, key: str, file_id: str) -> Attachment:
        note = await self.find(key, file_id)
        path = file_id.replace("-", "/")
        if not await self._put(path + _FATE, _USED, once=True):
            if await self._get(path + _FATE) != _USED:
                raise not_here(file_id)
        elif await self._get(path + _NOTE) is None:  # it was swept before, all of it
            await self._delete([path + _FATE])
            raise not_here(file_id)
        return attachment(file_id, note)

    async def _get(self, path: str) -> bytes | None:
        """Return an object, None if it is not there. A server that has no such thing as objects says it differently."""
        with told(self._bucket):
            try:
                found = await self._store.get_async(path)
                return bytes(await found.bytes_async())
            except FileNotFoundError as exc:
                if code_of(exc) == "NoSuchKey":
                    return None
                raise

    async def _put(self, path: str, content: bytes | IO[bytes], *, once: bool = False) -> bool:
        """Write an object. With `once`, say whether there was none."""
        with told(self._bucket):
            try:
                await self._store.put_async(
                    path, content, mode="create" if once else None, chunk_size=_PIECE, max_concurrency=1
                )
            except AlreadyExistsError:
                return False
        return True

    async def _listed(self, folder: str) -> list["ObjectMeta"]:
        """Return what is in the folder of a chat."""
        with told(self._bucket):
            return [each async for page in self._store.list(folder) for each in page]

    async def _delete(self, paths: Sequence[str]) -> None:
        with told(self._bucket):
            await self._store.delete_async(paths)


def _client(bucket: str, prefix: str, options: Mapping[str, str]) -> S3Store:
    given: dict[str, Any] = dict(options)
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": options.get("endpoint", "").startswith("http://"),
                "connect_timeout": _CONNECT,
                "timeout": _REQUEST,
            },
            retry_config={"max_retries": 3, "retry_timeout": _RETRY},
            **given,
        )
    except BaseError:  # its words may have what it was given
        raise UsageError(
            "The client of FILES_DIR cannot be made: check the variables AWS_*, and that this machine has "
            "certificates of authorities (the package ca-certificates)."
        ) from None
