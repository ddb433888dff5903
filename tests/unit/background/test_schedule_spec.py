"""When a schedule is due: calendars, what is skipped, start, end and jitter."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from app.background import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

OFFICE = ScheduleCalendarSpec(hour=(ScheduleRange(9, 17),), day_of_week=(ScheduleRange(1, 5),))
NIGHT = ScheduleCalendarSpec(
    second=(ScheduleRange(0, 59),), minute=(ScheduleRange(0, 59),), hour=(ScheduleRange(0, 5), ScheduleRange(22, 23))
)
LEAP_DAY = ScheduleCalendarSpec(day_of_month=(ScheduleRange(29),), month=(ScheduleRange(2),))
HALF_PAST_TWO = ScheduleCalendarSpec(hour=(ScheduleRange(2),), minute=(ScheduleRange(30),))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar(spec: ScheduleCalendarSpec, zone: str = "UTC") -> ScheduleSpec:
    return ScheduleSpec(calendars=(spec,), time_zone_name=zone)


@pytest.mark.parametrize(
    ("spec", "after", "due"),
    [
        (calendar(ScheduleCalendarSpec()), "2026-01-01T00:00", "2026-01-02T00:00"),
        (calendar(OFFICE), "2026-11-20T16:30", "2026-11-20T17:00"),  # a Friday
        (calendar(OFFICE), "2026-11-20T17:00", "2026-11-23T09:00"),
        (calendar(OFFICE, "Europe/Berlin"), "2026-11-20T16:30", "2026-11-23T08:00"),
        (calendar(ScheduleCalendarSpec(minute=(ScheduleRange(0, 59, 15),))), "2026-01-01T00:15", "2026-01-01T00:30"),
        (calendar(ScheduleCalendarSpec(day_of_week=(ScheduleRange(7),))), "2026-11-20T00:00", "2026-11-22T00:00"),
        (calendar(LEAP_DAY), "2026-01-01T00:00", "2028-02-29T00:00"),
        (calendar(ScheduleCalendarSpec(year=(ScheduleRange(2030),))), "2026-01-01T00:00", "2030-01-01T00:00"),
        (calendar(ScheduleCalendarSpec(year=(ScheduleRange(2020),))), "2026-01-01T00:00", None),
        # Clocks go from 2:00 to 3:00: half past two does not exist on that day.
        (calendar(HALF_PAST_TWO, "Europe/Berlin"), "2026-03-29T00:00", "2026-03-30T00:30"),
        # Clocks go from 3:00 to 2:00: half past two comes twice, and is due the first time.
        (calendar(HALF_PAST_TWO, "Europe/Berlin"), "2026-10-25T00:00", "2026-10-25T00:30"),
        (calendar(HALF_PAST_TWO, "Europe/Berlin"), "2026-10-25T00:30", "2026-10-26T01:30"),
        (ScheduleSpec(cron_expressions=("0 * * * *",), skip=(NIGHT,)), "2026-01-01T21:00", "2026-01-02T06:00"),
        (
            ScheduleSpec(intervals=(ScheduleIntervalSpec(timedelta(seconds=1)),), skip=(NIGHT,)),
            "2026-01-01T22:00",
            "2026-01-02T06:00",
        ),
        (
            ScheduleSpec(cron_expressions=("0 0 * * *",), start_at=moment("2027-01-01T00:00")),
            "2026-01-01T00:00",
            "2027-01-01T00:00",
        ),
        (
            ScheduleSpec(cron_expressions=("0 0 * * *",), end_at=datetime(2026, 1, 2)),
            "2026-01-01T00:00",
            "2026-01-02T00:00",
        ),
        (
            ScheduleSpec(cron_expressions=("0 0 * * *",), end_at=moment("2026-01-02T00:00")),
            "2026-01-02T00:00",
            None,
        ),
    ],
)
def test_next_time(spec: ScheduleSpec, after: str, due: str | None) -> None:
    """The next time is the first one that fits and is not skipped, in the schedule's zone; None after the last."""
    assert spec.next_after(moment(after)) == (moment(due) if due else None)


def test_jitter() -> None:
    """A start is late by up to the jitter, at random but always by the same, and never as late as the next."""
    every = ScheduleIntervalSpec(timedelta(minutes=10))
    spec = ScheduleSpec(intervals=(every,), jitter=timedelta(hours=1))
    delays = {spec.delay_of(moment("2026-01-01T00:00") + n * every.every, "s") for n in range(50)}
    assert len(delays) == 50
    assert max(delays) < timedelta(minutes=10)
    assert spec.delay_of(moment("2026-01-01T00:00"), "s") == spec.delay_of(moment("2026-01-01T00:00"), "s")
    assert ScheduleSpec(intervals=(every,)).delay_of(moment("2026-01-01T00:00"), "s") == timedelta(0)


@pytest.mark.parametrize(
    ("hour", "message"),
    [((ScheduleRange(9, 24),), "hour has 9 to 24: it goes from 0 to 23"), ((), "hour is empty")],
)
def test_wrong_calendars(hour: tuple[ScheduleRange, ...], message: str) -> None:
    """A calendar that can never fit is refused with the reason."""
    with pytest.raises(ValidationError, match=message):
        ScheduleCalendarSpec(hour=hour)


def test_stored_schedule_of_the_version_before() -> None:
    """A spec without what came later is stored as the version before did, and what that stored is read."""
    spec = ScheduleSpec(cron_expressions=("0 9 * * *",))
    stored = '{"intervals":[],"cron_expressions":["0 9 * * *"],"time_zone_name":"UTC","when_busy":"skip"}'
    assert spec.model_dump_json() == stored
    assert ScheduleSpec.model_validate_json(stored) == spec
    full = ScheduleSpec(calendars=(OFFICE,), skip=(NIGHT,), jitter=timedelta(seconds=3), end_at=moment("2030-01-01"))
    assert ScheduleSpec.model_validate_json(full.model_dump_json()) == full
