"""What an exception of user code becomes: one that harms nobody, a text that can be stored, and an HTTP status.

Also the way back: the error that the status of a refusal stands for.

Pure. Only errors of ours choose their status: a foreign exception may have a `status` that means something else.
"""

import asyncio

from restate import TerminalError
from restate.exceptions import SdkInternalBaseException

from app.durable.loop.futures import AttemptOver
from app.errors import AgentError, Conflict, NotFound, UsageError
from app.text import clean, shorten

MAX_TEXT = 4000  # characters; it is stored, sent and shown in lists

# Any other is a UsageError. What a handler answers is in the journals of runs, with its status: a kind of its own for
# one more status would be answered differently by a replay.
_REFUSALS: dict[int, type[UsageError]] = {NotFound.status: NotFound, Conflict.status: Conflict}


class Interrupted(RuntimeError):
    """User code raised what would end its thread or the process, such as SystemExit or StopIteration."""


def harmless(error: BaseException) -> BaseException:
    """Return an error that can be raised where asyncio looks on: `error` itself if it can, else Interrupted.

    A cancellation and what ends an attempt stay what they are.
    """
    if isinstance(error, asyncio.CancelledError) or ends_attempt(error):
        return error
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    interrupted = Interrupted(_named(error))
    interrupted.__cause__ = error
    return interrupted


def ends_attempt(error: BaseException) -> bool:
    """Return whether an error, or one in a group, says that the attempt is over: it is no failure of user code."""
    ends = (AttemptOver, SdkInternalBaseException)
    return isinstance(error, ends) or (isinstance(error, BaseExceptionGroup) and error.subgroup(ends) is not None)


def text_of(exc: BaseException) -> str:
    """Return what an exception says, with its type if it is not one of ours."""
    return shorten(clean(_named(exc)), MAX_TEXT)


def _named(exc: BaseException) -> str:
    try:
        text = exc.message if isinstance(exc, AgentError) else str(exc)
    except BaseException:  # noqa: BLE001 - an exception of others whose __str__ is broken
        return f"{type(exc).__name__} (it cannot say what it is)"
    return text if isinstance(exc, (AgentError, Interrupted)) else f"{type(exc).__name__}: {text}"


def status_of(exc: BaseException) -> int:
    """Return the HTTP status that an exception becomes."""
    return exc.status if isinstance(exc, AgentError) else AgentError.status


def refusal_of(exc: TerminalError) -> UsageError:
    """Return what a mailbox refused, as the error that the code of an agent gets."""
    return _REFUSALS.get(exc.status_code, UsageError)(exc.message)
