"""Limits of a task queue: how many at once, how many in a second, and what is accepted without an effect."""

import asyncio
import logging
import time

import pytest

from app.background.functions.limits import Gate, Limits
from app.background.published import ignored
from app.background.published.options import ResourceOptions, ServiceOptions
from app.errors import DefinitionError


async def test_at_once() -> None:
    """No more calls run at the same time than are allowed, and all run."""
    gate, running, most = Gate(Limits(at_once=2)), 0, 0

    async def call() -> None:
        nonlocal running, most
        async with gate.place():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(call() for _ in range(7)))
    assert most == 2


async def test_rate() -> None:
    """Calls begin evenly, as many in a second as are allowed."""
    gate, begun = Gate(Limits(rate=50)), []
    for _ in range(6):
        async with gate.place():
            begun.append(time.monotonic())
    assert begun[-1] - begun[0] >= 0.09


async def test_cancelled_wait_takes_no_place() -> None:
    """A call that gives up waiting leaves the place to the next."""
    gate = Gate(Limits(at_once=1))
    async with gate.place():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), gate.place():
                raise AssertionError("there is no place")
    async with asyncio.timeout(5), gate.place():
        pass


def test_defaults_are_those_of_the_published_library() -> None:
    """Without options 1000 functions of a queue run at once, 100,000 begin in a second."""
    assert Limits.of(None, None) == Limits(at_once=1000, rate=100_000)


@pytest.mark.parametrize("options", [ServiceOptions(rate_limit=0), ServiceOptions(max_concurrent_function_runs=-1)])
def test_limit_that_lets_nothing_through(options: ServiceOptions) -> None:
    """A limit of nothing is refused at once: every call would wait for ever."""
    with pytest.raises(DefinitionError, match="lets no function run"):
        Limits.of(options, None)


def test_what_has_no_meaning_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options without a meaning on Restate are accepted, with one warning for each."""
    monkeypatch.setattr(ignored, "_said", set())
    caplog.set_level(logging.WARNING)
    options = ServiceOptions(endpoints=False, webhook_url="http://x", max_concurrent_workflow_runs=5)
    for _ in range(2):
        assert Limits.of(options, ResourceOptions(target_cpu_usage=0.5)) == Limits(at_once=1000, rate=100_000)
    assert len(caplog.records) == 4
