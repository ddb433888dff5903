"""Calendars against a search of every minute."""

import random
from datetime import timedelta
from zoneinfo import ZoneInfo

from app.background import ScheduleCalendarSpec, ScheduleRange
from tests.unit.background.test_schedule_spec import moment


def test_calendar_finds_what_a_search_of_every_minute_finds() -> None:
    """Random calendars give, over clock changes too, the minutes that fit, each once."""
    dice = random.Random(7)
    zone = ZoneInfo("Europe/Berlin")
    for _ in range(20):
        hours = tuple(ScheduleRange(dice.randrange(24)) for _ in range(3))
        spec = ScheduleCalendarSpec(hour=hours, minute=(ScheduleRange(dice.randrange(60)),))
        begin = moment(dice.choice(["2026-03-28T00:00", "2026-10-24T00:00", "2026-06-01T00:00"]))
        found, at = [], begin
        while (at := spec.next_after(at, zone) or begin + timedelta(9)) <= begin + timedelta(days=3):
            found.append(at)
        minutes = [begin + timedelta(minutes=n) for n in range(1, 3 * 24 * 60 + 1)]
        fitting = [minute for minute in minutes if spec.fits(minute, zone) and not minute.astimezone(zone).fold]
        assert found == fitting
