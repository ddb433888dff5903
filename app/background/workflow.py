"""The namespace `workflow`: an agent without events, in the words of workflows.

A list of names; each does its job in a module of its own.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from app.background import workflow  # itself: the published library spells it `from …workflow import workflow`
from app.background.children import ChildCancellation as ChildWorkflowCancellationType
from app.background.children import ChildStart, child_execute, child_start
from app.background.definition import define, marker
from app.background.external import get_external_agent_handle as get_external_workflow_handle
from app.background.ignored import ignored
from app.background.log import log
from app.background.protocol import ParentClosePolicy
from app.background.retry import RetryPolicy
from app.background.runtime import agent_info as workflow_info
from app.background.runtime import condition, continue_as_new, should_continue_as_new, sleep, uuid
from app.background.serve import import_functions
from app.background.stepping import step
from app.errors import NonRetryableError, RetryableError

__all__ = [
    "ChildStart",
    "ChildWorkflowCancellationType",
    "NonRetryableError",
    "ParentClosePolicy",
    "RetryPolicy",
    "RetryableError",
    "child_execute",
    "child_start",
    "condition",
    "continue_as_new",
    "defn",
    "get_external_workflow_handle",
    "import_functions",
    "log",
    "run",
    "should_continue_as_new",
    "sleep",
    "step",
    "uuid",
    "workflow",
    "workflow_info",
]

C = TypeVar("C", bound=type)
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


def defn(name: str | None = None, description: str | None = None, *, mcp: bool = False) -> Callable[[C], C]:
    """Mark a class as a workflow. `mcp` has no meaning here. Errors: DefinitionError, at import time."""
    if mcp:
        ignored("workflow.defn(mcp=True)", "workflows are not offered as MCP tools")
    return lambda cls: define(cls, kind="workflow", name=name, description=description)


def run(function: H) -> H:
    """Mark the coroutine method that is the workflow; it takes at most one input. Errors: DefinitionError."""
    return marker("run", function, kind="workflow")
