"""Sees the attempts of invocations whose journal does not fit the code that runs now.

Does nothing about them but to tell who asked. The engine retries such an attempt, which ends the same way each time. No
handler can tell: the mismatch may show only when the handler has returned. So this reads what the SDK answers to
Restate.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

logger = logging.getLogger("journal_watch")

# Restate's service protocol: a message is a header (type, flags, length) and protobuf; the first field of an error is
# its code, the second its text.
_HEADER = struct.Struct(">HHI")
_ERROR = 0x0002
_JOURNAL_MISMATCH = 570
_CODE_IS_MISMATCH = b"\x08\xba\x04"  # field 1, 570 as a varint

_SDK_LOGGERS = ("restate.server", "restate.server_context")


@dataclass(frozen=True)
class Unfit:
    """An invocation whose journal does not fit. `detail` is where they differ, in the engine's words."""

    invocation_id: str
    service: str
    key: str
    detail: str


class JournalWatch:
    """The application `app`. `on_unfit` is called, beside it, for each such attempt of one of `services`."""

    def __init__(
        self, app: "ASGIFramework", services: Collection[str], on_unfit: Callable[[Unfit], Awaitable[None]]
    ) -> None:
        self._app = app
        self._services = frozenset(services)
        self._on_unfit = on_unfit
        self._tasks: set[asyncio.Task[None]] = set()
        _silence_the_sdk()

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        service = _invoked_service(scope)
        if service not in self._services:
            await self._app(scope, receive, send)
            return

        async def send_and_look(event: "ASGISendEvent") -> None:
            if event["type"] == "http.response.body" and (detail := mismatch_in(event.get("body", b""))) is not None:
                self._tell(scope, service, detail)
            await send(event)

        await self._app(scope, receive, send_and_look)

    def _tell(self, scope: "Scope", service: str, detail: str) -> None:
        headers = dict(cast("dict[str, list[tuple[bytes, bytes]]]", scope)["headers"])
        invocation_id = headers.get(b"x-restate-invocation-id")
        if invocation_id is None:
            logger.warning("An invocation of %s does not fit the code, but Restate does not say which", service)
            return
        key = unquote_to_bytes(headers.get(b"x-restate-service-key", b"")).decode(errors="replace")
        unfit = Unfit(invocation_id.decode(errors="replace"), service, key, detail)
        task = asyncio.ensure_future(self._on_unfit(unfit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def mismatch_in(messages: bytes) -> str | None:
    """Return where journal and code differ if one of `messages` says that they do."""
    start = 0
    while start + _HEADER.size <= len(messages):
        kind, _, length = _HEADER.unpack_from(messages, start)
        start += _HEADER.size
        if kind == _ERROR and messages.startswith(_CODE_IS_MISMATCH, start):
            return _detail(messages[start + len(_CODE_IS_MISMATCH) : start + length])
        start += length
    return None


def _detail(fields: bytes) -> str:
    """Return the lines of the engine's text that differ from case to case. They begin with a dash."""
    if not fields.startswith(b"\x12"):
        return ""
    length = shift = 0
    for place, byte in enumerate(fields[1:6], 2):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            text = fields[place : place + length].decode(errors="replace")
            break
    else:
        return ""
    return " ".join(line.strip(" -") for line in text.partition("\n-")[2].splitlines()) or text.strip()


def _invoked_service(scope: "Scope") -> str | None:
    """Return the service of `…/invoke/<service>/<handler>`."""
    if scope["type"] != "http":
        return None
    parts = scope["path"].rsplit("/", 3)
    return parts[-2] if len(parts) > 2 and parts[-3] == "invoke" else None


def _silence_the_sdk() -> None:
    """Leave out the SDK's tracebacks of mismatches: they tell of no bug, and there is one line that says it."""
    for name in _SDK_LOGGERS:
        sdk_logger = logging.getLogger(name)
        if _tells_no_mismatch not in sdk_logger.filters:
            sdk_logger.addFilter(_tells_no_mismatch)


def _tells_no_mismatch(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, VMException) and str(error).startswith(f"({_JOURNAL_MISMATCH})"))
