"""Queries and the runs of this process: what is answered when, by fakes of a run."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from restate import TerminalError

from app.background.query import Query, QueryAnswer
from app.background.run import live
from app.background.run.live import ELSEWHERE, OVER, LiveRuns

HERE = QueryAnswer(where="here", value="value of total")


class FakeEvents:
    """A run that has taken so many events."""

    def __init__(self, taken: int) -> None:
        self.taken = taken

    def read(self, name: str, value: Any) -> Any:
        if name == "broken":
            raise ValueError("it is broken")
        return f"{value or 'value'} of {name}"


def query(through: int = 1, name: str = "total") -> Query:
    return Query(run_id="run-1", through=through, name=name)


async def never(_run_id: str) -> bool:
    raise AssertionError("it is awake")


async def test_only_a_run_at_rest_is_read() -> None:
    """While a run replays, it may be behind what an earlier query has seen."""
    runs = LiveRuns()
    with runs.attempt("run-1") as attempt:
        attempt.events = FakeEvents(taken=1)
        asking = asyncio.create_task(runs.ask(query(), never))
        await asyncio.sleep(0)
        assert not asking.done()
        attempt.at_rest()
        assert await asking == HERE
        assert await runs.ask(query(), never) == HERE


async def test_events_come_first() -> None:
    """A query waits for the last event that was accepted before it."""
    runs = LiveRuns()
    with runs.attempt("run-1") as attempt:
        attempt.events = events = FakeEvents(taken=1)
        attempt.at_rest()
        asking = asyncio.create_task(runs.ask(query(through=2), never))
        await asyncio.sleep(0)
        attempt.at_rest()
        assert not asking.done()
        events.taken = 2
        attempt.at_rest()
        assert await asking == HERE


async def test_many_queries_wake_a_run_once() -> None:
    """A suspended run is woken once for all that ask at the same time, and answers all before it is suspended again."""
    runs, woken = LiveRuns(), 0

    async def wake(run_id: str) -> bool:
        nonlocal woken
        woken += 1
        await asyncio.sleep(0)
        with suppress(ConnectionError), runs.attempt(run_id) as attempt:
            attempt.events = FakeEvents(taken=1)
            attempt.at_rest()
            raise ConnectionError("suspended")
        return True

    assert await asyncio.gather(*(runs.ask(query(), wake) for _ in range(50))) == [HERE] * 50
    assert woken == 1


async def test_ends() -> None:
    """Who waits hears that the run has ended, failed or not, or that its code has changed."""
    runs = LiveRuns()

    async def wake(run_id: str, how: str) -> bool:
        with suppress(TerminalError), runs.attempt(run_id) as attempt:
            if how == "blocked":
                attempt.end(QueryAnswer(where="blocked", text="changed"))
            if how == "failed":
                raise TerminalError("it failed")
        return True

    for how, expected in (("done", "over"), ("failed", "over"), ("blocked", "blocked")):
        assert (await runs.ask(query(), partial(wake, how=how))).where == expected


async def test_a_run_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another process holds is not waited for twice; one that has ended, or cannot be woken, not at all."""
    monkeypatch.setattr(live, "APPEARS_S", 0.01)
    runs, woken = LiveRuns(), 0

    async def wake(_run_id: str) -> bool:
        nonlocal woken
        woken += 1
        return True

    async def ended(_run_id: str) -> bool:
        return False

    async def fails(_run_id: str) -> bool:
        raise ConnectionError("no admin API")

    assert await LiveRuns().ask(query(), ended) == OVER
    assert await LiveRuns().ask(query(), fails) == ELSEWHERE
    assert await runs.ask(query(), wake) == ELSEWHERE
    asked = woken
    assert await runs.ask(query(), wake) == ELSEWHERE
    assert woken == asked


async def test_a_run_that_is_about_to_be_suspended() -> None:
    """Waking a run whose attempt has just ended does nothing, as it is not suspended yet: it is woken again."""
    runs, woken = LiveRuns(), 0

    async def begin() -> None:
        with suppress(ConnectionError), runs.attempt("run-1") as attempt:
            attempt.events = FakeEvents(taken=1)
            attempt.at_rest()
            raise ConnectionError("suspended")

    async def wake(_run_id: str) -> bool:
        nonlocal woken
        woken += 1
        if woken == 3:
            await begin()
        return True

    assert await runs.ask(query(), wake) == HERE
    assert woken == 3


async def test_errors_go_to_who_asks() -> None:
    """What a state raises does not reach the run."""
    runs = LiveRuns()
    with runs.attempt("run-1") as attempt:
        attempt.events = FakeEvents(taken=1)
        asking = asyncio.create_task(runs.ask(query(name="broken"), never))
        await asyncio.sleep(0)
        attempt.at_rest()
        with pytest.raises(ValueError, match="it is broken"):
            await asking
