"""What exceptions of user code become: harmless ones, and sentences."""

import asyncio

import pytest
from restate.exceptions import SuspendedException

from app.background.declare.operation import to_json
from app.background.failure import Interrupted, ends_attempt, harmless, text_of
from app.durable.loop.futures import AttemptOver
from app.errors import UsageError


class Mute(BaseException):
    """It cannot be told."""

    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(), Mute(), BaseExceptionGroup("", [Mute()])],
)
def test_what_ends_a_process_becomes_harmless(error: BaseException) -> None:
    """It becomes an ordinary exception, which names it and comes from it."""
    made = harmless(error)

    assert isinstance(made, Interrupted)
    assert made.__cause__ is error
    assert text_of(made) == text_of(error)
    assert type(error).__name__ in text_of(made)


@pytest.mark.parametrize(
    "error", [ValueError("x"), asyncio.CancelledError(), AttemptOver(), BaseExceptionGroup("", [AttemptOver()])]
)
def test_others_stay_what_they_are(error: BaseException) -> None:
    """Ordinary exceptions, cancellations and the end of an attempt are handed on."""
    assert harmless(error) is error


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (AttemptOver(), True),
        (SuspendedException(), True),
        (BaseExceptionGroup("", [ValueError(), AttemptOver()]), True),
        (BaseExceptionGroup("", [SystemExit()]), False),
        (SystemExit(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_the_end_of_an_attempt_is_known(error: BaseException, *, ends: bool) -> None:
    """It is told from failures of user code, also in a group."""
    assert ends_attempt(error) is ends


def circle() -> list[object]:
    items: list[object] = []
    items.append({"items": items})
    return items


def deep(levels: int) -> list[object]:
    items: list[object] = []
    for _ in range(levels):
        items = [items]
    return items


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\xff", "bytes that are no UTF-8; make them text, for example base64"),
        ({"deep": [b"\xff"]}, "bytes that are no UTF-8"),
        ({b"\xff": 1}, "bytes that are no UTF-8"),
        (circle(), "it contains itself; leave the reference back out"),
        (deep(2000), "nested too deeply; make it flatter"),
        (10**5000, "an integer of more than 4300 digits; make it text"),
        ([{"n": -(10**4300)}], "an integer of more than 4300 digits"),
        ({10**5000: 1}, "an integer of more than 4300 digits"),
        (object(), "use dicts, lists, pydantic models"),
    ],
    ids=["bytes", "bytes inside", "bytes as key", "circle", "deep", "integer", "negative", "integer as key", "object"],
)
def test_what_json_cannot_carry_is_named(value: object, why: str) -> None:
    """The refusal says whose value it is, what is wrong, and the way out."""
    with pytest.raises(UsageError, match=f"What f returns cannot be stored as JSON: .*{why}"):
        to_json(value, "What f returns")


def test_what_json_can_carry_stays() -> None:
    """The largest integer that is read back, bytes of text and a deep list pass."""
    assert to_json([10**4300 - 1, b"text", True], "It") == [10**4300 - 1, "text", True]
    assert to_json(deep(200), "It") == deep(200)
