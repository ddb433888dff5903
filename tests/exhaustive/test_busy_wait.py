"""A loop that only gives way: it is stopped after a million rounds."""

import asyncio

import pytest
from restate import TerminalError

from tests.support.fake_engine import Engine


def test_busy_wait_ends_the_attempt() -> None:
    """A loop that only gives way would block the process for ever; it ends with a sentence that names it."""

    async def polls() -> None:
        while not sleeping[0].done():  # noqa: ASYNC110 - what it does wrong
            await asyncio.sleep(0)

    async def main() -> None:
        sleeping.append(asyncio.create_task(asyncio.sleep(1)))
        await polls()

    sleeping: list[asyncio.Task[None]] = []
    engine = Engine()
    with pytest.raises(TerminalError, match=r"test_busy_wait\S+main runs again and again .* a busy wait\. Await what"):
        engine.start(main())
    engine.loop.close_abandoned()
