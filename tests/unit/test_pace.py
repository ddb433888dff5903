"""`app/llm/pace.py`: many answers are read in larger pieces, few at once, and none late at its beginning or end."""

import asyncio
from contextlib import ExitStack

import pytest

from app.llm.pace import BURST, BURST_GAP_S, BURST_PAUSE_S, EAGER_READS, Pace


class Network:
    """A network stream that has always something to read."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert timeout == 5
        return b"x" * max_bytes


async def pauses(monkeypatch: pytest.MonkeyPatch, *, open_answers: int, ended: bool, reads: int = BURST) -> list[float]:
    """Read so often from one of so many answers; return how long the pauses were."""
    slept: list[float] = []

    async def sleep(pause_s: float) -> None:
        slept.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace()
    network = Network()
    with ExitStack() as answers:
        for _ in range(open_answers - 1):
            answers.enter_context(pace.reading(Network(), lambda: False))
        with pace.reading(network, lambda: ended):
            for _ in range(reads):
                assert await network.read(3, timeout=5) == b"xxx"
        before = len(slept)
        await network.read(3, timeout=5)  # the connection is used again
        assert len(slept) == before
    return slept


async def test_many_answers_are_read_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 600 answers each is read about every 0.4 s, but for its first reads; never after they are over."""
    slept = await pauses(monkeypatch, open_answers=600, ended=False, reads=10)

    assert len(slept) == 10 - EAGER_READS
    assert all(0.2 <= pause_s <= 0.6 for pause_s in slept)
    assert len(set(slept)) > 1


@pytest.mark.parametrize(("open_answers", "ended"), [(30, False), (600, True)])
async def test_few_answers_and_the_end_of_one_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, open_answers: int, ended: bool
) -> None:
    """Where pauses save nothing, or would make the end of an answer late, there are none."""
    assert await pauses(monkeypatch, open_answers=open_answers, ended=ended) == []


async def test_a_burst_is_read_in_larger_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends hundreds of pieces a second is read every few milliseconds; not at the end of the answer."""
    assert await pauses(monkeypatch, open_answers=1, ended=False, reads=BURST + 3) == [BURST_PAUSE_S] * 3
    assert await pauses(monkeypatch, open_answers=1, ended=True, reads=BURST + 3) == []


async def test_an_answer_as_fast_as_people_read_is_no_burst() -> None:
    """A piece that was waited for begins the count again."""

    class Slow(Network):
        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            await asyncio.sleep(2 * BURST_GAP_S)
            return await super().read(max_bytes, timeout)

    network, sleep, sleeps = Slow(), asyncio.sleep, 0

    async def counted(pause_s: float) -> None:
        nonlocal sleeps
        sleeps += pause_s == BURST_PAUSE_S
        await sleep(pause_s)

    with pytest.MonkeyPatch.context() as patch, Pace().reading(network, lambda: False):
        patch.setattr(asyncio, "sleep", counted)
        for _ in range(BURST + 3):
            await network.read(3, timeout=5)
    assert sleeps == 0


async def test_an_answer_without_a_network_is_left_alone() -> None:
    """The offline model has none."""
    with Pace().reading(None, lambda: False):
        pass
