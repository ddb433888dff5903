"""Server-sent events: turns the bytes of an answer into events, however the network has cut them.

No I/O. Knows nothing of what the events mean. An answer that is no stream of events comes out as one document.
Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".
"""

from collections.abc import Iterator
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
_DOCUMENT_STARTS = (b"{", b"[", b"<")  # no line of an event stream starts like that


class Event(NamedTuple):
    """One event. `document` is true when the whole body was no stream of events, but this."""

    name: str
    data: str
    document: bool = False


class EventTooLong(ValueError):
    """One event has more bytes than anybody can mean."""


class EventStream:
    """The events of one body. Lines may end with LF, CR or CRLF. Invalid UTF-8 becomes U+FFFD.

    Units: max_bytes of one event or document.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []  # the pieces of a line whose end has not come
        self._after_cr = False
        self._is_document: bool | None = None  # None until the first byte that tells
        self._name = ""
        self._data: list[bytes] = []
        self._line_bytes = 0
        self._data_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes.

        Errors: EventTooLong.
        """
        if self._is_document is None:
            data = self._sniff(data)
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return
        self._line_bytes += len(data)
        self._line.append(data)
        if not self._is_document and (b"\n" in data or b"\r" in data):
            yield from self._take_lines()
        if self._line_bytes + self._data_bytes > self._max_bytes:
            raise EventTooLong(f"one event has more than {self._max_bytes} bytes")

    def close(self) -> Iterator[Event]:
        """Yield what the end of the body completes: a last event without its blank line, or the document."""
        rest = b"".join(self._line)
        self._line = []
        if self._is_document:
            yield Event("", _text(rest), document=True)
            return
        self._take_field(rest)
        yield from self._dispatch()

    def _sniff(self, data: bytes) -> bytes:
        """Find out what the body is by its first byte that is no white space. Return what is not looked at yet."""
        self._line.append(data)
        start = b"".join(self._line)
        if BOM.startswith(start):
            return b""  # perhaps the beginning of a byte order mark
        self._line = []
        start = start.removeprefix(BOM)
        if stripped := start.lstrip():
            self._is_document = stripped.startswith(_DOCUMENT_STARTS)
        return start

    def _take_lines(self) -> Iterator[Event]:
        """Take the lines that are complete, keep the rest."""
        lines = b"".join(self._line).splitlines(keepends=True)
        self._after_cr = lines[-1].endswith(b"\r")
        self._line = [] if lines[-1].endswith((b"\n", b"\r")) else [lines.pop()]
        for line in lines:
            content = line.rstrip(b"\r\n")
            if content:
                self._take_field(content)
            else:
                yield from self._dispatch()
        self._line_bytes = sum(map(len, self._line))

    def _take_field(self, line: bytes) -> None:
        """Take `data` and `event`. Comments, other fields and lines that are none of it mean nothing."""
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._data_bytes += len(line)
        elif line.startswith(b"event:"):
            self._name = _text(line[6:]).strip()

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            data = _text(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            if data.strip():
                yield Event(self._name, data)
            self._data = []
            self._data_bytes = 0
        self._name = ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
