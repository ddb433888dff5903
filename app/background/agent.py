"""The namespace `agent`: what marks a class as an agent, and what its code calls while it runs.

A list of names. Each does its job in a module of its own.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from app.background import agent  # itself: the published library spells it `from …agent import agent`
from app.background.declare.definition import define, marker
from app.background.declare.retry import RetryPolicy
from app.background.protocol import ParentClosePolicy
from app.background.published.ignored import ignored, import_functions
from app.background.run.children import ChildCancellation as ChildWorkflowCancellationType
from app.background.run.children import ChildStart, child_execute, child_start
from app.background.run.current import (
    agent_info,
    all_events_finished,
    condition,
    should_continue_as_new,
    sleep,
    uuid,
)
from app.background.run.current import continue_as_new as agent_continue_as_new
from app.background.run.external import get_external_agent_handle
from app.background.run.log import log
from app.background.run.step import step
from app.errors import NonRetryableError, RetryableError

__all__ = [
    "ChildStart",
    "ChildWorkflowCancellationType",
    "NonRetryableError",
    "ParentClosePolicy",
    "RetryPolicy",
    "RetryableError",
    "agent",
    "agent_continue_as_new",
    "agent_info",
    "all_events_finished",
    "child_execute",
    "child_start",
    "condition",
    "defn",
    "event",
    "get_external_agent_handle",
    "import_functions",
    "log",
    "run",
    "should_continue_as_new",
    "sleep",
    "state",
    "step",
    "uuid",
]

C = TypeVar("C", bound=type)
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])
Q = TypeVar("Q", bound=Callable[..., Any])


def defn(name: str | None = None, description: str | None = None, *, mcp: bool = False) -> Callable[[C], C]:
    """Mark a class as an agent. `name` is what clients and Restate know it by, the class name if absent.

    `mcp` has no meaning here.
    Errors: DefinitionError, at import time.
    """
    if mcp:
        ignored("agent.defn(mcp=True)", "agents are not offered as MCP tools")
    return lambda cls: define(cls, kind="agent", name=name, description=description)


def run(function: H) -> H:
    """Mark the coroutine method that is the agent. It takes at most one input. Errors: DefinitionError."""
    return marker("run", function)


@overload
def event(function: H) -> H: ...
@overload
def event(*, name: str | None = None) -> Callable[[H], H]: ...
def event(function: Any = None, *, name: str | None = None) -> Any:
    """Mark a coroutine method as the handler of an event. What it returns goes to the sender who waits for it.

    Handlers start in the order of their events, run beside `run` and each other, and may take steps.
    Errors: DefinitionError.
    """
    return marker("event", function, name=name)


@overload
def state(fn: Q, name: str | None = None, description: str | None = None) -> Q: ...
@overload
def state(*, name: str | None = None, description: str | None = None) -> Callable[[Q], Q]: ...
def state(fn: Any = None, name: str | None = None, description: str | None = None) -> Any:
    """Mark a plain method that answers a query from what the agent has in memory. Errors: DefinitionError."""
    del description  # the docstring is the description
    return marker("state", fn, name=name)
