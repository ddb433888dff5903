"""The lines of a stream, none longer than a limit: what a server writes must not fill our memory.

Pure. Of a line that is too long it keeps the two ends, which tell whom it was for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

ENDS_BYTES = 256  # of each end of a line that is not kept
_ID_FIRST = re.compile(rb'^\s*\{(?:\s*"jsonrpc"\s*:\s*"2\.0"\s*,)?\s*"id"\s*:\s*(\d{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


@dataclass(frozen=True)
class TooLong:
    """A line that was not kept."""

    head: bytes
    tail: bytes
    size: int

    @property
    def request_id(self) -> int | None:
        """The id of the request that it answers, None if that does not stand at one of its ends."""
        found = _ID_FIRST.search(self.head) or _ID_LAST.search(self.tail)
        return int(found.group(1)) if found else None


class Lines:
    """Cuts data into lines."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Take data and yield the lines that it completes, without their ends."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._add(part)
            yield self._line()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._max_bytes:
            kept = b"".join(self._parts)
            self._head = self._head or kept[:ENDS_BYTES]
            self._parts = [kept[-ENDS_BYTES:]]

    def _line(self) -> bytes | TooLong:
        kept = b"".join(self._parts)
        line = TooLong(self._head, kept, self._size) if self._size > self._max_bytes else kept
        self._parts, self._size, self._head = [], 0, b""
        return line
