"""Code written for the published library does what it did there, on a real server: its imports are renamed, no more."""

import itertools
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.background import AgentEvent, AgentFailed, Restack
from app.background.restack import (
    CloudConnectionOptions,
    ScheduleCalendarSpec,
    ScheduleRange,
    ScheduleSpec,
    WorkflowUpdateStage,
)
from app.background.schedules.protocol import Schedule
from app.errors import Conflict, NotFound, UsageError
from app.hosting.stack import ROOT
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
ANSWER = [*HELLO["messages"], {"role": "assistant", "content": "HELLO"}]
EVERY_SECOND = ScheduleCalendarSpec(
    second=(ScheduleRange(0, 59),), minute=(ScheduleRange(0, 59),), hour=(ScheduleRange(0, 23),)
)

_ids = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(own_server: RestateServer, tmp_path_factory: Any) -> AsyncIterator[Process]:
    """The service, started as it starts itself."""
    folder = tmp_path_factory.mktemp("published")
    port = free_port()
    process = Process(
        [sys.executable, "-m", "tests.integration.background.published", str(port)],
        env=bare_environment(
            ENGINE_ID="my-engine",
            PORT=str(port),
            PYTHONUNBUFFERED="1",
            **own_server.settings,
        ),
        cwd=ROOT,
        log=folder / "service.log",
    )
    try:
        process.start()
        await eventually(lambda: is_registered(own_server), timeout_s=20)
        yield process
    finally:
        process.kill9()


async def is_registered(server: RestateServer) -> bool:
    rows = await server.query("SELECT name FROM sys_service")
    return {"AgentChat", "ParentWorkflow", "BackgroundAgents"} <= {row["name"] for row in rows}


@pytest_asyncio.fixture
async def client(own_server: RestateServer, service: Process) -> AsyncIterator[Restack]:  # noqa: ARG001 - must run
    async with Restack(CloudConnectionOptions("local", ""), ingress_url=own_server.ingress_url) as client:
        yield client


@pytest.fixture
def agent_id() -> str:
    return f"published{next(_ids)}"


async def test_chat(client: Restack, agent_id: str) -> None:
    """A chat agent is started with an event and no input, which gives None to `run`; it answers, and ends when told."""
    event = AgentEvent("messages", HELLO)
    run_id = await client.schedule_agent(agent_name="AgentChat", agent_id=agent_id, event=event)
    end: Any = {"end": True}
    assert await client.get_agent_state(agent_id=agent_id, state_name="count") >= 1
    assert await client.send_agent_event("end", agent_id, run_id, end, wait_for_completion=True) == end
    assert await client.get_agent_result(agent_id=agent_id, run_id=run_id) is None


async def test_handle_of_a_client(client: Restack, agent_id: str) -> None:
    """A handle sends events, waits for their answers, queries, describes, and waits for the end."""
    await client.connect()
    await client.schedule_agent(agent_name="AgentChat", agent_id=agent_id, agent_input={"topic": "tea"})
    handle = await client.get_agent_handle(agent_id)
    assert await handle.execute_update("messages", HELLO) == ANSWER
    started = await handle.start_update("messages", args=[HELLO], wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert await started.result() == [*ANSWER, *ANSWER]
    assert await handle.get_update_handle(started.id).result() == [*ANSWER, *ANSWER]
    assert await handle.query("count") == 4
    described = await handle.describe()
    assert (described.id, described.workflow_type, described.status) == (agent_id, "AgentChat", "running")
    await handle.signal("end", {"end": True})
    assert await handle.result() == {"topic": "tea"}


async def test_handle_says_what_is_wrong(client: Restack, agent_id: str) -> None:
    """An agent that is not there, an event that it has not, and one whose handler fails, are errors of the handle."""
    nobody = await client.get_workflow_handle(f"{agent_id}-nobody")
    with pytest.raises(NotFound, match="schedule it first"):
        await nobody.result()
    await client.schedule_agent("AgentChat", agent_id)
    handle = await client.get_agent_handle(agent_id)
    refused = await handle.start_update("dance", wait_for_stage=WorkflowUpdateStage.ADMITTED)
    with pytest.raises(NotFound, match="AgentChat has no event 'dance'"):
        await refused.result()
    boom = {"messages": [{"role": "user", "content": "boom"}]}
    with pytest.raises(AgentFailed, match=r"Error during reply: .*the model is away"):
        await handle.execute_update("messages", boom)
    with pytest.raises(AgentFailed):  # it takes an input, and is sent none: None, which it cannot use
        await handle.execute_update("messages")
    with pytest.raises(UsageError, match="one input, got 2"):
        await handle.execute_update("messages", args=[1, 2])
    await handle.terminate(reason="enough")
    with pytest.raises(Conflict):
        await handle.signal("end", {"end": True})


async def test_cancel_by_a_handle(client: Restack, agent_id: str) -> None:
    """A handle cancels."""
    await client.schedule_agent("AgentChat", agent_id)
    handle = await client.get_agent_handle(agent_id)
    await handle.cancel()
    with pytest.raises(Conflict, match="cancelled"):
        await handle.result()


async def test_infos(client: Restack, agent_id: str) -> None:
    """A child knows its parent and its parent's run; a function knows the run that calls it, and its attempt."""
    run_id = await client.schedule_workflow(workflow_name="ParentWorkflow", workflow_id=agent_id)
    result = await client.get_workflow_result(agent_id, run_id)
    child = result["child"]
    child_id = f"{agent_id}-child-execute"
    assert result["run_id"] == run_id
    assert (child["name"], child["id"], child["type"]) == ("world", child_id, "ChildWorkflow")
    assert child["parent"] == [agent_id, run_id]
    assert child["seen"] == {
        "workflow_id": child_id,
        "workflow_run_id": child["run_id"],
        "workflow_type": "ChildWorkflow",
        "activity_type": "who",
        "attempt": 2,
        "task_queue": "restack",
        "timeout_s": 20.0,
    }


async def test_agents_tell_each_other(client: Restack, agent_id: str) -> None:
    """An agent reaches another by its handle, and by a function with a client; it hears what cannot be sent."""
    other_id = f"{agent_id}-other"
    await client.schedule_agent("AgentChat", other_id, {"topic": "tea"})
    await client.schedule_agent("Caller", agent_id, other_id)
    told = await client.get_agent_result(agent_id)
    assert any(what in told[0] for what in ("has no event 'dance'", "is ending", "has ended"))
    assert f"There is no agent with agent_id '{agent_id}-no'" in told[1]
    assert await client.get_agent_result(other_id) == {"topic": "tea"}


async def test_child_that_takes_too_long(client: Restack, agent_id: str) -> None:
    """`execution_timeout` ends a child: who waits for it hears so, and one that nobody waits for ends too."""
    await client.schedule_workflow("Impatient", agent_id, "execute")
    said = await client.get_workflow_result(agent_id)
    assert "no result within its execution_timeout of 0.3 s" in said
    await client.schedule_workflow("Impatient", f"{agent_id}b", "start")
    for sleeper in (f"{agent_id}-sleeper", await client.get_workflow_result(f"{agent_id}b")):

        async def ended(sleeper: str = sleeper) -> bool:
            return (await client.describe_agent(sleeper)).status == "terminated"

        await eventually(ended)


async def test_calendar(client: Restack, agent_id: str) -> None:
    """A calendar starts workflows until its end; then nothing is due any more."""
    spec = ScheduleSpec(calendars=[EVERY_SECOND], jitter=None)  # a list, as published code has
    await client.schedule_workflow(
        workflow_name="ChildWorkflow", workflow_id=agent_id, workflow_input={"name": "again"}, schedule=spec
    )

    async def started() -> Schedule | None:
        schedule = await client.describe_schedule(agent_id)
        return schedule if schedule.last_agent_id else None

    schedule = await eventually(started)
    assert schedule is not None
    assert (await client.get_workflow_result(schedule.last_agent_id or ""))["name"] == "again"
    await client.delete_schedule(agent_id)
    over = spec.model_copy(update={"end_at": schedule.created_at})
    await client.schedule_workflow("ChildWorkflow", agent_id, {"name": "never"}, schedule=over)
    assert (await client.describe_schedule(agent_id)).next_at is None
    await client.delete_schedule(agent_id)
    with pytest.raises(UsageError, match=r"Sleeper.run"):
        await client.schedule_workflow("Sleeper", agent_id, schedule=spec)


async def test_what_is_ignored_is_in_the_log(service: Process, client: Restack) -> None:  # noqa: ARG001 - registered
    """The service says, once, which of its options mean nothing here."""
    said = [line for line in service.log().splitlines() if "is accepted and changes nothing here" in line]
    assert [line.split(" is accepted")[0].split(":")[-1].split(" ")[-1] for line in said] == [
        "CloudConnectionOptions(engine_id=…)",
        "ServiceOptions(endpoint_group=…)",
    ]
