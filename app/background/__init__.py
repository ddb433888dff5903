"""Background agents: event-driven coroutines that run for months, on Restate. This is the public surface.

    from app.background import agent, condition, Restack

`agent`, `workflow` and `function` are the namespaces of the reference. The rest are its module functions and types.
What is neither in `__all__` nor in a module of PUBLIC_MODULES may change at any time.
"""

from app.background import agent, function, workflow
from app.background.client.handle import AgentHandle
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
from app.background.schedules.protocol import Schedule
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
from app.errors import (
    AgentError,
    AgentFailed,
    Conflict,
    NonRetryableError,
    NotFound,
    RetryableError,
    StepFailed,
    UsageError,
)

# Under the names that the published library gives its modules. Each lists its names in an `__all__` of its own.
PUBLIC_MODULES = (
    "agent",
    "endpoints",
    "event",
    "function",
    "observability",
    "restack",
    "security",
    "sensitive_codec",
    "utils",
    "workflow",
)

__all__ = [  # noqa: RUF022 - in groups: who needs it, and when
    # To declare
    "agent",
    "function",
    "workflow",
    # In an agent, while it runs
    "AgentInfo",
    "ChildStart",
    "ParentClosePolicy",
    "RetryPolicy",
    "agent_info",
    "all_events_finished",
    "condition",
    "import_functions",
    "log",
    "sleep",
    "uuid",
    "workflow_info",
    # For clients: to start agents, send to them, look at them
    "AgentDescription",
    "AgentEvent",
    "AgentHandle",
    "CloudConnectionOptions",
    "Restack",
    "Status",
    # When agents are due
    "Schedule",
    "ScheduleCalendarSpec",
    "ScheduleIntervalSpec",
    "ScheduleRange",
    "ScheduleSpec",
    "cron",
    "interval",
    # To serve
    "ResourceOptions",
    "ServiceOptions",
    "services",
    # Fields that only who has the key can read
    "Sensitive",
    "SensitiveFieldsCodec",
    "create_aes_gcm_encryption",
    "sensitive",
    # What is raised: by functions to say whether another attempt may help, by steps, by the client
    "AgentError",
    "AgentFailed",
    "Conflict",
    "NonRetryableError",
    "NotFound",
    "RetryableError",
    "StepFailed",
    "UsageError",
]
