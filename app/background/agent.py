"""The namespace `agent`: what marks a class as an agent, and what its code calls while it runs.

A list of names; each does its job in a module of its own.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from app.background.children import ChildStart, child_execute, child_start
from app.background.definition import define, marker
from app.background.log import log
from app.background.protocol import ParentClosePolicy
from app.background.retry import RetryPolicy
from app.background.runtime import (
    agent_info,
    all_events_finished,
    condition,
    should_continue_as_new,
    sleep,
    uuid,
)
from app.background.runtime import continue_as_new as agent_continue_as_new
from app.background.stepping import step
from app.errors import NonRetryableError, RetryableError

__all__ = [
    "ChildStart",
    "NonRetryableError",
    "ParentClosePolicy",
    "RetryPolicy",
    "RetryableError",
    "agent_continue_as_new",
    "agent_info",
    "all_events_finished",
    "child_execute",
    "child_start",
    "condition",
    "defn",
    "event",
    "log",
    "run",
    "should_continue_as_new",
    "sleep",
    "state",
    "step",
    "uuid",
]

C = TypeVar("C", bound=type)


def defn(name: str | None = None, description: str | None = None) -> Callable[[C], C]:
    """Mark a class as an agent; `name` is what clients and Restate know it by, the class name if absent.

    Errors: DefinitionError, at import time.
    """
    return lambda cls: define(cls, kind="agent", name=name, description=description)


def run(function: Any = None) -> Any:
    """Mark the coroutine method that is the agent; it takes at most one input. Errors: DefinitionError."""
    return marker("run", function)


def event(function: Any = None, *, name: str | None = None) -> Any:
    """Mark a coroutine method as the handler of an event; what it returns goes to the sender who waits for it.

    Handlers start in the order of their events, run beside `run` and each other, and may take steps.
    Errors: DefinitionError.
    """
    return marker("event", function, name=name)


def state(function: Any = None, *, name: str | None = None) -> Any:
    """Mark a plain method that answers a query from what the agent has in memory. Errors: DefinitionError."""
    return marker("state", function, name=name)
