"""The official AG-UI clients, 1.0 and the one inside today's CopilotKit, against the application."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.protocols.conftest import Site
from tests.support.agui_client import NodeClients
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, Plan

Answer = dict[str, Any]


@pytest.fixture(params=["0", "1"], ids=["0.0.59", "1.0"])
def version(request: pytest.FixtureRequest) -> str:
    """Which of the official clients: a test that takes it holds for each."""
    return str(request.param)


@pytest_asyncio.fixture
async def clients(site: Site, chat: Chat, version: str) -> AsyncIterator[NodeClients]:
    """Two agents of one chat, `a` and `b`."""
    async with NodeClients(version, site.url) as clients:
        for who in ("a", "b"):
            await clients.ask("open", who, thread=chat.key)
        yield clients


async def say(clients: NodeClients, content: str, who: str = "a", **fields: Any) -> None:
    await clients.ask("run", who, message={"id": f"m-{content}", "content": content}, **fields)


def types(answer: Answer) -> list[str]:
    return [event["type"] for event in answer["events"]]


async def chat_has(chat: Chat, content: str) -> None:
    """Wait until a message has come to the chat."""

    async def there() -> bool:
        assert content in [entry["content"] for entry in await chat.entries()]
        return True

    await eventually(there)


async def has_the_history(answer: Answer, chat: Chat) -> None:
    """Assert that the client has no error, and the messages of get_chat_history."""
    assert answer["error"] is None
    shown = [
        (message["role"], message.get("content") or "", [call["function"]["arguments"] for call in calls])
        for message in answer["messages"]
        for calls in [message.get("toolCalls") or []]
    ]
    recorded = [
        (entry["role"], entry["content"], [call["arguments"] for call in entry.get("tool_calls") or []])
        for entry in await chat.entries()
    ]
    assert shown == recorded


async def test_a_run(clients: NodeClients, chat: Chat) -> None:
    """A run streams the answer, with one snapshot, and ends with the history as the client's messages."""
    chat.script(Plan(text=["Hello", " there", "."]))
    await say(clients, "hi")
    answer = await clients.ask("wait")
    await has_the_history(answer, chat)
    assert types(answer)[:2] == ["RUN_STARTED", "MESSAGES_SNAPSHOT"]
    assert types(answer)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert types(answer).count("MESSAGES_SNAPSHOT") == 1
    assert "".join(e["delta"] for e in answer["events"] if e["type"] == "TEXT_MESSAGE_CONTENT") == "Hello there."


async def test_a_run_with_tools(clients: NodeClients, chat: Chat) -> None:
    """Tool calls and their results arrive while they run, and end up as the history has them."""
    chat.script(Plan(text=["Let me see."], calls=[Call(), Call(call_id="call_2")], finish_reason="tool_calls"))
    await say(clients, "work")
    answer = await clients.ask("wait")
    await has_the_history(answer, chat)
    assert types(answer).count("TOOL_CALL_RESULT") == 2


async def test_a_run_that_thinks(clients: NodeClients, chat: Chat) -> None:
    """Thoughts are messages of role `reasoning` for either client, and the rest is the history."""
    work = Plan(text=["Let me see."], thoughts=["I need", " a tool."], calls=[Call()], finish_reason="tool_calls")
    chat.script(work, Plan(text=["Done."], thoughts=["That was it."]))
    await say(clients, "work")
    answer = await clients.ask("wait")
    thoughts = [message["content"] for message in answer["messages"] if message["role"] == "reasoning"]
    assert thoughts == ["I need a tool.", "That was it."]
    rest = [message for message in answer["messages"] if message["role"] != "reasoning"]
    await has_the_history({**answer, "messages": rest}, chat)


async def test_the_same_call_id_in_two_turns(clients: NodeClients, chat: Chat) -> None:
    """An LLM that numbers its calls from one again in each turn does not mix them up at the client."""
    for content in ("first", "second"):
        chat.script(Plan(text=[], calls=[Call(arguments=f'{{"task": "{content}"}}')], finish_reason="tool_calls"))
        await say(clients, content)
        answer = await clients.ask("wait")
    await has_the_history(answer, chat)


async def test_joining_in_mid_answer(clients: NodeClients, chat: Chat) -> None:
    """Who connects while the agent writes has all so far, then the rest, and the stream ends with the turn."""
    gate = Gate()
    chat.script(Plan(raw=None, text=["Hello"], calls=[Call()], finish_reason="tool_calls"), Plan(["Done."], gate=gate))
    await say(clients, "hi")
    await clients.ask("until", text="Hello")
    await clients.ask("connect", "b")
    await clients.ask("until", "b", text="Hello")
    gate.open()
    await has_the_history(await clients.ask("wait", "b"), chat)
    await has_the_history(await clients.ask("wait"), chat)


async def test_connecting_to_a_chat_at_rest(clients: NodeClients, chat: Chat) -> None:
    """A chat in which nothing goes on is shown, and the stream ends."""
    await chat.say("hi")
    await chat.idle()
    await clients.ask("connect")
    answer = await clients.ask("wait")
    await has_the_history(answer, chat)
    assert types(answer) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]


@pytest.mark.parametrize("mode", ["INCORPORATE", "STEER", "QUEUE", "INTERRUPT", "ROLLBACK"])
async def test_a_second_run_meanwhile(clients: NodeClients, chat: Chat, mode: str) -> None:
    """A run in the middle of another does what its mode says; both streams end with the history."""
    gate = Gate()
    chat.script(Plan(text=["slow"], gate=gate))
    await say(clients, "first")
    await chat.asked(1)
    await say(clients, "second", "b", props={"mode": mode.lower()})
    await chat_has(chat, "second")
    if mode in ("INCORPORATE", "QUEUE"):
        gate.open()
    second = await clients.ask("wait", "b")
    await has_the_history(second, chat)
    first = await clients.ask("wait", "a")
    assert first["error"] is None
    assert types(first)[-1] == types(second)[-1] == "RUN_FINISHED"
    gate.open()


async def test_a_restarted_text_is_not_doubled(clients: NodeClients, chat: Chat) -> None:
    """An LLM call that breaks and is made again replaces what it had written."""
    chat.script(Plan(text=["Hel", "lo", " there"], break_after=2), Plan(text=["Hello again"]))
    await say(clients, "hi")
    answer = await clients.ask("wait")
    await has_the_history(answer, chat)
    assert ("assistant", "Hello again") in [(m["role"], m["content"]) for m in answer["messages"]]


async def test_a_failed_turn(clients: NodeClients, chat: Chat) -> None:
    """A turn that fails ends the stream with RUN_ERROR and the sentence of the history."""
    chat.script(Plan(status=400, error={"error": {"message": "no such model"}}))
    await say(clients, "hi")
    answer = await clients.ask("wait")
    assert types(answer)[-1] == "RUN_ERROR"
    assert answer["events"][-1]["message"] == (await chat.entries())[-1]["content"]
    assert answer["messages"][-1]["content"] == (await chat.entries())[-1]["content"]


async def test_stop_by_run_id(clients: NodeClients, chat: Chat, site: Site, version: str) -> None:
    """Stop names a run: its turn ends, its stream ends, and clients of 1.0 are told that it was cancelled."""
    chat.script(Plan(text=["never"], gate=Gate()))
    await say(clients, "hi", runId="run-1")
    await chat.asked(1)
    stopped = await chat._http.post(f"{site.url}/agent/default/stop/{chat.key}", json={"runId": "run-1"})
    assert stopped.json()["stopped"] is True
    answer = await clients.ask("wait")
    await has_the_history(answer, chat)
    outcome = answer["events"][-1].get("outcome")
    assert outcome == ({"type": "cancelled"} if version == "1" else None)
    assert answer["events"][-1]["result"]["status"] == "interrupted"


async def test_a_late_stop_stops_nothing_else(clients: NodeClients, chat: Chat, site: Site) -> None:
    """A stop for a run that is over leaves the next one alone."""
    await say(clients, "first", runId="run-1")
    await clients.ask("wait")
    gate = Gate()
    chat.script(Plan(text=["second answer"], gate=gate))
    await say(clients, "second", runId="run-2")
    await chat.asked(2)
    stopped = await chat._http.post(f"{site.url}/agent/default/stop/{chat.key}", json={"runId": "run-1"})
    assert stopped.json() == {"stopped": False}
    gate.open()
    answer = await clients.ask("wait")
    assert answer["messages"][-1]["content"] == "second answer"


async def test_going_away_stops_nothing(clients: NodeClients, chat: Chat) -> None:
    """A client that aborts its request has stopped watching; the agent goes on."""
    gate = Gate()
    chat.script(Plan(text=["the answer"], gate=gate))
    await say(clients, "hi")
    await chat.asked(1)
    await clients.ask("abort")
    await clients.ask("wait")
    gate.open()
    assert ("assistant", "the answer", "completed") in await chat.idle()


async def test_a_message_that_is_repeated(clients: NodeClients, chat: Chat) -> None:
    """A run with a message that the chat has shows the chat and ends: it is not answered twice."""
    await say(clients, "hi")
    await clients.ask("wait")
    await say(clients, "hi", "b")
    await has_the_history(await clients.ask("wait", "b"), chat)
    assert len(chat.requests) == 1


async def test_a_message_that_is_withdrawn(clients: NodeClients, chat: Chat) -> None:
    """The stream of a run whose message is withdrawn while it waits ends, without that message."""
    gate = Gate()
    chat.script(Plan(text=["slow"], gate=gate))
    await say(clients, "first")
    await chat.asked(1)
    await say(clients, "second", "b", props={"mode": "INCORPORATE"})
    await chat_has(chat, "second")
    await chat.call("withdraw_queued_message", message_id="m-second")
    answer = await clients.ask("wait", "b")
    assert types(answer)[-1] == "RUN_FINISHED"
    assert "m-second" not in [message["id"] for message in answer["messages"]]
    gate.open()
    await clients.ask("wait")


async def test_a_refused_run(clients: NodeClients, chat: Chat) -> None:
    """What cannot be done is refused before the stream begins, with a sentence."""
    await say(clients, "hi", props={"mode": "SHOUT"})
    answer = await clients.ask("wait")
    assert "HTTP 400" in answer["error"]
    assert "INTERRUPT" in answer["error"]
    assert await chat.entries() == []


async def test_stopping_a_run_leaves_the_others(clients: NodeClients, chat: Chat, site: Site) -> None:
    """What another run has sent meanwhile is answered next when a run is stopped by its id."""
    chat.script(Plan(text=["never"], gate=Gate()))
    await say(clients, "first", runId="run-1")
    await chat.asked(1)
    await say(clients, "second", "b", props={"mode": "QUEUE"})
    await chat_has(chat, "second")
    await chat._http.post(f"{site.url}/agent/default/stop/{chat.key}", json={"runId": "run-1"})
    answer = await clients.ask("wait", "b")
    await has_the_history(answer, chat)
    assert answer["messages"][-1]["role"] == "assistant"


async def test_stopping_a_run_that_waits(clients: NodeClients, chat: Chat, site: Site) -> None:
    """A run that waits behind another is withdrawn, and the other one goes on."""
    gate = Gate()
    chat.script(Plan(text=["the answer"], gate=gate))
    await say(clients, "first")
    await chat.asked(1)
    await say(clients, "second", "b", props={"mode": "QUEUE"}, runId="run-2")
    await chat_has(chat, "second")
    stopped = await chat._http.post(f"{site.url}/agent/default/stop/{chat.key}", json={"runId": "run-2"})
    assert stopped.json() == {"stopped": True, "withdrawn": ["m-second"]}
    assert types(await clients.ask("wait", "b"))[-1] == "RUN_FINISHED"
    gate.open()
    await has_the_history(await clients.ask("wait"), chat)


async def test_a_run_that_is_held(clients: NodeClients, chat: Chat) -> None:
    """The stream of a run whose message is held ends; the message stays where the history has it."""
    chat.script(Plan(text=["never"], gate=Gate()))
    await say(clients, "first")
    await chat.asked(1)
    await say(clients, "second", "b", props={"mode": "QUEUE"})
    await chat_has(chat, "second")
    await chat.call("stop", queue="hold")
    answer = await clients.ask("wait", "b")
    assert types(answer)[-1] == "RUN_FINISHED"
    assert [message["id"] for message in answer["messages"]][-1] == "m-second"
    await clients.ask("wait")
