"""`app/llm/pace.py`: many answers are read in larger pieces, few at once, and none late at its beginning or end."""

import asyncio
from contextlib import ExitStack

import pytest

from app.llm.pace import EAGER_READS, Pace


class Network:
    """A network stream that has always something to read."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert timeout == 5
        return b"x" * max_bytes


async def pauses(monkeypatch: pytest.MonkeyPatch, *, open_answers: int, ended: bool) -> list[float]:
    """Read ten times from one of so many answers; return how long the pauses were."""
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
            for _ in range(10):
                assert await network.read(3, timeout=5) == b"xxx"
        before = len(slept)
        await network.read(3, timeout=5)  # the connection is used again
        assert len(slept) == before
    return slept


async def test_many_answers_are_read_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 600 answers each is read about every 0.4 s, but for its first reads; never after they are over."""
    slept = await pauses(monkeypatch, open_answers=600, ended=False)

    assert len(slept) == 10 - EAGER_READS
    assert all(0.2 <= pause_s <= 0.6 for pause_s in slept)
    assert len(set(slept)) > 1


@pytest.mark.parametrize(("open_answers", "ended"), [(30, False), (600, True)])
async def test_few_answers_and_the_end_of_one_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, open_answers: int, ended: bool
) -> None:
    """Where pauses save nothing, or would make the end of an answer late, there are none."""
    assert await pauses(monkeypatch, open_answers=open_answers, ended=ended) == []


async def test_an_answer_without_a_network_is_left_alone() -> None:
    """The offline model has none."""
    with Pace().reading(None, lambda: False):
        pass
