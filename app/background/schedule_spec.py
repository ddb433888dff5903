"""When a scheduled agent is due: intervals and cron expressions in a time zone. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, model_validator

from app.boundary import Input

_MAX_MISSED = 10_000


class ScheduleIntervalSpec(Input):
    """Every so often, counted from midnight UTC of 1970-01-01 plus `offset`."""

    every: Annotated[timedelta, Field(ge=timedelta(seconds=1))]
    offset: timedelta = timedelta(0)


class ScheduleSpec(Input):
    """When an agent is started: at each time of any of the lists.

    Cron expressions have five fields, or six with seconds first, and follow Debian's cron when clocks change: a time
    that is skipped runs right after the change, one that comes twice runs once. `when_busy` says what happens if the
    last agent still runs: `skip` this time, or `coalesce` it with others into one start when that agent has ended.
    """

    intervals: tuple[ScheduleIntervalSpec, ...] = ()
    cron_expressions: tuple[str, ...] = ()
    time_zone_name: str = "UTC"
    when_busy: Literal["skip", "coalesce"] = "skip"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.intervals and not self.cron_expressions:
            raise ValueError("a schedule needs intervals or cron_expressions")
        try:
            zone = ZoneInfo(self.time_zone_name)
        except (ValueError, OSError, LookupError) as exc:
            raise ValueError(
                f"time_zone_name {self.time_zone_name!r} is unknown, use one like 'Europe/Berlin'"
            ) from exc
        for expression in self.cron_expressions:
            try:
                CronSim(expression, datetime.now(zone))
            except CronSimError as exc:
                raise ValueError(f"cron expression {expression!r}: {exc}, use one like '0 9 * * 1-5'") from exc
        return self

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after `moment`, in UTC."""
        local = moment.astimezone(ZoneInfo(self.time_zone_name))
        times = [next(CronSim(expression, local)) for expression in self.cron_expressions]
        times += [_next_multiple(interval, moment) for interval in self.intervals]
        return min(time.astimezone(UTC) for time in times)

    def times_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the times after `after` up to `until`, at most 10,000."""
        moment = after
        for _ in range(_MAX_MISSED):
            moment = self.next_after(moment)
            if moment > until:
                return
            yield moment


def interval(every: timedelta, *, when_busy: Literal["skip", "coalesce"] = "skip") -> ScheduleSpec:
    """Return a schedule of one interval."""
    return ScheduleSpec(intervals=(ScheduleIntervalSpec(every=every),), when_busy=when_busy)


def cron(expression: str, *, time_zone: str = "UTC", when_busy: Literal["skip", "coalesce"] = "skip") -> ScheduleSpec:
    """Return a schedule of one cron expression."""
    return ScheduleSpec(cron_expressions=(expression,), time_zone_name=time_zone, when_busy=when_busy)


def _next_multiple(spec: ScheduleIntervalSpec, moment: datetime) -> datetime:
    epoch = datetime.fromtimestamp(0, UTC) + spec.offset
    return epoch + ((moment - epoch) // spec.every + 1) * spec.every
