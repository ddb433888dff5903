"""What is refused, and in which words: names, failures of others, runs that stand still; and values of before."""

import pytest
from pydantic import TypeAdapter, ValidationError
from restate import TerminalError

from app.background.declare.names import AgentId, AgentName
from app.background.engine.standstill import CHANGED_CLASS, WAYS_OUT_OF_CHANGE, explain
from app.background.failure import MAX_TEXT, refusal_of, status_of, text_of
from app.background.mailbox.control import Record
from app.background.protocol import RunStart
from app.errors import Conflict, NotFound, UsageError


class SilentError(Exception):
    """An exception of a library with a bug of its own."""

    status = 404

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("name", ["../health", "A?x=1", "A/run", "A%2F", "1A", "A" * 101, "", "Ä", "A\n", "a b"])
def test_names_of_services(name: str) -> None:
    """What could mean something else in a URL is no name, and the sentence fits on a line."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(AgentName).validate_python(name)
    said = refused.value.errors()[0]["msg"]
    assert "is no name: use a letter" in said
    assert len(said) < 250
    assert said.isprintable()


@pytest.mark.parametrize("text", ["a/b ?c=1&d#e%41", "ü 你好", "👩‍💻", "x" * 200])
def test_ids(text: str) -> None:
    """An id is any text that a log can show."""
    assert TypeAdapter(AgentId).validate_python(text) == text


def test_texts_of_failures() -> None:
    """Every exception becomes a text that can be stored, whatever it holds, and only ours choose their status."""
    assert (text_of(NotFound("no such thing")), status_of(NotFound())) == ("no such thing", 404)
    assert (text_of(ValueError("half \ud83d")), status_of(SilentError())) == ("ValueError: half \ufffd", 500)
    assert text_of(SilentError()) == "SilentError (it cannot say what it is)"
    assert len(text_of(ValueError("x" * 10_000_000))) < MAX_TEXT + 50


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (400, UsageError), (413, UsageError)])
def test_refusals_of_a_mailbox(status: int, kind: type[UsageError]) -> None:
    """Agent code gets what a mailbox refused as an error of ours, with the same sentence."""
    error = refusal_of(TerminalError("no", status))
    assert (type(error), error.message) == (kind, "no")


@pytest.mark.parametrize(
    ("row", "why", "for_good"),
    [
        ({"status": "suspended", "last_failure": None}, None, None),
        ({"status": "running", "last_failure": "[500 Internal] no"}, None, None),
        ({}, None, None),
        (
            {
                "status": "backing-off",
                "last_failure": f"[500 Internal] Agent 'a' {CHANGED_CLASS} A. {WAYS_OUT_OF_CHANGE}",
            },
            f"Agent 'a' {CHANGED_CLASS} A.",
            True,
        ),
        (
            {"status": "backing-off", "last_failure": "[570] (!)", "last_failure_error_code": "RT0016"},
            "The code that the run uses has changed, and its journal does not fit it any more: (!)",
            True,
        ),
        ({"status": "backing-off", "last_failure": "connection refused"}, "connection refused", False),
        ({"status": "paused", "last_failure": "no"}, "The run was paused: no", True),
    ],
)
def test_standstill(row: dict[str, str], why: str | None, for_good: bool | None) -> None:
    """Restate's words become why a run stands still, and whether time alone heals it."""
    found = explain(row)
    assert (found and found.why, found and found.for_good) == (why, for_good)


def test_values_of_the_version_before() -> None:
    """Records and inputs of runs that version 0.1 has stored are read; such a run waits for its handlers as it did."""
    record = Record.model_validate_json('{"agent_name":"A","kind":"agent","task_queue":"restack","last_seq":7}')
    assert record.queries == 0
    start = RunStart.model_validate_json(
        '{"agent_id":"a","agent_name":"A","kind":"agent","run_number":1,"task_queue":"restack"}'
    )
    assert not start.limits_handlers
