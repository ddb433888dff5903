"""`app/hosting/stall_watch.py`: code that blocks the loop is named."""

import asyncio
import time

import pytest

from app.hosting.stall_watch import watch_stalls
from tests.support.eventually import eventually


async def test_line_that_blocks_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A blocking call is logged with its file, line and function, and how long it took."""
    async with watch_stalls(0.1):
        blocks_for_half_a_second()
        await eventually(lambda: len(caplog.records) == 2)
    blocked, over = (record.getMessage() for record in caplog.records)
    assert __file__ in blocked
    assert "in blocks_for_half_a_second blocks the event loop" in blocked
    assert over.startswith("The event loop goes on after ")


async def test_busy_loop_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that works, but lets others run, says nothing."""
    async with watch_stalls(0.2):
        for _ in range(30):
            await asyncio.to_thread(time.sleep, 0.01)
    assert caplog.records == []


def blocks_for_half_a_second() -> None:
    time.sleep(0.5)
