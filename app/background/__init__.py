"""Background agents: event-driven coroutines that run for months, on Restate. This is the public surface.

    from app.background import agent, condition, Restack

`agent`, `workflow` and `function` are the namespaces of the reference. The rest are its module functions and types.
"""

from app.background import agent, function, workflow
from app.background.client.restack import Restack
from app.background.declare.retry import RetryPolicy
from app.background.event import AgentEvent
from app.background.protocol import AgentDescription, ParentClosePolicy, Status
from app.background.published.ignored import import_functions
from app.background.published.options import CloudConnectionOptions, ResourceOptions, ServiceOptions
from app.background.run.children import ChildStart
from app.background.run.current import (
    agent_info,
    all_events_finished,
    condition,
    sleep,
    uuid,
)
from app.background.run.current import agent_info as workflow_info
from app.background.run.info import AgentInfo
from app.background.run.log import log
from app.background.schedules.spec import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleRange,
    ScheduleSpec,
    cron,
    interval,
)
from app.background.sensitive_codec import Sensitive, SensitiveFieldsCodec, create_aes_gcm_encryption, sensitive
from app.background.serve.services import services
from app.errors import AgentFailed, NonRetryableError, RetryableError, StepFailed

__all__ = [
    "AgentDescription",
    "AgentEvent",
    "AgentFailed",
    "AgentInfo",
    "ChildStart",
    "CloudConnectionOptions",
    "NonRetryableError",
    "ParentClosePolicy",
    "ResourceOptions",
    "Restack",
    "RetryPolicy",
    "RetryableError",
    "ScheduleCalendarSpec",
    "ScheduleIntervalSpec",
    "ScheduleRange",
    "ScheduleSpec",
    "Sensitive",
    "SensitiveFieldsCodec",
    "ServiceOptions",
    "Status",
    "StepFailed",
    "agent",
    "agent_info",
    "all_events_finished",
    "condition",
    "create_aes_gcm_encryption",
    "cron",
    "function",
    "import_functions",
    "interval",
    "log",
    "sensitive",
    "services",
    "sleep",
    "uuid",
    "workflow",
    "workflow_info",
]
