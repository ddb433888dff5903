"""What runs send is the same byte for byte as in the version before, where the run began in that version."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.background.protocol import FunctionCall, RunStart, StartRequest
from app.background.run import children
from app.background.run import step as stepping
from app.background.run.info import AgentInfo

CALL = (
    '{"input":1,"agent_id":"a","started":null,"start_to_close_s":300.0,"heartbeat_s":null,"max_attempts":5,'
    '"initial_interval_s":1.0,"backoff_coefficient":2.0,"max_interval_s":null,"non_retryable_error_types":[]}'
)
START = (
    '{"agent_name":"A","kind":"agent","input":null,"task_queue":"restack","event":null,"parent_id":"p",'
    '"parent_close_policy":"terminate","reply":"r","waiter":null}'
)
RUN = '{"agent_id":"a","agent_name":"A","kind":"agent","run_number":1,"task_queue":"restack","input":null'


class FakeRun:
    """The run that the code is in; `served` and the rest are not asked for."""

    def __init__(self, started_at: datetime | None) -> None:
        self.info = AgentInfo(
            agent_id="a",
            run_id="inv_1",
            agent_name="A",
            kind="agent",
            run_number=1,
            task_queue="restack",
            parent_id=None,
            input=None,
            started_at=started_at,
        )


def sent_by(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the call of a function and the start of a child as a run sends them."""
    for module in (stepping, children):
        monkeypatch.setattr(module, "current_run", lambda: run)
    caller: dict[str, Any] = stepping._caller(timedelta(minutes=1))
    call = FunctionCall(
        input=1,
        agent_id="a",
        **caller,
        started=None,
        start_to_close_s=300.0,
        heartbeat_s=None,
        max_attempts=5,
        initial_interval_s=1.0,
        backoff_coefficient=2.0,
        max_interval_s=None,
        non_retryable_error_types=(),
    )
    start = StartRequest(agent_name="A", parent_id="p", reply="r", parent_run_id=children._own_run_id())
    return call.model_dump_json(), start.model_dump_json()


def test_run_of_the_version_before_sends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not know when it began sends the bytes that are in its journal."""
    assert sent_by(FakeRun(None), monkeypatch) == (CALL, START)


def test_run_sends_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other run sends its id and name along, behind what there was."""
    call, start = sent_by(FakeRun(datetime.now(UTC)), monkeypatch)
    assert call == CALL.removesuffix("}") + ',"run_id":"inv_1","agent_name":"A","schedule_to_close_s":60.0}'
    assert start == START.removesuffix("}") + ',"parent_run_id":"inv_1"}'


def test_start_of_a_run() -> None:
    """A run that is the first of an agent without a parent is started as it was."""
    run = RunStart(agent_id="a", agent_name="A", kind="agent", run_number=1, task_queue="restack")
    assert run.model_dump_json().startswith(RUN)
    assert "run_id" not in run.model_dump_json()
