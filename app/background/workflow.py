"""The namespace `workflow`: an agent without events, in the words of workflows.

A list of names. Each does its job in a module of its own.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from app.background import workflow  # itself: the published library spells it `from …workflow import workflow`
from app.background.declare.definition import define, marker
from app.background.declare.retry import RetryPolicy
from app.background.protocol import ParentClosePolicy
from app.background.published.ignored import ignored, import_functions
from app.background.run.children import ChildCancellation as ChildWorkflowCancellationType
from app.background.run.children import ChildStart, child_execute, child_start
from app.background.run.current import agent_info as workflow_info
from app.background.run.current import condition, continue_as_new, should_continue_as_new, sleep, uuid
from app.background.run.external import get_external_agent_handle as get_external_workflow_handle
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
    """Mark the coroutine method that is the workflow. It takes at most one input. Errors: DefinitionError."""
    return marker("run", function, kind="workflow")
