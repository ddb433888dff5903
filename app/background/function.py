"""The namespace `function`: what marks a function that steps run, and what its code calls while it runs.

A function may do what it likes: it runs on an event loop of its own, or in a thread. Nothing is registered here.
"""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from app.background import function  # itself: the published library spells it `from …function import function`
from app.background.declare.definition import mark_function
from app.background.functions.current import function_info, heartbeat, in_function, mcp_progress
from app.background.functions.current import function_info as info
from app.background.functions.current import in_function as in_activity
from app.background.functions.info import FunctionInfo
from app.background.functions.streaming import stream_to_websocket
from app.background.run.log import log
from app.background.run.log import log as logger
from app.errors import DefinitionError, FunctionError, NonRetryableError, RetryableError

__all__ = [
    "FunctionFailure",
    "FunctionInfo",
    "NonRetryableError",
    "RetryableError",
    "defn",
    "function",
    "function_info",
    "heartbeat",
    "in_activity",
    "in_function",
    "info",
    "log",
    "logger",
    "mcp_progress",
    "stream_to_websocket",
]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def defn(fn: F) -> F: ...
@overload
def defn(
    fn: str | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> Callable[[F], F]: ...
def defn(
    fn: Any = None,
    *,
    name: str | None = None,
    description: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> Any:
    """Mark a function that steps may run. A plain function works too. `name` is what Restate knows it by.

    Errors: DefinitionError if it needs more than one input.
    """
    del description, no_thread_cancel_exception  # the docstring is the description; threads are never interrupted
    if dynamic:
        raise DefinitionError("@function.defn(dynamic=True): a function is called by its name; give it one")
    if callable(fn):
        return mark_function(fn, name)
    return lambda function: mark_function(function, name or fn)


class FunctionFailure(FunctionError):
    """The function failed. Earlier versions of the published library spell it so."""

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = not non_retryable
