"""What a step records: results and errors that the engine can carry."""

from datetime import timedelta

import pytest

from app.durable import RetryPolicy, to_step_failed, to_terminal_error
from app.durable.steps import MAX_ERROR_CHARS, MAX_WAIT_S
from app.errors import LLMUnavailable, StepFailed


def recorded(exc: Exception, text: str = "odd") -> StepFailed:
    error = to_terminal_error(exc, text)
    for value in (error.message, *(error.metadata or {}).values()):
        value.encode()
    return to_step_failed(error)


def test_texts_are_clean_and_short() -> None:
    """The text of an error can be encoded and has an end."""
    assert recorded(ValueError(), "bad \ud83d\ude42 \ud800").message == "bad \U0001f642 \ufffd"
    assert len(recorded(ValueError(), "x" * 10**6).message) < MAX_ERROR_CHARS + 100


def test_metadata_may_become_headers() -> None:
    """The class of an error is recorded in characters that a header can carry."""
    error = to_terminal_error(type("Fehlér\r\n", (Exception,), {})(), "odd")
    assert error.metadata is not None
    assert error.metadata["error_type"] == "Fehl?r??"


@pytest.mark.parametrize(
    "asked", [float("nan"), float("inf"), -1, "soon", timedelta(seconds=1), 10**400], ids=lambda asked: str(asked)[:9]
)
def test_odd_waits_are_passed_over(asked: object) -> None:
    """A `retry_after_s` that is no number of seconds is not recorded."""
    exc = ConnectionError()
    exc.retry_after_s = asked  # type: ignore[attr-defined]
    failure = recorded(exc)
    assert (failure.retry_after_s, failure.retryable) == (None, True)


def test_waits_have_an_end() -> None:
    """Whatever an error asks for, the next attempt comes within a month."""
    failure = recorded(LLMUnavailable(retry_after_s=1e30))
    assert RetryPolicy().delay_s(1, failure) == MAX_WAIT_S
    assert RetryPolicy().delay_s(1, recorded(LLMUnavailable(retry_after_s=7.5))) == 7.5
