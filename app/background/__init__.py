"""Background agents: event-driven coroutines that run for months, on Restate. This is the public surface.

    from app.background import agent, condition, Restack

`agent`, `workflow` and `function` are the namespaces of the reference; the rest are its module functions and types.
"""

from app.background import agent, function, workflow
from app.background.children import ChildStart
from app.background.client import Restack
from app.background.log import log
from app.background.protocol import AgentDescription, AgentEvent, ParentClosePolicy, Status
from app.background.retry import RetryPolicy
from app.background.runtime import (
    AgentInfo,
    agent_info,
    all_events_finished,
    condition,
    sleep,
    uuid,
)
from app.background.runtime import agent_info as workflow_info
from app.background.schedule_spec import ScheduleIntervalSpec, ScheduleSpec, cron, interval
from app.background.serve import import_functions, services
from app.errors import AgentFailed, NonRetryableError, RetryableError, StepFailed

__all__ = [
    "AgentDescription",
    "AgentEvent",
    "AgentFailed",
    "AgentInfo",
    "ChildStart",
    "NonRetryableError",
    "ParentClosePolicy",
    "Restack",
    "RetryPolicy",
    "RetryableError",
    "ScheduleIntervalSpec",
    "ScheduleSpec",
    "Status",
    "StepFailed",
    "agent",
    "agent_info",
    "all_events_finished",
    "condition",
    "cron",
    "function",
    "import_functions",
    "interval",
    "log",
    "services",
    "sleep",
    "uuid",
    "workflow",
    "workflow_info",
]
