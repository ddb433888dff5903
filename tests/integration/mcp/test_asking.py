"""Calls of MCP tools that a person has to do with: approved by a rule of the file, or asking in their middle."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from tests.integration.mcp.conftest import Bench
from tests.protocols.test_mcp_server import client, refused, use
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, LLMServer, Plan, echo
from tests.support.mcp_server import FORM
from tests.support.mcp_servers import hostile, noted, settings_file
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

RULES = ["echo", "no*", "with spaces*"]
VISA = {"card": "visa", "months": 3}


@pytest_asyncio.fixture
async def desk(restate: RestateServer, llm: LLMServer, tmp_path: Path) -> AsyncIterator[Bench]:
    """A chat whose server speaks the protocol of 2026, and some of whose tools must be approved."""
    async with bench_of(restate, llm, tmp_path) as bench:
        yield bench


@asynccontextmanager
async def bench_of(restate: RestateServer, llm: LLMServer, tmp_path: Path, **env: str) -> AsyncIterator[Bench]:
    """Give a bench with settings of its own."""
    folder = tmp_path / "bad"
    settings = settings_file(tmp_path, bad=hostile(folder, "--modern", approval=RULES))
    own = {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "k", "MCP_SERVERS": str(settings), "TOOL_CONCURRENCY": "1"}
    llm.script = echo
    llm.faults.clear()
    async with restate.serving(Service(tmp_path, **(restate.settings | own | env))) as service, local_http() as http:
        chat = Chat(restate, llm, http, f"mcp-{uuid.uuid4().hex[:12]}")
        yield Bench(chat, service, folder, settings)
        await chat.close()


async def waits(chat: Chat, count: int = 1, *, timeout_s: float = 20) -> list[dict[str, Any]]:
    """Wait until so many calls wait for a person; return what the status shows of them."""

    async def waiting() -> list[dict[str, Any]]:
        approvals = [each for turn in (await chat.status())["open_turns"] for each in turn.get("approvals", [])]
        assert len(approvals) == count, approvals
        return approvals

    return await eventually(waiting, timeout_s=timeout_s)


async def decide(chat: Chat, approval: dict[str, Any], decision: str = "approve", **fields: object) -> dict[str, Any]:
    ids = {name: approval[name] for name in ("call_id", "approval_id")}
    answer: dict[str, Any] = await chat.call("resolve_approval", **ids, decision=decision, **fields)
    return answer


async def results(chat: Chat) -> list[tuple[str, str]]:
    return [(entry["outcome"], entry["content"]) for entry in await chat.entries() if entry["role"] == "tool"]


def calls(bench: Bench, *tools: str, arguments: str = '{"text": "hi"}') -> None:
    """Have the LLM call tools of the server, and then say that it is done; also after a crash."""

    def script(request: LLMRequest) -> Plan:
        if any(message["role"] == "tool" for message in request.messages):
            return Plan(text=["Done."])
        made = [Call(f"bad__{tool}", arguments, f"call_{n}") for n, tool in enumerate(tools)]
        return Plan(text=(), calls=made, finish_reason="tool_calls")

    bench.chat._llm.script = script


# Rules


async def test_a_rule_has_a_person_asked(desk: Bench) -> None:
    """A call of a tool that a rule of the file fits waits for a person, with arguments that may be changed."""
    calls(desk, "echo", "look")
    (desk.folder / "go").touch()
    await desk.chat.say("work")
    [approval] = await waits(desk.chat)
    assert (approval["name"], approval["arguments"]) == ("bad__echo", '{"text": "hi"}')
    assert "question" not in approval
    await eventually(lambda: noted(desk.folder, "calls") == ["look"])
    assert (await decide(desk.chat, approval, arguments={"text": "bye"}))["result"] == "applied"
    assert (await desk.chat.idle())[-1] == ("assistant", "Done.", "completed")
    [(_, echoed), looked] = await results(desk.chat)
    assert echoed.endswith("\necho says bye")
    assert looked == ("ok", "noted")


async def test_a_rejected_call_never_reaches_the_server(desk: Bench) -> None:
    """What a person rejects is not called; arguments that are none ask nobody, nor does what is no tool of a rule."""
    calls(desk, "echo")
    await desk.chat.say("work")
    [approval] = await waits(desk.chat)
    await decide(desk.chat, approval, "reject", reason="no")
    await desk.chat.idle()
    [(outcome, content)] = await results(desk.chat)
    assert (outcome, "gave the reason 'no'" in content) == ("skipped", True)
    assert noted(desk.folder, "calls") == []

    desk.chat.script(
        Plan(text=(), calls=[Call("bad__echo", "[]", "call_9")], finish_reason="tool_calls"), Plan(text=["Done."])
    )
    await desk.chat.say("again")
    await desk.chat.idle()
    assert (await results(desk.chat))[1][0] == "failed"


@pytest.mark.parametrize("rules", [[], ["*"]])
async def test_the_rule_is_that_of_the_moment_of_the_call(desk: Bench, rules: list[str]) -> None:
    """A file that changes while a call waits changes nothing for it: what was decided is in the journal."""
    calls(desk, "echo", "look")
    (desk.folder / "go").touch()
    await desk.chat.say("work")
    [approval] = await waits(desk.chat)
    await eventually(lambda: noted(desk.folder, "calls") == ["look"])
    desk.service.kill9()
    settings = json.loads(desk.settings.read_text())
    settings["mcpServers"]["bad"]["approval"] = rules
    desk.settings.write_text(json.dumps(settings))
    await desk.service.start()
    assert await waits(desk.chat) == [approval]
    await decide(desk.chat, approval)
    assert (await desk.chat.idle())[-1][2] == "completed"
    assert await results(desk.chat) == [("ok", "echo says hi"), ("ok", "noted")]
    assert sorted(noted(desk.folder, "calls")) == ["echo", "look"]


# Questions


async def asked(desk: Bench, *beside: str, arguments: str = "{}") -> dict[str, Any]:
    """Open a turn whose tool asks the user; return what the status shows of it."""
    calls(desk, "ask", *beside, arguments=arguments)
    await desk.chat.say("work")
    [approval] = await waits(desk.chat)
    return approval


async def test_a_question_is_answered(desk: Bench) -> None:
    """What a server asks waits like an approval, with its form; a fitting answer goes to the server, once."""
    approval = await asked(desk, "look")
    (desk.folder / "go").touch()
    assert approval["question"] | {"asked_at": 0} == {
        "message": FORM["message"],
        "answer_schema": FORM["requestedSchema"],
        "asked_at": 0,
        "number": 1,
    }
    assert approval["expires_at"] > "2026"
    assert (await desk.chat.call("get_chat_history"))["approvals"] == [approval]
    await eventually(lambda: "look" in noted(desk.folder, "calls"))  # which has the one place meanwhile

    for wrong in ({"card": "dinar"}, {}, {"card": "visa", "months": "3"}, {"card": "visa", "cvc": "1"}):
        ids = {name: approval[name] for name in ("call_id", "approval_id")}
        refused = await desk.chat.post("resolve_approval", ids | {"decision": "approve", "answer": wrong})
        assert (refused.status_code, "Wrong answer" in refused.text) == (400, True)
    assert (await decide(desk.chat, approval, answer=VISA))["resolution"]["answer"] == json.dumps(VISA)
    assert (await desk.chat.idle())[-1] == ("assistant", "Done.", "completed")
    ((outcome, content), _) = await results(desk.chat)
    assert (outcome, content) == ("ok", f"round 1: {json.dumps({'action': 'accept', 'content': VISA})}")
    assert len(noted(desk.folder, "asked")) == 2
    assert (await decide(desk.chat, approval, answer=VISA))["result"] == "already_resolved"


async def test_a_server_asks_again(desk: Bench) -> None:
    """A server that is not content asks again: another question, another approval; the state comes back to it."""
    approval = await asked(desk)
    await decide(desk.chat, approval, answer={"card": "amex"})

    async def another() -> dict[str, Any]:
        [again] = await waits(desk.chat)
        assert again["approval_id"] != approval["approval_id"]
        return again

    again = await eventually(another)
    assert again["question"]["number"] == 2
    await decide(desk.chat, again, answer=VISA)
    await desk.chat.idle()
    [(outcome, content)] = await results(desk.chat)
    assert (outcome, content[:9]) == ("ok", "round 2: ")


async def test_a_refusal_to_answer_is_told_to_the_server(desk: Bench) -> None:
    """Who declines is heard by the server, in the protocol's word; the LLM reads that, the reason, and the result."""
    approval = await asked(desk)
    await decide(desk.chat, approval, "reject", reason="not <i>mine</i>")
    await desk.chat.idle()
    [(outcome, content)] = await results(desk.chat)
    assert outcome == "ok"
    assert content.startswith("[The server of this tool asked the user 'Which <b>card</b>?', and the user declined")
    assert "gave the reason 'not <i>mine</i>'" in content
    assert content.endswith('round 1: {"action": "decline"}')


@pytest.mark.parametrize("mode", ["INCORPORATE", "STEER"])
async def test_a_message_is_no_answer(desk: Bench, mode: str) -> None:
    """A message that the turn gets ends the wait: the server is not called again, the turn goes on with the message."""
    await asked(desk)
    await desk.chat.say("visa", mode)
    lines = await desk.chat.idle()
    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "user", "assistant"]
    [(outcome, content)] = await results(desk.chat)
    assert outcome == "failed"
    assert "sent a message instead, which begins with 'visa'" in content
    assert "The call was not completed." in content
    assert len(noted(desk.folder, "asked")) == 1


async def test_interrupt_withdraws_a_question(desk: Bench) -> None:
    """INTERRUPT ends the turn at once; a late answer changes nothing."""
    approval = await asked(desk)
    desk.chat.script(Plan(text=["Instead."]))
    await desk.chat.say("never mind", "INTERRUPT")
    assert (await desk.chat.idle())[-1] == ("assistant", "Instead.", "completed")
    assert (await decide(desk.chat, approval, answer=VISA))["resolution"]["verdict"] == "withdrawn"
    [(outcome, _)] = await results(desk.chat)
    assert outcome == "unknown"
    assert len(noted(desk.folder, "asked")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_kill_9_in_the_wait(desk: Bench, when: str) -> None:
    """A question outlives kill -9 of the service, and so does its answer; the server is called once for each."""
    approval = await asked(desk)
    if when == "before":
        await desk.service.restart()
        assert await waits(desk.chat) == [approval]
        await decide(desk.chat, approval, answer=VISA)
    else:
        desk.service.kill9()
        await desk.service.start()
        assert (await decide(desk.chat, approval, answer=VISA))["result"] == "applied"
    assert (await desk.chat.idle())[-1] == ("assistant", "Done.", "completed")
    [(outcome, content)] = await results(desk.chat)
    assert (outcome, content[:9]) == ("ok", "round 1: ")
    assert len(noted(desk.folder, "asked")) == 2


async def test_a_question_expires(restate: RestateServer, llm: LLMServer, tmp_path: Path) -> None:
    """After APPROVAL_TIMEOUT_S nobody is asked any more, and the LLM is told."""
    async with bench_of(restate, llm, tmp_path, APPROVAL_TIMEOUT_S="0.5") as desk:
        calls(desk, "ask", arguments="{}")
        await desk.chat.say("work")
        assert (await desk.chat.idle())[-1][2] == "completed"
        [(outcome, content)] = await results(desk.chat)
    assert (outcome, "nobody answered in time. The call was not completed." in content) == ("failed", True)


async def test_a_server_that_only_wants_to_be_called_again(desk: Bench) -> None:
    """A server that asks for nothing, for ever, is called ten times, and then no more."""
    calls(desk, "wait", arguments="{}")
    await desk.chat.say("work")
    await desk.chat.idle()
    [(outcome, content)] = await results(desk.chat)
    assert (outcome, "has asked 10 times" in content) == ("failed", True)
    assert noted(desk.folder, "calls") == ["wait"] * 10


# By our own MCP server


async def test_an_agent_of_others_decides(restate: RestateServer, llm: LLMServer, tmp_path: Path) -> None:
    """A client of our MCP server waits no longer than until something is asked, answers it, and gets the reply."""
    port = free_port()
    async with bench_of(restate, llm, tmp_path, WEB_PORT=str(port)) as desk, client(f"http://127.0.0.1:{port}") as mcp:
        calls(desk, "ask", arguments="{}")
        message = {"chat": desk.chat.key, "content": "work", "message_id": "m-1", "wait_s": 60}
        began = time.monotonic()
        first = await use(mcp, "send_message", **message)
        assert time.monotonic() - began < 45
        assert first["reply"] is None
        [approval] = first["approvals"]
        assert approval["question"]["message"] == FORM["message"]

        ids = {"chat": desk.chat.key, "call_id": approval["call_id"], "approval_id": approval["approval_id"]}
        assert "Wrong answer" in await refused(mcp, "resolve_approval", **ids, decision="approve", answer={"card": 1})
        decided = await use(mcp, "resolve_approval", **ids, decision="approve", answer=VISA)
        assert decided["result"] == "applied"
        second = await use(mcp, "send_message", **message)
        assert [line["role"] for line in second["reply"]] == ["assistant", "tool", "assistant"]
        assert second["reply"][-1]["content"] == "Done."
        assert second["approvals"] == []
    assert len(noted(desk.folder, "asked")) == 2
