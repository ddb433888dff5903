"""The namespace `workflow`: an agent without events, in the words of workflows.

A list of names; each does its job in a module of its own.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from app.background.children import ChildStart, child_execute, child_start
from app.background.definition import define, marker
from app.background.log import log
from app.background.protocol import ParentClosePolicy
from app.background.retry import RetryPolicy
from app.background.runtime import agent_info as workflow_info
from app.background.runtime import condition, continue_as_new, should_continue_as_new, sleep, uuid
from app.background.stepping import step
from app.errors import NonRetryableError, RetryableError

__all__ = [
    "ChildStart",
    "NonRetryableError",
    "ParentClosePolicy",
    "RetryPolicy",
    "RetryableError",
    "child_execute",
    "child_start",
    "condition",
    "continue_as_new",
    "defn",
    "log",
    "run",
    "should_continue_as_new",
    "sleep",
    "step",
    "uuid",
    "workflow_info",
]

C = TypeVar("C", bound=type)


def defn(name: str | None = None, description: str | None = None) -> Callable[[C], C]:
    """Mark a class as a workflow. Errors: DefinitionError, at import time."""
    return lambda cls: define(cls, kind="workflow", name=name, description=description)


def run(function: Any = None) -> Any:
    """Mark the coroutine method that is the workflow; it takes at most one input. Errors: DefinitionError."""
    return marker("run", function, kind="workflow")
