"""Tool calls that wait for approval, for the official AG-UI clients: interrupts, and the runs that resume them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.protocols.conftest import Site
from tests.protocols.test_agui_clients import has_the_history, say, types
from tests.support.agui_client import NodeClients
from tests.support.chat import Chat
from tests.support.llm_server import Call, LLMRequest, Plan

Answer = dict[str, Any]


@pytest.fixture(params=["0", "1"], ids=["0.0.59", "1.0"])
def version(request: pytest.FixtureRequest) -> str:
    """Which of the official clients: a test that takes it holds for each."""
    return str(request.param)


@pytest_asyncio.fixture
async def clients(site: Site, chat: Chat, version: str) -> AsyncIterator[NodeClients]:
    """Two agents of one chat, `a` and `b`; its LLM pays, and then says so."""
    chat.script_by(lambda request: pays(request, chat.key))
    async with NodeClients(version, site.url) as clients:
        for who in ("a", "b"):
            await clients.ask("open", who, thread=chat.key)
        yield clients


@pytest_asyncio.fixture
async def modern(site: Site, chat: Chat) -> AsyncIterator[NodeClients]:
    """As `clients`, with client 1.0."""
    chat.script_by(lambda request: pays(request, chat.key))
    async with NodeClients("1", site.url) as clients:
        await clients.ask("open", "a", thread=chat.key)
        yield clients


def pays(request: LLMRequest, to: str) -> Plan:
    if any(message["role"] == "tool" for message in request.messages):
        return Plan(text=["All done."])
    call = Call("pay", json.dumps({"amount": 100, "to": to}), "call_1")
    return Plan(text=["I pay."], calls=[call], finish_reason="tool_calls")


async def interrupted(clients: NodeClients, who: str = "a") -> dict[str, Any]:
    """Wait for the end of a run that waits for a person; return the one interrupt that it brings."""
    answer = await clients.ask("wait", who)
    assert answer["error"] is None
    outcome = answer["events"][-1]["outcome"]
    assert outcome["type"] == "interrupt"
    [interrupt] = outcome["interrupts"]
    found: dict[str, Any] = interrupt
    return found


def resolved(interrupt: dict[str, Any], **payload: object) -> list[dict[str, Any]]:
    return [{"interruptId": interrupt["id"], "status": "resolved", "payload": payload}]


async def result(chat: Chat) -> tuple[str, str]:
    """Return outcome and content of the one tool call."""
    [entry] = [entry for entry in await chat.entries() if entry["role"] == "tool"]
    return entry["outcome"], entry["content"]


async def test_a_run_ends_when_a_person_is_asked(clients: NodeClients, chat: Chat, version: str) -> None:
    """The call is there when the run ends; 1.0 hears of an interrupt, an older client that its turn waits."""
    await say(clients, "pay")
    answer = await clients.ask("wait")
    assert answer["error"] is None
    calls = [call for message in answer["messages"] for call in message.get("toolCalls") or []]
    assert [call["function"]["name"] for call in calls] == ["pay"]
    last = answer["events"][-1]
    assert last["result"] == {"turn_id": 1, "status": "waiting_for_approval"}
    if version == "0":
        assert "outcome" not in last
    else:
        [interrupt] = last["outcome"]["interrupts"]
        assert (interrupt["reason"], interrupt["toolCallId"]) == ("tool_call", calls[0]["id"])
        assert interrupt["responseSchema"]["required"] == ["approved"]
        assert interrupt["expiresAt"] > "2026"
    assert (await chat.status())["busy"]


async def test_a_message_goes_on_from_an_older_client(site: Site, chat: Chat) -> None:
    """A client that knows no interrupts can send a message, which does what its mode says."""
    chat.script_by(lambda request: pays(request, chat.key))
    async with NodeClients("0", site.url) as clients:
        await clients.ask("open", "a", thread=chat.key)
        await say(clients, "pay")
        await clients.ask("wait")
        await say(clients, "no, to Tom", props={"mode": "INCORPORATE"})
        await has_the_history(await clients.ask("wait"), chat)
    assert (await result(chat))[0] == "skipped"


async def test_a_call_is_approved(modern: NodeClients, chat: Chat) -> None:
    """A run that resumes with an approval streams what follows, and ends with the history as the client's messages."""
    await say(modern, "pay")
    interrupt = await interrupted(modern)
    await modern.ask("run", resume=resolved(interrupt, approved=True))
    answer = await modern.ask("wait")
    await has_the_history(answer, chat)
    assert answer["events"][-1]["outcome"] == {"type": "success"}
    assert await result(chat) == ("ok", f"paid 100 to {chat.key}")


async def test_arguments_are_edited(modern: NodeClients, chat: Chat) -> None:
    """`editedArgs` replace the arguments; those that do not fit are refused, and the call waits on."""
    await say(modern, "pay")
    interrupt = await interrupted(modern)
    await modern.ask("run", resume=resolved(interrupt, approved=True, editedArgs={"to": 1}))
    assert "amount: Field required" in (await modern.ask("wait"))["error"]
    await modern.ask("run", resume=resolved(interrupt, approved=True, editedArgs={"amount": 50, "to": chat.key}))
    await has_the_history(await modern.ask("wait"), chat)
    assert (await result(chat))[1].endswith(f"paid 50 to {chat.key}")


async def test_a_call_is_rejected(modern: NodeClients, chat: Chat) -> None:
    """`approved: false` rejects the call, with the reason for the LLM."""
    await say(modern, "pay")
    await modern.ask("run", resume=resolved(await interrupted(modern), approved=False, reason="too much"))
    await has_the_history(await modern.ask("wait"), chat)
    outcome, content = await result(chat)
    assert (outcome, "gave the reason 'too much'" in content) == ("skipped", True)


@pytest.mark.parametrize("message", [None, "rather not"])
async def test_a_call_is_given_up(modern: NodeClients, chat: Chat, message: str | None) -> None:
    """`cancelled` rejects the call; a message that comes along is the reason, if its mode says so."""
    await say(modern, "pay")
    given_up = [{"interruptId": (await interrupted(modern))["id"], "status": "cancelled"}]
    said: dict[str, Any] = (
        {} if message is None else {"message": {"id": "m-2", "content": message}, "props": {"mode": "STEER"}}
    )
    await modern.ask("run", resume=given_up, **said)
    await has_the_history(await modern.ask("wait"), chat)
    outcome, content = await result(chat)
    assert (outcome, "'rather not'" in content) == ("skipped", message is not None)


async def test_who_connects_is_asked(modern: NodeClients, chat: Chat) -> None:
    """A client that joins while a call waits gets the interrupt, and can answer it."""
    await chat.say("pay")
    await chat.asked(1)
    await modern.ask("connect")
    interrupt = await interrupted(modern)
    await modern.ask("run", resume=resolved(interrupt, approved=True))
    await has_the_history(await modern.ask("wait"), chat)


async def test_a_resume_is_safe_to_repeat(modern: NodeClients, chat: Chat) -> None:
    """The same answer again changes nothing; another one, and one to a call of nobody, is refused."""
    await say(modern, "pay")
    interrupt = await interrupted(modern)
    for _ in range(2):
        await modern.ask("run", resume=resolved(interrupt, approved=True))
        await has_the_history(await modern.ask("wait"), chat)
    await modern.ask("run", resume=resolved(interrupt, approved=False))
    assert "does not wait any more: it is approved" in (await modern.ask("wait"))["error"]
    await modern.ask("run", resume=resolved({"id": "1-0.call_1"}, approved=True))
    assert "404" in (await modern.ask("wait"))["error"]
    assert await result(chat) == ("ok", f"paid 100 to {chat.key}")


async def test_a_run_behind_a_call_that_waits(modern: NodeClients, chat: Chat) -> None:
    """A run whose message queues behind the turn that asks ends with the same interrupt, and is answered after it."""
    await chat.say("pay")
    await chat.asked(1)
    await say(modern, "and then?", props={"mode": "QUEUE"})
    interrupt = await interrupted(modern)
    await modern.ask("run", resume=resolved(interrupt, approved=True))
    assert (await modern.ask("wait"))["error"] is None
    assert [content for role, content, _ in await chat.idle() if role == "user"] == ["pay", "and then?"]


async def test_stopping_a_run_that_asks(modern: NodeClients, chat: Chat, site: Site) -> None:
    """A run that waits for a person is stopped by its id: the call is withdrawn."""
    await say(modern, "pay", runId="run-1")
    await interrupted(modern)
    stopped = await chat._http.post(f"{site.url}/agent/default/stop/{chat.key}", json={"runId": "run-1"})
    assert stopped.json()["stopped"] is True
    await chat.idle()
    assert (await result(chat))[0] == "skipped"
    assert types(await modern.ask("wait"))[-1] == "RUN_FINISHED"


async def test_each_of_several_calls_is_decided(modern: NodeClients, chat: Chat) -> None:
    """Calls of one reply that wait are asked about until all are decided, each by itself, and none twice."""
    amounts = {"call_1": 21, "call_2": 22, "call_3": 3}
    calls = [Call("pay", json.dumps({"amount": n, "to": chat.key}), each) for each, n in amounts.items()]
    chat.script(Plan(text=["I pay."], calls=calls, finish_reason="tool_calls"), Plan(text=["All done."]))
    await say(modern, "pay")
    decided: dict[str, bool] = {}
    while (answer := await modern.ask("wait"))["events"][-1].get("outcome", {}).get("type") == "interrupt":
        assert answer["error"] is None
        waits = answer["events"][-1]["outcome"]["interrupts"]
        approvals = {each["id"]: each["metadata"]["arguments"] != calls[0].arguments for each in waits}
        assert not decided.keys() & approvals.keys(), "nothing is asked twice"
        decided |= approvals
        payloads = [(each, {"approved": approved}) for each, approved in approvals.items()]
        entries = [{"interruptId": each, "status": "resolved", "payload": payload} for each, payload in payloads]
        await modern.ask("run", resume=entries)
    await has_the_history(answer, chat)
    assert sorted(decided.values()) == [False, True]
    outcomes = [entry["outcome"] for entry in await chat.entries() if entry["role"] == "tool"]
    assert outcomes == ["skipped", "ok", "ok"]
