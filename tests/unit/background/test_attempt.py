"""What one attempt of a function becomes: its value, its timeout, or a failure that names everything."""

import asyncio
import time
from typing import Any

import pytest

from app.background.declare.definition import definition_of_function
from app.background.function import FunctionInfo, heartbeat
from app.background.functions.attempt import Attempt, cause_of
from app.background.functions.limits import Gate, Limits
from app.background.functions.workers import Workers
from app.errors import NonRetryableError, StepFailed
from tests.support.eventually import eventually


def attempt(function: Any, **limits: Any) -> Attempt:
    options: dict[str, Any] = {"number": 1, "start_to_close_s": None, "heartbeat_s": None, **limits}
    info = FunctionInfo(name="f", task_queue="q", agent_id="a")
    return Attempt(definition_of_function(function), (), info, **options)


async def outcome(function: Any, **limits: Any) -> Any:
    return await attempt(function, **limits).run(Gate(Limits()), Workers(4))


async def failure(function: Any, **limits: Any) -> StepFailed:
    with pytest.raises(StepFailed) as failed:
        await outcome(function, **limits)
    return failed.value


async def test_wait_for_a_place_is_no_timeout() -> None:
    """start_to_close begins when the function does, not while it waits for a place."""

    async def quick() -> str:
        await asyncio.sleep(0.05)
        return "done"

    gate, workers = Gate(Limits(at_once=1)), Workers(4)
    runs = (attempt(quick, start_to_close_s=2.0).run(gate, workers) for _ in range(3))
    assert await asyncio.gather(*runs) == ["done"] * 3


async def test_plain_function_is_abandoned_at_its_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A thread cannot be stopped: the attempt ends in time all the same, and the log says that it goes on."""

    def sleeps() -> None:
        time.sleep(1)

    begun = time.monotonic()
    failed = await failure(sleeps, start_to_close_s=0.1)
    assert time.monotonic() - begun < 0.9
    assert str(failed) == "Function 'sleeps' failed: TimeoutError: no result after 0.1 s"
    assert failed.retryable
    assert "cannot be stopped: its thread goes on until it returns" in caplog.text


async def test_heartbeat_of_a_thread() -> None:
    """A plain function beats from its thread."""

    def beats() -> str:
        for _ in range(6):
            time.sleep(0.1)
            heartbeat()
        return "done"

    assert await outcome(beats, heartbeat_s=0.5) == "done"


async def test_errors_of_ours_say_whether_to_try_again() -> None:
    """NonRetryableError and the types that the policy names are final; an attribute of a foreign error is not."""

    async def final() -> None:
        raise NonRetryableError("no")

    async def foreign() -> None:
        error = ValueError("no")
        error.retryable = False  # type: ignore[attr-defined]  # what it is about
        error.retry_after_s = 1e9  # type: ignore[attr-defined]
        raise error

    assert not (await failure(final)).retryable
    by_others = await failure(foreign)
    assert (by_others.retryable, by_others.retry_after_s, by_others.error_type) == (True, None, "ValueError")
    assert not (await failure(foreign, non_retryable=("ValueError",))).retryable


async def test_result_that_json_cannot_carry_is_final() -> None:
    """Another attempt would return the same: the failure says what returned it."""

    async def returns_itself() -> Any:
        return object()

    failed = await failure(returns_itself)
    assert not failed.retryable
    assert "function 'returns_itself' returns cannot be stored as JSON" in str(failed)


async def test_cancelled_attempt_ends_its_function() -> None:
    """Who cancels the attempt waits until the function's `finally` has run."""
    log: list[str] = []

    async def cleans_up() -> None:
        try:
            log.append("begun")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            log.append("cleaned up")

    running = asyncio.create_task(outcome(cleans_up))
    await eventually(lambda: log)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log == ["begun", "cleaned up"]


def test_cause_that_cannot_be_told() -> None:
    """An error whose text raises has a cause all the same; a long one is cut."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    assert cause_of(Broken()) == "Broken: its text cannot be had, ValueError"
    assert len(cause_of(ValueError("x" * 100_000))) < 5000


@pytest.mark.parametrize("result", [b"\xff", 10**5000], ids=["bytes", "integer"])
async def test_a_result_that_cannot_be_stored_is_final(result: object) -> None:
    """Another attempt would return the same, after the same effects."""

    def gives() -> object:
        return result

    failed = await failure(gives)
    assert not failed.retryable
    assert "cannot be stored as JSON: it has" in str(failed)
