"""The module `restack` of the published library: the client, and what it is told. A list of names."""

from app.background.client import Restack
from app.background.handle import AgentHandle as WorkflowHandle
from app.background.handle import UpdateStage as WorkflowUpdateStage
from app.background.options import CloudConnectionOptions, ResourceOptions, ServiceOptions
from app.background.schedule_spec import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

__all__ = [
    "CloudConnectionOptions",
    "ResourceOptions",
    "Restack",
    "ScheduleCalendarSpec",
    "ScheduleIntervalSpec",
    "ScheduleRange",
    "ScheduleSpec",
    "ServiceOptions",
    "WorkflowHandle",
    "WorkflowUpdateStage",
]
