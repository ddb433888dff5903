"""Times of a calendar: fields of ranges, which all must fit, in a time zone. Pure.

A local time that the clock skips does not come. One that comes twice comes once, the first time.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from app.background.published.positional import Positional

_FIELDS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_month": (1, 31),
    "month": (1, 12),
    "year": (1970, 9999),
    "day_of_week": (0, 7),  # Sunday is 0, and 7
}
_LOOK_AHEAD_DAYS = 366 * 9  # 29 February comes after at most eight years


class ScheduleRange(Positional):
    """`start` to `end`, both included, in steps. Without an end, only the start."""

    start: int
    end: int = 0
    step: Annotated[int, Field(ge=0)] = 0

    if TYPE_CHECKING:

        def __init__(self, start: int, end: int = 0, step: int = 0) -> None: ...

    def values(self) -> range:
        """Return the numbers of the range."""
        return range(self.start, max(self.start, self.end) + 1, self.step or 1)


Ranges = tuple[ScheduleRange, ...]


class ScheduleCalendarSpec(Positional):
    """The times of which all fields fit. Without `year` all years do. Midnight of each day, if nothing is said."""

    second: Ranges = (ScheduleRange(0),)
    minute: Ranges = (ScheduleRange(0),)
    hour: Ranges = (ScheduleRange(0),)
    day_of_month: Ranges = (ScheduleRange(1, 31),)
    month: Ranges = (ScheduleRange(1, 12),)
    year: Ranges = ()
    day_of_week: Ranges = (ScheduleRange(0, 6),)
    comment: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, (least, most) in _FIELDS.items():
            for given in getattr(self, name):
                if not least <= given.start <= max(given.start, given.end) <= most:
                    raise ValueError(f"{name} has {given.start} to {given.end}: it goes from {least} to {most}")
            if name != "year" and not getattr(self, name):
                raise ValueError(f"{name} is empty: leave it out, or give it a ScheduleRange")
        return self

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first time after `moment`, in UTC, None if there is none in the next nine years."""
        today = moment.astimezone(zone).date()
        for day in range(_LOOK_AHEAD_DAYS):
            found = self._first_of_day(today + timedelta(days=day), moment, zone)
            if found is not None:
                return found
        return None

    def fits(self, moment: datetime, zone: ZoneInfo) -> bool:
        """Return whether `moment` is one of the times. Parts of seconds do not count."""
        local = moment.astimezone(zone)
        clock = ((self.hour, local.hour), (self.minute, local.minute), (self.second, local.second))
        return self._fits_day(local.date()) and all(value in _values(ranges) for ranges, value in clock)

    def fits_until(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Return up to when all times fit, of a `moment` that does: the end of its second, minute, hour or day."""
        local = moment.astimezone(zone).replace(microsecond=0)
        if len(_values(self.second)) < 60:
            return (local + timedelta(seconds=1)).astimezone(UTC)
        if len(_values(self.minute)) < 60:
            return (local.replace(second=0) + timedelta(minutes=1)).astimezone(UTC)
        if len(_values(self.hour)) < 24:
            return (local.replace(minute=0, second=0) + timedelta(hours=1)).astimezone(UTC)
        midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), zone)
        return midnight.astimezone(UTC)

    def _first_of_day(self, day: date, moment: datetime, zone: ZoneInfo) -> datetime | None:
        if not self._fits_day(day):
            return None
        for hour in _values(self.hour):
            if datetime(day.year, day.month, day.day, hour, 59, 59, 999999, zone, fold=1) <= moment:
                continue
            for local in self._of_hour(day, hour, zone):
                found = local.astimezone(UTC)
                if found > moment and found.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    return found
        return None

    def _of_hour(self, day: date, hour: int, zone: ZoneInfo) -> Iterator[datetime]:
        for minute in _values(self.minute):
            for second in _values(self.second):
                yield datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)

    def _fits_day(self, day: date) -> bool:
        weekdays = {value % 7 for value in _values(self.day_of_week)}
        return (
            day.day in _values(self.day_of_month)
            and day.month in _values(self.month)
            and day.isoweekday() % 7 in weekdays
            and (not self.year or _is_in(day.year, _values(self.year)))
        )


def _values(ranges: Ranges) -> list[int]:
    return sorted({value for given in ranges for value in given.values()})


def _is_in(value: int, values: list[int]) -> bool:
    place = bisect_left(values, value)
    return place < len(values) and values[place] == value
