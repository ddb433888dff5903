"""The module `restack` of the published library: the client, and what it is told.

A list of names. The client itself is in `client/restack.py`.
"""

from app.background.client.handle import AgentHandle as WorkflowHandle
from app.background.client.handle import UpdateStage as WorkflowUpdateStage
from app.background.client.restack import Restack
from app.background.published.options import CloudConnectionOptions, ResourceOptions, ServiceOptions
from app.background.schedules.spec import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

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
