"""What a store of files does, whichever it is, and what it says. Where the bytes are is the matter of each store."""

import hashlib
from collections.abc import AsyncIterable, Sequence
from typing import Protocol

from app.errors import NotFound, TooLarge, UnknownKind
from app.files.kinds import KINDS, Kind
from app.files.names import clean_name
from app.turns.transcript import Attachment
from app.values import Stored

UNUSED_S = 24 * 3600  # after which a file that no message has used is swept


class Note(Stored):
    """What is known of a file."""

    name: str
    media_type: str
    bytes: int
    sha256: str


class Files(Protocol):
    """The files of all chats.

    Errors of all: FilesUnavailable where a store elsewhere does not answer, OSError where a disk does not.
    """

    async def add(
        self, key: str, name: str, declared: str, pieces: AsyncIterable[bytes], *, seed: str | None = None
    ) -> tuple[Attachment, Note]:
        """Keep a file for a chat as it arrives. With a `seed` it has the same id when it comes again.

        Errors: TooLarge (413), UnknownKind (415), StorageFull (507); what had arrived is removed then.
        """

    async def use(self, key: str, file_ids: Sequence[str]) -> list[Attachment]:
        """Return the files that a message brings, and have them kept from here on. It may be done again.

        Errors: NotFound for one that is not of this chat, or not here.
        """

    async def read(self, file_id: str) -> bytes | None:
        """Return the content of a file, None if it is gone."""

    async def find(self, key: str, file_id: str) -> Note:
        """Return what is known of a file of this chat. Errors: NotFound."""

    async def erase(self, key: str) -> None:
        """Remove all files of a chat."""

    def erase_all(self) -> None:
        """Remove the files of all chats; what else is there stays."""

    async def sweep(self, now: float | None = None) -> int:
        """Remove what no message has used for a day, and return how many files that were."""


class Incoming:
    """A file that arrives, of a chat whose files have `used` bytes: looks at each piece, and says what it was."""

    def __init__(self, *, used: int, max_bytes: int, max_chat_bytes: int) -> None:
        self._used = used
        self._max_bytes = max_bytes
        self._max_chat_bytes = max_chat_bytes
        self._kind = Kind()
        self._size = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Look at the next piece. Errors: TooLarge."""
        self._size += len(piece)
        if self._size > self._max_bytes:
            raise TooLarge(
                f"The file is over the limit of {self._max_bytes} bytes (MAX_FILE_BYTES): send a smaller one"
            )
        if self._size + self._used > self._max_chat_bytes:
            raise TooLarge(f"The files of this chat would be over {self._max_chat_bytes} bytes (MAX_CHAT_FILE_BYTES)")
        self._kind.add(piece)
        self._digest.update(piece)

    def note(self, name: str, declared: str) -> Note:
        """Return what the whole file is. Errors: UnknownKind."""
        media_type = self._kind.media_type(declared)
        if media_type is None or not self._size:
            raise UnknownKind(f"{clean_name(name)!r} is {'of no kind that is taken' if self._size else 'empty'}: "
                              f"send {KINDS}")  # fmt: skip
        return Note(name=clean_name(name), media_type=media_type, bytes=self._size, sha256=self._digest.hexdigest())


def attachment(file_id: str, note: Note) -> Attachment:
    """Return a file as a message has it."""
    return Attachment(file_id=file_id, name=note.name, media_type=note.media_type, bytes=note.bytes)


def not_here(file_id: str) -> NotFound:
    """Return the error for a file that is not of this chat, or not here."""
    return NotFound(f"No file {file_id[:80]!r} is in this chat: upload it first, within the day before the message")


def erased_meanwhile() -> NotFound:
    """Return the error for a file whose chat was forgotten while it arrived."""
    return NotFound("The chat was erased while this file arrived: send it again")
