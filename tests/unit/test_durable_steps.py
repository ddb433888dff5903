"""What a step records of an error."""

from app.durable.steps import to_step_failed, to_terminal_error
from app.errors import LLMRejected, LLMUnavailable


class Gateway(Exception):
    """An error of another library, with attributes that mean something else there."""

    retryable = "never"
    retry_after_s = "soon"
    status = 404


def test_only_our_errors_speak_for_themselves() -> None:
    """`retryable` and `retry_after_s` are those of our own errors; a foreign one may be tried again."""
    foreign = to_step_failed(to_terminal_error(Gateway(), "bad gateway"))
    assert (foreign.retryable, foreign.retry_after_s, foreign.error_type) == (True, None, "Gateway")
    ours = to_step_failed(to_terminal_error(LLMUnavailable("busy", retry_after_s=3.0), "busy"))
    assert (ours.retryable, ours.retry_after_s) == (True, 3.0)
    assert not to_step_failed(to_terminal_error(LLMRejected("no"), "no")).retryable
