"""When a scheduled agent is due: intervals, cron expressions and calendars in a time zone.

Values only. Starts nothing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self
from zlib import crc32
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator

from app.background.published.positional import Positional
from app.background.schedules.calendar import ScheduleCalendarSpec, ScheduleRange

__all__ = ["ScheduleCalendarSpec", "ScheduleIntervalSpec", "ScheduleRange", "ScheduleSpec", "cron", "interval"]

WhenBusy = Literal["skip", "coalesce"]

# Fields that came later are stored only if they say something: the version before refuses what it does not know.
_LATER = Field(exclude_if=lambda value: not value)

_MAX_MISSED = 10_000
_MAX_SKIPPED = 10_000


class ScheduleIntervalSpec(Positional):
    """Every so often, counted from midnight UTC of 1970-01-01 plus `offset`."""

    every: Annotated[timedelta, Field(ge=timedelta(seconds=1))]
    offset: timedelta = timedelta(0)

    if TYPE_CHECKING:

        def __init__(self, every: timedelta, offset: timedelta | None = None) -> None: ...

    @field_validator("offset", mode="before")
    @classmethod
    def _none_is_zero(cls, offset: object) -> object:
        return timedelta(0) if offset is None else offset


class ScheduleSpec(Positional):
    """When an agent is started: at each time of any of the lists that is not one of `skip`.

    Cron expressions have five fields, or six with seconds first, and follow Debian's cron when clocks change: a time
    that is skipped runs right after the change, one that comes twice runs once. Nothing is due before `start_at` and
    after `end_at`. Each start is late by up to `jitter`, at random. `when_busy` says what happens if the last agent
    still runs: `skip` this time, or `coalesce` it with others into one start when that agent has ended.
    """

    calendars: Annotated[tuple[ScheduleCalendarSpec, ...], _LATER] = ()
    intervals: tuple[ScheduleIntervalSpec, ...] = ()
    cron_expressions: tuple[str, ...] = ()
    skip: Annotated[tuple[ScheduleCalendarSpec, ...], _LATER] = ()
    start_at: Annotated[datetime | None, _LATER] = None
    end_at: Annotated[datetime | None, _LATER] = None
    jitter: Annotated[timedelta | None, Field(ge=timedelta(0)), _LATER] = None
    time_zone_name: str = "UTC"
    when_busy: WhenBusy = "skip"

    @field_validator("start_at", "end_at")
    @classmethod
    def _naive_is_utc(cls, moment: datetime | None) -> datetime | None:
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    @field_validator("time_zone_name", mode="before")
    @classmethod
    def _none_is_utc(cls, name: object) -> object:
        return "UTC" if name is None else name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.intervals or self.cron_expressions or self.calendars):
            raise ValueError("a schedule needs intervals or cron_expressions, or calendars")
        try:
            zone = self._zone
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

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, in UTC, None if there is none any more."""
        if self.start_at is not None:
            moment = max(moment, self.start_at - timedelta(microseconds=1))
        for _ in range(_MAX_SKIPPED):
            found = self._next(moment)
            if found is None or (self.end_at is not None and found > self.end_at):
                return None
            skipping = [calendar for calendar in self.skip if calendar.fits(found, self._zone)]
            if not skipping:
                return found
            until = max(calendar.fits_until(found, self._zone) for calendar in skipping)
            moment = max(found, until - timedelta(microseconds=1))
        return None

    def times_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the times after `after` up to `until`, at most 10,000."""
        moment: datetime | None = after
        for _ in range(_MAX_MISSED):
            moment = self.next_after(moment) if moment is not None else None
            if moment is None or moment > until:
                return
            yield moment

    def delay_of(self, due: datetime, name: str) -> timedelta:
        """Return by how much a start is late, less than the time to the next one.

        It is random, but always the same for the same time.
        """
        if self.jitter is None:
            return timedelta(0)
        following = self.next_after(due)
        most = self.jitter if following is None else min(self.jitter, following - due)
        return most * (crc32(f"{name} {due.isoformat()}".encode()) / 2**32)

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone_name)

    def _next(self, moment: datetime) -> datetime | None:
        local = moment.astimezone(self._zone)
        times = [next(CronSim(expression, local)) for expression in self.cron_expressions]
        times += [_next_multiple(interval, moment) for interval in self.intervals]
        of_calendars = (calendar.next_after(moment, self._zone) for calendar in self.calendars)
        times += [time for time in of_calendars if time is not None]
        return min((time.astimezone(UTC) for time in times), default=None)


def interval(every: timedelta, *, when_busy: WhenBusy = "skip") -> ScheduleSpec:
    """Return a schedule of one interval."""
    return ScheduleSpec(intervals=(ScheduleIntervalSpec(every=every),), when_busy=when_busy)


def cron(expression: str, *, time_zone: str = "UTC", when_busy: WhenBusy = "skip") -> ScheduleSpec:
    """Return a schedule of one cron expression."""
    return ScheduleSpec(cron_expressions=(expression,), time_zone_name=time_zone, when_busy=when_busy)


def _next_multiple(spec: ScheduleIntervalSpec, moment: datetime) -> datetime:
    epoch = datetime.fromtimestamp(0, UTC) + spec.offset
    return epoch + ((moment - epoch) // spec.every + 1) * spec.every
