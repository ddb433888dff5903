"""`app/web/limits.py` and `gateway.py`: requests a second, open streams, and their end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.settings import Settings
from app.web.gateway import Gateway
from app.web.limits import Rate, Streams
from app.web.refusals import Refused


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    """`burst` at once, then `per_s` a second, and who waits has the burst again."""
    now = [0.0]
    rate = Rate(2, 3, clock=lambda: now[0])

    def can_be_taken(times: int) -> None:
        for _ in range(times):
            rate.take("a")
        with pytest.raises(Refused) as refused:
            rate.take("a")
        assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "1")

    can_be_taken(3)
    now[0] += 1
    can_be_taken(2)
    now[0] += 0.4
    can_be_taken(0)
    now[0] += 100
    can_be_taken(3)


def test_names_do_not_share_a_rate_and_are_forgotten() -> None:
    """Each name has its own count, and a flood of names fills no memory."""
    rate = Rate(1, 1)
    for number in range(20_000):
        rate.take(str(number))
    assert len(rate._left) == 10_000


async def test_streams_are_counted_by_name_and_in_all() -> None:
    """Too many of one name are 429, too many in all 503; a stream that ends gives its place back."""
    streams = Streams(2, 3)
    async with streams.place("a"), streams.place("a"):
        with pytest.raises(Refused) as refused:
            async with streams.place("a"):
                raise AssertionError
        assert refused.value.status == 429
        async with streams.place("b"):
            with pytest.raises(Refused) as refused:
                async with streams.place("c"):
                    raise AssertionError
            assert refused.value.status == 503
        async with streams.place("c"):
            assert streams.open == 3
    assert streams.open == 0
    assert not streams._open


async def numbers(ended: list[str]) -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
        await asyncio.Event().wait()
    finally:
        ended.append("closed")


async def test_streams_end_with_the_gateway() -> None:
    """A stream that waits ends when the gateway does, and what makes it is closed."""
    gateway, ended = Gateway(Settings(_env_file=None)), list[str]()
    seen = []
    async for number in gateway.until_ending(numbers(ended)):
        seen.append(number)
        if number == 2:
            asyncio.get_running_loop().call_soon(gateway.ending.set)
    assert (seen, ended) == ([1, 2], ["closed"])
    assert [item async for item in gateway.until_ending(numbers(ended))] == []
    await gateway.close()


async def test_streams_that_end_by_themselves_do() -> None:
    """A stream that is over is over, and an error in it is the reader's."""

    async def few() -> AsyncIterator[int]:
        yield 1

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("bug")

    gateway = Gateway(Settings(_env_file=None))
    assert [item async for item in gateway.until_ending(few())] == [1]
    with pytest.raises(ValueError, match="bug"):
        async for _ in gateway.until_ending(broken()):
            pass
    await gateway.close()
