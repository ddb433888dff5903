"""An answer that streams lets go of what it holds, whatever its client does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from sse_starlette import ServerSentEvent

from app.web.agui.stream import EventStream

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def without_end() -> AsyncIterator[ServerSentEvent]:
    while True:
        yield ServerSentEvent(data="{}", sep="\n")
        await asyncio.sleep(0)


async def never() -> Any:
    await asyncio.Event().wait()


async def test_who_does_not_read_is_cut_off() -> None:
    """A client that takes nothing for longer than it may is let go, without an error."""
    let_go: list[str] = []
    held = AsyncExitStack()
    held.callback(let_go.append, "place")

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await EventStream(without_end(), held, send_timeout_s=0.05)(SCOPE, never, stuck)
    assert let_go == ["place"]


async def test_who_goes_away_is_let_go() -> None:
    """A client that disconnects ends its stream, and what was held for it is free."""
    let_go: list[str] = []
    held = AsyncExitStack()
    held.callback(let_go.append, "place")
    begun = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            begun.set()

    async def gone() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(5):
        await EventStream(without_end(), held, send_timeout_s=5)(SCOPE, gone, send)
    assert let_go == ["place"]


async def test_events_end_as_the_official_client_splits_them() -> None:
    """The official AG-UI client knows a blank line of "\\n" alone."""
    sent: list[bytes] = []

    async def one() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(data="{}", id="1", sep="\n")

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await EventStream(one(), AsyncExitStack(), send_timeout_s=5)(SCOPE, never, send)
    assert b"".join(sent) == b"id: 1\ndata: {}\n\n"
