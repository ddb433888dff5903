"""Declaring agents, functions, retries and schedules: what is accepted, and what is refused at import time."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, ValidationError

from app.background import RetryPolicy, ScheduleSpec, agent, cron, function, interval
from app.background.declare.definition import definition_of, definition_of_function
from app.background.declare.fingerprint import fingerprint
from app.errors import DefinitionError, UsageError


def make(source: str) -> type:
    """Return the class that `source` defines."""
    namespace: dict[str, object] = {"agent": agent}
    exec(source, namespace)  # noqa: S102 - our own
    (cls,) = [value for value in namespace.values() if isinstance(value, type)]
    return cls


def test_field_and_event_of_one_name() -> None:
    """A handler is found although a field of the instance has its name."""

    @agent.defn()
    class Twin:
        def __init__(self) -> None:
            self.end = False

        @agent.event  # type: ignore[no-redef]  # as in the reference
        async def end(self) -> None: ...

    instance = Twin()
    assert instance.end is False
    assert definition_of(Twin).events["end"].function is vars(Twin)["end"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("@agent.event\n    def e(self): ...", "make it an `async def`"),
        ("@agent.run\n    def r(self): ...", "make it an `async def`"),
        ("@agent.state\n    async def s(self): ...", "make it a plain `def`"),
        ("@agent.event\n    async def e(self, a, b): ...", "takes a, b: give it one input"),
        ("@agent.run\n    async def r(self): ...\n    @agent.run\n    async def q(self): ...", "keep one of them"),
    ],
)
def test_wrong_declarations(body: str, message: str) -> None:
    """A declaration that cannot work is refused at import time, with the cure."""
    with pytest.raises(DefinitionError, match=message):
        make(f"@agent.defn()\nclass A:\n    {body}")


def test_wrong_name() -> None:
    """A name that Restate cannot take is refused."""
    with pytest.raises(DefinitionError, match="'not a name' cannot name an agent"):
        agent.defn(name="not a name")(type("A", (), {}))


def test_class_that_is_no_agent() -> None:
    """A class without @agent.defn is refused where an agent is expected."""
    with pytest.raises(DefinitionError, match=r"put @agent.defn\(\) on a class"):
        definition_of(dict)


def one() -> type:
    class Same:
        async def run(self) -> None:
            return

    return Same


def same_with_words() -> type:
    class Same:
        """The same class."""

        async def run(self) -> None:
            """Do nothing."""
            return  # at all

    return Same


def another() -> type:
    class Same:
        async def run(self) -> int:
            return 1

    return Same


def test_fingerprint() -> None:
    """Comments and docstrings do not change the fingerprint of a class, code does; with and without its source."""
    assert fingerprint(one()) == fingerprint(same_with_words()) != fingerprint(another())
    made = [make(f"class A:\n    async def run(self): {body}") for body in ("pass", "pass", "return 1")]
    assert fingerprint(made[0]) == fingerprint(made[1]) != fingerprint(made[2])


class Mail(BaseModel):
    to: str


def test_input_is_checked_against_the_hint() -> None:
    """Input becomes what the hint says, or an error that names the field and the value."""

    def send(mail: Mail) -> None: ...

    operation = definition_of_function(send)
    assert operation.arguments({"to": "me"}) == (Mail(to="me"),)
    with pytest.raises(UsageError, match=r"Bad input for function 'send'. mail.to: .*got '5'"):
        operation.arguments({"to": 5})


def test_function_must_be_one() -> None:
    """Only functions can be steps."""
    with pytest.raises(DefinitionError, match="'send' is not a function: pass the function itself"):
        definition_of_function("send")  # type: ignore[arg-type]  # the mistake


def test_function_name() -> None:
    """A function is known by its own name, or by the one that it is given."""

    @function.defn(name="renamed")
    def original() -> None: ...

    assert definition_of_function(original).name == "renamed"


def test_retry_policy_takes_both_spellings() -> None:
    """The words of the reference and of the published library mean the same."""
    ours = RetryPolicy(max_attempts=3, max_interval=timedelta(seconds=9))
    theirs = RetryPolicy(maximum_attempts=3, maximum_interval=timedelta(seconds=9))
    assert repr(ours) == repr(theirs)
    assert repr(ours) == repr(RetryPolicy(timedelta(seconds=1), 2.0, timedelta(seconds=9), 3))
    assert (ours.maximum_attempts, ours.maximum_interval) == (3, timedelta(seconds=9))
    with pytest.raises(DefinitionError, match="must not be negative"):
        RetryPolicy(max_attempts=-1)


@pytest.mark.parametrize(
    ("spec", "after", "due"),
    [
        (interval(timedelta(minutes=10)), "2026-01-01T00:03:00Z", "2026-01-01T00:10:00Z"),
        (interval(timedelta(minutes=10)), "2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z"),
        (cron("0 9 * * *", time_zone="Europe/Berlin"), "2026-07-01T00:00:00Z", "2026-07-01T07:00:00Z"),
        # Clocks go from 2:00 to 3:00: half past two does not exist, so it runs right after the change.
        (cron("30 2 * * *", time_zone="Europe/Berlin"), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        # Clocks go from 3:00 to 2:00: half past two comes twice and runs once.
        (cron("30 2 * * *", time_zone="Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    ],
)
def test_next_time(spec: ScheduleSpec, after: str, due: str) -> None:
    """The next time is after the last one, in the time zone of the schedule, also when clocks change."""
    assert spec.next_after(datetime.fromisoformat(after)) == datetime.fromisoformat(due)


def test_times_between() -> None:
    """Times that were missed can be counted."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert len(list(interval(timedelta(hours=1)).times_between(begin, begin + timedelta(days=1)))) == 24


def test_wrong_schedules() -> None:
    """A schedule that makes no sense is refused with an example of one that does."""
    with pytest.raises(ValidationError, match="use one like '0 9"):
        cron("sometimes")
    with pytest.raises(ValidationError, match="use one like 'Europe/Berlin'"):
        cron("0 9 * * *", time_zone="Mars/Olympus")
    with pytest.raises(ValidationError, match="needs intervals or cron_expressions"):
        ScheduleSpec()
