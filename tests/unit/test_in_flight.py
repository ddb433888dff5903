"""Places for tool calls that work at the same time: first come, first served, and told."""

import asyncio

import pytest

from app.tools.in_flight import InFlight
from tests.support.eventually import eventually


async def test_calls_wait_for_a_place_in_order() -> None:
    """No more calls work than there are places; the others are told that they wait, and get theirs in order."""
    in_flight = InFlight(2)
    working: list[int] = []
    told: list[tuple[int, str]] = []
    gates = [asyncio.Event() for _ in range(5)]

    async def call(number: int) -> None:
        async with in_flight.place(lambda text: told.append((number, text))):
            working.append(number)
            await gates[number].wait()
            working.remove(number)

    calls = [asyncio.create_task(call(number)) for number in range(5)]
    await eventually(lambda: len(told) == 3)
    assert working == [0, 1]
    assert told[0] == (2, "Waiting for a place: 2 tool calls work at the same time here (TOOLS_IN_FLIGHT).")
    gates[1].set()
    await eventually(lambda: working == [0, 2])
    assert told[-1] == (2, "Working.")
    for gate in gates:
        gate.set()
    await asyncio.gather(*calls)


async def test_who_is_cancelled_takes_no_place() -> None:
    """A call that is cancelled while it waits, or while it works, leaves its place to others."""
    in_flight = InFlight(1)
    working, waiting = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        async with in_flight.place(lambda _: waiting.set()):
            working.set()
            await asyncio.Event().wait()

    first = asyncio.create_task(call())
    await working.wait()
    second = asyncio.create_task(call())
    await waiting.wait()
    for each in (second, first):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    async with asyncio.timeout(1), in_flight.place(lambda _: None):
        pass
