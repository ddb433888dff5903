"""What schedules are told, store and answer.

Shapes only. Fields change only with a migration note.
"""

from datetime import UTC, datetime

from app.background.protocol import StartRequest
from app.background.schedules.spec import ScheduleSpec
from app.values import Stored

SCHEDULE_KEY = "schedule"  # a Schedule is stored under it
_EPOCH = datetime.fromtimestamp(0, UTC)


class CreateSchedule(Stored):
    """What to start, and when."""

    spec: ScheduleSpec
    start: StartRequest


class Schedule(CreateSchedule):
    """A schedule and what has become of it so far. `missed` were due while nothing ran at all.

    `next_at` is None when it has come to its end.
    """

    schedule_id: str
    created_at: datetime = _EPOCH
    next_at: datetime | None = _EPOCH
    last_agent_id: str | None = None
    started: int = 0
    skipped: int = 0
    coalesced: int = 0
    missed: int = 0
    pending: bool = False
    problem: str | None = None


class ScheduleList(Stored):
    """Schedules, by id."""

    schedules: tuple[Schedule, ...]


class Tick(Stored):
    """A time that was due. `created_at` fences it: a schedule of the same name that came later ignores it."""

    created_at: datetime
    due: datetime
