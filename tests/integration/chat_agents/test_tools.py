"""Tools by which the LLM has background agents: what they do, whose agents they reach, and what they refuse."""

import json

import pytest

from tests.integration.chat_agents.conftest import Owner, asks
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, LLMRequest, Plan


async def test_start_send_ask_stop(owner: Owner) -> None:
    """The LLM starts an agent, sends it an event, asks for its state, and stops it; the status lists it meanwhile."""
    agent_id = await owner.starts()
    assert agent_id.startswith("Parrot-")
    assert await owner.agents() == [agent_id]
    assert json.loads((await owner.uses("ask_agent"))[1]) == [
        {"agent_id": agent_id, "agent_name": "Parrot", "turn_id": 1}
    ]
    sent = await owner.uses("send_agent_event", agent_id=agent_id, event="say", input={"text": "x", "times": 0})
    assert sent == ("ok", "Event 'say' was accepted as number 1")
    assert await owner.uses("ask_agent", agent_id=agent_id, state="told") == ("ok", "[]")
    described = json.loads((await owner.uses("ask_agent", agent_id=agent_id))[1])
    assert (described["status"], described["agent_name"]) == ("running", "Parrot")

    assert (await owner.uses("stop_agent", agent_id=agent_id))[0] == "ok"
    await eventually(lambda: _none(owner))
    outcome, content = await owner.uses("ask_agent", agent_id=agent_id)
    assert outcome == "failed"
    assert content == f"This chat has no background agent {agent_id!r}: it has ended, or another chat has started it"


async def test_an_agent_that_has_ended_is_erased_a_day_later(owner: Owner) -> None:
    """Its outcome can be looked at until then, and nothing but its own timer need remember it."""
    agent_id = await owner.starts()
    await owner.of_agent("send_agent_event", agent_id=agent_id, event_name="finish")
    await eventually(lambda: _none(owner))
    assert (await owner.of_agent("describe_agent", agent_id=agent_id))["status"] == "completed"
    query = f"SELECT status FROM sys_invocation WHERE target = 'BackgroundAgent/{agent_id}/purge'"  # noqa: S608 - ours
    assert [row["status"] for row in await owner.server.query(query)] == ["scheduled"]


async def _none(owner: Owner) -> bool:
    assert await owner.agents() == []
    return True


async def test_the_llm_is_told_which_agents_there_are(owner: Owner) -> None:
    """The description of `start_agent` names the allowed agents, what they take, their events and states."""
    await owner.say("hello")
    await owner.idle()
    tools = {tool["function"]["name"]: tool["function"] for tool in owner.requests[0].body["tools"]}
    assert {"start_agent", "send_agent_event", "ask_agent", "stop_agent"} < tools.keys()
    about = tools["start_agent"]["description"]
    assert "- Parrot: Says in its chat what it is told to." in about
    assert '"Named"' in about
    assert "events: finish, say" in about
    assert "states: told" in about


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            '{"agent": "Reminder", "input": {}}',
            "There is no agent 'Reminder' that you may start; there are: Parrot, No",
        ),
        ('{"agent": "Nobody"}', "There is no agent 'Nobody'"),
        ('{"agent": "Parrot", "input": {"nom": 1}}', "Bad input for Parrot.run. named.name: Field required"),
        ('{"agent": "Parrot", "input": 7}', "Bad input for Parrot.run"),
        ('{"agent": "\\u001b[2J"}', "Bad name or id."),
        ('{"agent": "../../ChatService/x/forget"}', "Bad name or id."),
        pytest.param('{"agent": "' + "P" * 15_000 + '"}', "Bad name or id.", id="a long name"),
        pytest.param('{"agent": "Parrot", "input": ' + "[" * 9000 + "]" * 9000 + "}", "Wrong arguments", id="deep"),
        ('{"agent": "Parrot", "input": {"name": "\\ud800"}}', "Wrong arguments"),
        ('{"agent": "Parrot", "more": 1}', "Wrong arguments for start_agent"),
        ('{"agent": ', "Wrong arguments for start_agent"),
    ],
)
async def test_what_cannot_be_started(owner: Owner, arguments: str, says: str) -> None:
    """An agent that is not allowed, not served, or that does not take the input, is a clear result; nothing starts."""
    outcome, content = await owner.uses_as("start_agent", arguments)
    assert outcome == "failed"
    assert content.startswith(says), content
    await eventually(lambda: _none(owner))
    assert await owner.records() == {}


async def test_huge_arguments(owner: Owner) -> None:
    """Arguments of 100 MB end the reply at its limit; nothing starts, and the chat goes on."""
    huge = '{"agent": "Parrot", "input": {"name": "' + "x" * 100 * 2**20 + '"}}'
    owner.script(asks(Call("start_agent", huge)), asks(Call("start_agent", huge)))
    await owner.say("start")
    lines = await owner.idle(timeout_s=60)
    assert lines[-1][0] == "system"
    assert await owner.agents() == []
    await owner.say("next")
    assert (await owner.idle())[-1][2] == "completed"


async def test_only_its_chat_reaches_an_agent(owner: Owner) -> None:
    """Another chat that names an agent, as an injected prompt would, is refused: event, state and stop."""
    agent_id = await owner.starts()
    thief = Owner(owner.server, owner._llm, owner._client, f"{owner.key}-thief", owner.service)
    for tool, more in (
        ("send_agent_event", {"event": "finish"}),
        ("ask_agent", {}),
        ("ask_agent", {"state": "told"}),
        ("stop_agent", {}),
    ):
        outcome, content = await thief.uses(tool, agent_id=agent_id, **more)
        assert (outcome, "another chat has started it" in content) == ("failed", True)
    assert json.loads((await thief.uses("ask_agent"))[1]) == []
    assert (await owner.of_agent("describe_agent", agent_id=agent_id))["events"] == 0
    await thief.close()


async def test_so_many_at_a_time(owner: Owner) -> None:
    """Beyond MAX_CHAT_AGENTS the LLM is told; when one has ended, another may start."""
    first, _ = await owner.starts("one"), await owner.starts("two")
    outcome, content = await owner.uses("start_agent", agent="Parrot", input={"name": "three"})
    assert outcome == "failed"
    assert "the limit is 2: stop one, or raise MAX_CHAT_AGENTS" in content
    await owner.of_agent("send_agent_event", agent_id=first, event_name="finish")

    async def gone() -> bool:
        assert first not in await owner.agents()
        return True

    await eventually(gone)
    await owner.starts("three")
    assert len(await owner.agents()) == 2


async def test_an_interrupt_ends_no_agent(owner: Owner) -> None:
    """INTERRUPT and `stop` end the turn that has started an agent, and not the agent."""
    gate = Gate()
    owner.script(
        asks(Call("start_agent", '{"agent": "Parrot", "input": {"name": "Polly"}}')), Plan(text=["x"], gate=gate)
    )
    await owner.say("start")
    await owner.asked(2)
    [agent_id] = await owner.agents()
    await owner.say("never mind", "INTERRUPT")
    await owner.idle()
    await owner.call("stop")
    assert await owner.agents() == [agent_id]
    assert (await owner.of_agent("describe_agent", agent_id=agent_id))["status"] == "running"


async def test_the_same_call_id_in_another_reply_is_another_agent(owner: Owner) -> None:
    """Some LLMs count their calls from 1 in each reply: two calls of one id start two agents."""
    start = asks(Call("start_agent", '{"agent": "Parrot", "input": {"name": "Polly"}}', "call_1"))
    owner.script(start, start, Plan(text=["Two."]))
    await owner.say("start two")
    await owner.idle()
    assert len(set(await owner.agents())) == 2


@pytest.mark.parametrize("moment", ["the LLM answers", "the chat has noted it"])
@pytest.mark.parametrize("what", ["service", "server"])
async def test_death_in_the_middle_of_a_start(owner: Owner, what: str, moment: str) -> None:
    """However often a start is replayed, one agent starts, and the LLM gets its id."""
    start = Call("start_agent", '{"agent": "Parrot", "input": {"name": "Polly"}}')

    def plan(request: LLMRequest) -> Plan:
        return Plan(text=["Started."]) if request.messages[-1]["role"] == "tool" else asks(start)

    async def noted() -> bool:
        return "agents" in json.loads((await owner.state())["session"])

    owner.script_by(plan)
    await owner.say("start")
    await owner.asked(1)
    if moment == "the chat has noted it":
        await eventually(noted, every_s=0.002)
    died = owner.service if what == "service" else owner.server
    died.kill9()
    await died.start()
    assert (await owner.idle())[-1] == ("assistant", "Started.", "completed")
    [agent_id] = await owner.agents()
    assert list(await owner.records()) == [agent_id]
    [said] = [entry["content"] for entry in await owner.entries() if entry["role"] == "tool"]
    assert said.endswith(agent_id)


async def test_a_tool_that_is_tried_again_starts_one_agent(owner: Owner) -> None:
    """The third attempt of a call gets the agent that the first has started."""
    outcome, agent_id = await owner.uses("start_again")
    assert outcome == "ok"
    assert await owner.agents() == [agent_id]
    assert list(await owner.records()) == [agent_id]


@pytest.mark.parametrize("what", ["service", "server"])
async def test_death_in_the_middle_of_an_event(owner: Owner, what: str) -> None:
    """However often a turn is replayed, the agent gets its event once, and one stop ends it."""
    agent_id = await owner.starts()
    told = json.dumps({"agent_id": agent_id, "event": "say", "input": {"text": "x", "times": 0}})
    calls = [Call("send_agent_event", told), Call("stop_agent", json.dumps({"agent_id": agent_id}))]

    def plan(request: LLMRequest) -> Plan:
        done = [message["role"] for message in request.messages[::-1]].index("user") // 2
        return asks(calls[done]) if done < len(calls) else Plan(text=["All right."])

    owner.script_by(plan)
    await owner.say("tell it", "QUEUE")
    died = owner.service if what == "service" else owner.server

    async def accepted() -> bool:
        return bool((await owner.records())[agent_id]["last_seq"] > 0)

    await eventually(accepted, every_s=0.002)
    died.kill9()
    await died.start()
    assert (await owner.idle())[-1] == ("assistant", "All right.", "completed")
    await eventually(lambda: _none(owner))
    described = await owner.of_agent("describe_agent", agent_id=agent_id)
    assert (described["events"], described["status"]) == (1, "cancelled")
