"""How much the LLM is asked in a minute, by a clock that the tests turn."""

import random

import pytest

from app.errors import LLMLimited
from app.llm.allowance import LAPSES_AFTER_S, MINUTE_S, Allowance, Rates


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begins(allowance: Allowance, caller: str, tokens: int = 0) -> bool:
    """Ask once; return whether the call has begun."""
    return allowance.ask(caller, tokens)[1] == 0


def test_calls_up_to_the_limit_begin_at_once(clock: Clock) -> None:
    """As many calls as a minute may have begin at once, the next one a minute after the first."""
    allowance = Allowance(Rates(requests=3), clock)

    assert [allowance.ask(name, 0)[1] for name in "abcd"] == [0, 0, 0, MINUTE_S]
    clock.now += 20
    assert allowance.ask("d", 0)[1] == MINUTE_S - 20
    clock.now += 40
    assert begins(allowance, "d")


def test_who_waits_keeps_the_place(clock: Clock) -> None:
    """Who asks again before the time has come loses nothing to those who came later."""
    allowance = Allowance(Rates(requests=1), clock)
    assert begins(allowance, "first")
    assert [allowance.ask(name, 0)[1] for name in ("a", "b", "a", "c", "b")] == [60, 120, 60, 180, 120]


def test_tokens_are_counted(clock: Clock) -> None:
    """Calls begin as long as their estimated tokens fit into the minute."""
    allowance = Allowance(Rates(tokens=100), clock)
    assert begins(allowance, "a", 60)
    assert begins(allowance, "b", 40)
    assert allowance.ask("c", 1)[1] == MINUTE_S


def test_what_was_more_than_estimated_is_missing_later(clock: Clock) -> None:
    """The tokens that a call has really taken count, and estimates become better by them."""
    allowance = Allowance(Rates(tokens=100), clock)
    place, _ = allowance.ask("a", 10)
    allowance.correct(place, 95)

    assert allowance.makes_wait is False
    assert allowance.ask("b", 10)[1] == MINUTE_S
    assert allowance.ask("c", 30)[1] == 2 * MINUTE_S, "b counts for more than its 10 tokens: 10 became 95"


def test_what_was_less_than_estimated_is_there_for_others(clock: Clock) -> None:
    """A call that took less than estimated leaves room."""
    allowance = Allowance(Rates(tokens=100), clock)
    place, _ = allowance.ask("a", 100)
    assert allowance.makes_wait
    allowance.correct(place, 20)
    assert not allowance.makes_wait
    assert begins(allowance, "b", 50)


def test_a_call_bigger_than_the_limit_goes_alone(clock: Clock) -> None:
    """A call of more tokens than a minute has begins when nothing else counts any more, not never."""
    allowance = Allowance(Rates(tokens=100), clock)
    assert begins(allowance, "small", 10)
    assert allowance.ask("huge", 5000)[1] == MINUTE_S
    assert allowance.ask("next", 10)[1] == 2 * MINUTE_S


def test_nonsense_of_a_server_does_not_stop_everything(clock: Clock) -> None:
    """After a report of a billion tokens calls begin again: one by one at first."""
    allowance = Allowance(Rates(tokens=1000), clock)
    place, _ = allowance.ask("a", 10)
    allowance.correct(place, 10**9)
    clock.now += MINUTE_S
    assert begins(allowance, "b", 10)
    assert begins(allowance, "c", 10)


def test_a_place_that_nobody_takes_is_given_to_others(clock: Clock) -> None:
    """Who does not come within ten seconds of the time has lost the place to who comes then."""
    allowance = Allowance(Rates(requests=1), clock)
    assert begins(allowance, "first")
    allowance.ask("gone", 0)
    clock.now += MINUTE_S + LAPSES_AFTER_S
    assert allowance.ask("early", 0)[1] > 0, "gone may still come"
    clock.now += 1
    assert begins(allowance, "late")
    assert allowance.ask("gone", 0)[1] > 0


def test_a_place_of_long_ago_counts_no_more(clock: Clock) -> None:
    """Who comes a minute late gets what there is then, and has no second place."""
    allowance = Allowance(Rates(requests=1), clock)
    assert begins(allowance, "first")
    allowance.ask("slept", 0)
    clock.now += 10 * MINUTE_S
    assert not allowance.makes_wait
    assert begins(allowance, "slept")
    assert not begins(allowance, "other")


def test_processes_share(clock: Clock) -> None:
    """Each of several processes has its share; where that is less than one a minute, a minute is longer."""
    share = Allowance(Rates(requests=10, processes=4), clock)
    assert [begins(share, name) for name in "abc"] == [True, True, False]
    slow = Allowance(Rates(requests=1, processes=4), clock)
    assert begins(slow, "a")
    assert slow.ask("b", 0)[1] == 4 * MINUTE_S


@pytest.mark.parametrize("seed", range(20))
def test_no_minute_has_more_than_the_limit(seed: int, clock: Clock) -> None:
    """Whatever comes when, no minute has more than its limit, and all begin, in the order in which they asked."""
    rng = random.Random(seed)
    limit = rng.randrange(1, 8)
    allowance = Allowance(Rates(requests=limit, tokens=50 * limit), clock)
    due: dict[str, float] = {}
    begun: list[tuple[float, str]] = []
    left = [f"{number:02}" for number in range(40)]

    while left or due:
        coming = [name for name, at in due.items() if at <= clock.now]
        for name in coming or left[: rng.randrange(3)]:
            left = [other for other in left if other != name]
            wait_s = allowance.ask(name, 40)[1]
            if wait_s:
                due[name] = clock.now + wait_s
            else:
                due.pop(name, None)
                begun.append((clock.now, name))
        clock.now = min([clock.now + rng.random() * 9, *(at for at in due.values() if at > clock.now)])

    assert [name for _, name in begun] == sorted(name for _, name in begun)
    assert len(begun) == 40
    for start, _ in begun:
        assert sum(start <= at < start + MINUTE_S - 1e-6 for at, _ in begun) <= limit


async def test_a_long_wait_is_told(clock: Clock) -> None:
    """A caller with a name is told how long to wait, and by which limit; it has its place when it comes again."""
    allowance = Allowance(Rates(requests=1), clock)
    await allowance.enter("a", 0, patience_s=60)
    with pytest.raises(LLMLimited, match=r"1 requests \(LLM_REQUESTS_PER_MIN\).*waits for its turn") as told:
        await allowance.enter("b", 0, patience_s=60)
    assert told.value.retry_after_s == MINUTE_S
    clock.now += MINUTE_S
    assert not (await allowance.enter("b", 0, patience_s=60)).at > clock.now


async def test_a_short_wait_is_held(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait of a second or two is no durable one; who has no name waits longer, and not for ever."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    monkeypatch.setattr("app.llm.allowance.asyncio.sleep", sleep)
    allowance = Allowance(Rates(requests=1), clock)
    await allowance.enter("a", 0, patience_s=60)
    clock.now += MINUTE_S - 1
    await allowance.enter("b", 0, patience_s=60)
    await allowance.enter("", 0, patience_s=60)
    assert slept == [1, MINUTE_S]
    with pytest.raises(LLMLimited):
        await allowance.enter("", 0, patience_s=59)
