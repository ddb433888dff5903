"""Tasks that would go on for ever are ended."""

import asyncio

from app.live.ending import end


async def test_one_that_swallows_a_cancellation() -> None:
    """A task that goes on after a cancellation is cancelled again; one that fails is ended too."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed += 1
        await asyncio.Event().wait()

    async def broken() -> None:
        raise ValueError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    await end(tasks)
    assert swallowed == 1
    assert all(task.done() for task in tasks)
