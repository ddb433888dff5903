"""Agents and their events on a real server: order, answers, states, and what goes wrong with each."""

import asyncio
from datetime import timedelta

import pytest

from app.background import AgentEvent, AgentFailed, interval
from app.errors import Conflict, NotFound, UsageError
from tests.integration.background.conftest import Agents


async def test_an_agent_runs_to_its_result(agents: Agents) -> None:
    """Events change the state that `run` waits for, and its result goes to whoever asks, now or later."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await client.schedule_agent(agent_name="Counter", agent_id=agent_id)
    asking = asyncio.create_task(client.get_agent_result(agent_id))
    for n in range(5):
        await client.send_agent_event("add", agent_id, event_input=n)
    await client.send_agent_event("end", agent_id, run_id=run_id)

    assert await asking == {"total": 10, "order": [0, 1, 2, 3, 4]}
    assert await client.get_agent_result(agent_id, run_id) == {"total": 10, "order": [0, 1, 2, 3, 4]}
    assert agents.log().count(f"Counting starts for {agent_id}") == 1


async def test_a_handler_answers_its_sender(agents: Agents) -> None:
    """What an event handler returns goes to the sender who waits; the number of the event to one who does not."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)

    assert (await client.send_agent_event("add", agent_id, event_input=2))["seq"] == 1
    assert await client.send_agent_event("add", agent_id, event_input=3, wait_for_completion=True) == 5
    assert await client.send_agent_event("end", agent_id, wait_for_completion=True) is None


async def test_handlers_interleave(agents: Agents) -> None:
    """A handler that waits for a step lets the handlers of later events run."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    slow = asyncio.create_task(client.send_agent_event("add_later", agent_id, event_input=10, wait_for_completion=True))
    await agents.did("start 10")
    assert await client.send_agent_event("add", agent_id, event_input=1, wait_for_completion=True) in (1, 11)

    assert await slow in (10, 11)
    assert await client.get_agent_state(agent_id, "total") == 11


async def test_state_sees_earlier_events(agents: Agents) -> None:
    """A query sees every event that was accepted before it, and may have the name of a field."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    for n in range(10):
        await client.send_agent_event("add", agent_id, event_input=n)

    assert await client.get_agent_state(agent_id, "seen") == list(range(10))
    assert await client.get_agent_state(agent_id, "total") == 45


async def test_start_or_send(agents: Agents) -> None:
    """With an event, scheduling starts the agent once and sends the event each time."""
    client, agent_id = agents.client, agents.agent_id
    first = await client.schedule_agent("Counter", agent_id, event=AgentEvent(name="add", input=1))
    second = await client.schedule_agent("Counter", agent_id, event=AgentEvent(name="add", input=2))

    assert first == second
    assert await client.get_agent_state(agent_id, "seen") == [1, 2]


async def test_events_survive_a_crash(agents: Agents) -> None:
    """kill -9 between events changes nothing; what was handled is not handled again."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    for n in range(3):
        await client.send_agent_event("add", agent_id, event_input=n, wait_for_completion=True)
    await agents.crash()

    assert await client.send_agent_event("add", agent_id, event_input=3, wait_for_completion=True) == 6
    assert await client.get_agent_state(agent_id, "seen") == [0, 1, 2, 3]


# What goes wrong


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../health", 400),
        ("TaskProcessor?x=1", 400),
        ("Counter/run", 400),
        ("%2e%2e", 400),
        ("A" * 101, 400),
        ("", 400),
        ("ChatService", 404),
        ("BackgroundAgents", 404),
        ("BackgroundAgent", 404),
        ("restack.functions", 404),
        ("Nobody", 404),
    ],
)
async def test_what_is_no_agent_cannot_be_started(agents: Agents, name: str, status: int) -> None:
    """A name that no agent has is refused within seconds, now and for a schedule, and its id stays free."""
    client, agent_id = agents.client, agents.agent_id
    async with asyncio.timeout(10):
        with pytest.raises(UsageError) as refused:
            await client.schedule_agent(name, agent_id)
        assert refused.value.status == status
        with pytest.raises(UsageError) as refused:
            await client.schedule_agent(name, agent_id, schedule=interval(timedelta(seconds=1)))
        assert refused.value.status == status
        with pytest.raises(NotFound):
            await client.describe_schedule(agent_id)
        await client.schedule_agent("Counter", agent_id)
        with pytest.raises(NotFound):
            await client.schedule_agent("Nobody", f"{agent_id}-other")


@pytest.mark.parametrize("agent_id", ["", "a\nb", "\x1b[31m", "\u202ebackwards", "a" * 201])
async def test_ids_that_no_log_can_show(agents: Agents, agent_id: str) -> None:
    """An id is text of limited length without control characters."""
    with pytest.raises(UsageError, match="cannot be used: use 1 to 200 characters, no control characters"):
        await agents.client.schedule_agent("Counter", agent_id)


async def test_any_readable_id(agents: Agents) -> None:
    """An id may hold what is special in a URL, and any script."""
    agent_id = f"a/b ?c=1&d#e%41 ü 你好 👩‍💻 {agents.agent_id}"
    await agents.client.schedule_agent("Counter", agent_id)
    assert await agents.client.send_agent_event("add", agent_id, event_input=2, wait_for_completion=True) == 2
    assert await agents.client.get_agent_state(agent_id, "total") == 2


async def test_size_limit(agents: Agents) -> None:
    """What would be stored, sent and replayed is limited in size, wherever it comes from."""
    client, agent_id = agents.client, agents.agent_id
    big = "x" * 100_000
    sentence = "has 100002 characters as JSON, the limit is 100000"
    await client.schedule_agent("Counter", agent_id)
    for request in (
        client.send_agent_event("add", agent_id, event_input=big),
        client.get_agent_state(agent_id, "at_least", state_input=big),
        client.schedule_agent("Cleaner", f"{agent_id}-big", big),
        client.schedule_agent("Counter", f"{agent_id}-big", event=AgentEvent(name="add", input=big)),
    ):
        with pytest.raises((UsageError, AgentFailed), match=sentence):
            await request
    assert await client.send_agent_event("fail", agent_id, event_input="x" * 99_998) is not None
    assert (await client.describe_agent(agent_id)).events == 1
    assert max(map(len, agents.process.log().splitlines())) < 2000


async def test_foreign_status(agents: Agents) -> None:
    """The `status` of an exception of another library does not become that of the answer."""
    await agents.client.schedule_agent("Counter", agents.agent_id)
    with pytest.raises(AgentFailed, match="TeapotError: I am one") as failed:
        await agents.client.send_agent_event(
            "refuse", agents.agent_id, event_input="I am one", wait_for_completion=True
        )
    assert failed.value.status == 500


async def test_lone_surrogates(agents: Agents) -> None:
    """Text that no encoding can carry does not stop an agent: it is replaced in errors, answers and results."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Surrogate", agent_id)
    with pytest.raises(AgentFailed, match="ValueError: half \N{REPLACEMENT CHARACTER}"):
        await client.send_agent_event("fail", agent_id, wait_for_completion=True)
    assert await client.send_agent_event("answer", agent_id, wait_for_completion=True) == ["half \ufffd", "😀"]
    assert await client.get_agent_state(agent_id, "text") == "half \ufffd"
    await client.send_agent_event("end", agent_id)
    assert await client.get_agent_result(agent_id) == {"text": "half \ufffd"}


async def test_unknown_names(agents: Agents) -> None:
    """An agent, an event or a state that is not there is a 404 that names what is there."""
    client, agent_id = agents.client, agents.agent_id
    with pytest.raises(NotFound, match=r"There is no agent 'Nobody' \(served here: .*Counter.*\): pass it to"):
        await client.schedule_agent("Nobody", agent_id)
    with pytest.raises(NotFound, match="There is no agent with agent_id"):
        await client.send_agent_event("add", agent_id)
    await client.schedule_agent("Counter", agent_id)
    with pytest.raises(NotFound, match="Counter has no event 'subtract'; it has: add, add_later, end, fail"):
        await client.send_agent_event("subtract", agent_id)
    with pytest.raises(NotFound, match=r"Counter has no state 'mood'; it has: at_least, .*seen, total"):
        await client.get_agent_state(agent_id, "mood")
    with pytest.raises(NotFound, match="Run 'inv_old' is not the current run"):
        await client.send_agent_event("add", agent_id, run_id="inv_old", event_input=1)


async def test_duplicate_agent_id(agents: Agents) -> None:
    """An id that is running is a conflict; once its agent has ended it may be used again."""
    client, agent_id = agents.client, agents.agent_id
    first = await client.schedule_agent("Counter", agent_id)
    with pytest.raises(Conflict, match="belongs to a Counter that is running: choose another id"):
        await client.schedule_agent("Counter", agent_id)
    await client.send_agent_event("end", agent_id)
    await client.get_agent_result(agent_id)

    assert await client.schedule_agent("Counter", agent_id) != first


async def test_event_to_an_ended_agent(agents: Agents) -> None:
    """An agent that has ended takes no event and answers no query."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    await client.send_agent_event("end", agent_id)
    await client.get_agent_result(agent_id)
    for request in (
        client.send_agent_event("add", agent_id, event_input=1),
        client.get_agent_state(agent_id, "total"),
        client.cancel_agent(agent_id),
        client.terminate_agent(agent_id),
    ):
        with pytest.raises(Conflict, match=r"has ended \(completed\): schedule it again"):
            await request


async def test_input_that_does_not_fit(agents: Agents) -> None:
    """Input that does not fit the type hints is refused with a sentence before anything happens."""
    client, agent_id = agents.client, agents.agent_id
    with pytest.raises(UsageError, match=r"Counter.run takes no input, got '5': leave it out"):
        await client.schedule_agent("Counter", agent_id, 5)
    with pytest.raises(UsageError, match=r"Bad input for Stepper.run. task: Input should be a valid dictionary, got"):
        await client.schedule_agent("Stepper", agent_id, ["no dict"])
    await client.schedule_agent("Counter", agent_id)
    with pytest.raises(UsageError, match=r"Bad input for event 'add' of Counter. n: .* got 'many'"):
        await client.send_agent_event("add", agent_id, event_input="many")
    assert await client.get_agent_state(agent_id, "seen") == []


async def test_a_failing_handler(agents: Agents) -> None:
    """The sender gets the error of the handler, and the agent goes on."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    with pytest.raises(AgentFailed, match="ValueError: no such number"):
        await client.send_agent_event("fail", agent_id, event_input="no such number", wait_for_completion=True)

    assert await client.send_agent_event("add", agent_id, event_input=1, wait_for_completion=True) == 1


async def test_a_failing_run(agents: Agents) -> None:
    """An exception in `run` ends the agent as failed, with its text for everybody who asks."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Broken", agent_id)
    await client.send_agent_event("fail", agent_id)
    with pytest.raises(AgentFailed, match="failed: RuntimeError: run is broken"):
        await client.get_agent_result(agent_id)
    described = await client.describe_agent(agent_id)
    assert (described.status, described.failure) == ("failed", "RuntimeError: run is broken")


async def test_an_agent_that_cannot_be_made(agents: Agents) -> None:
    """An exception in `__init__` is the end of the agent too."""
    with pytest.raises(AgentFailed, match="RuntimeError: never born"):
        await agents.run("BrokenAtBirth")


async def test_events_at_the_end_are_handled(agents: Agents) -> None:
    """Every event that was accepted before the end is handled, and its sender answered."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Slow", agent_id)
    await client.send_agent_event("stop", agent_id)
    answers = await asyncio.gather(
        *(client.send_agent_event("work", agent_id, event_input=f"w{n}", wait_for_completion=True) for n in range(5)),
        return_exceptions=True,
    )
    for n, answer in enumerate(answers):
        assert answer == f"w{n}" or isinstance(answer, Conflict), answer
    assert await agents.ended(agent_id) == "completed"
