"""Our own MCP server, driven by the protocol's official clients of PyPI and npm."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.protocols.conftest import Site
from tests.protocols.test_access import ALICE, BOB, StartGateway, start_gateway
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, Plan

__all__ = ["start_gateway"]

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
TOOLS = ["send_message", "get_status", "get_history", "stop", "resolve_approval", "list_chats"]
LARGE = "x" * 10_000_000


@asynccontextmanager
async def client(url: str, mode: Any = "auto", token: str = "") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=httpx2.Timeout(60)) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def use(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that must succeed; return its answer, which stands in its text too."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    [text] = result.content
    assert json.loads(getattr(text, "text", "")) == result.structured_content
    answer: dict[str, Any] = result.structured_content
    return answer


async def refused(client: Client, tool: str, **arguments: object) -> str:
    """Call a tool that must fail; return what it says."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return str(getattr(result.content[0], "text", ""))


@ERAS
async def test_an_agent_talks_to_ours(site: Site, chat: Chat, mode: str) -> None:
    """A client of either era lists the tools, sends a message, waits for the reply, and reads status and history."""
    chat.script(Plan(text=["Hello."]))
    async with client(site.url, mode) as mcp:
        assert [tool.name for tool in (await mcp.list_tools()).tools] == TOOLS
        sent = await use(mcp, "send_message", chat=chat.key, content="hi", message_id="m-1", wait_s=20)
        assert sent["decision"] == "started"
        assert [line["content"] for line in sent["reply"]] == ["Hello."]
        again = await use(mcp, "send_message", chat=chat.key, content="hi", message_id="m-1", wait_s=20)
        assert again == sent
        assert (await use(mcp, "get_status", chat=chat.key))["busy"] is False
        history = await use(mcp, "get_history", chat=chat.key, limit=1)
        assert [line["content"] for line in history["entries"]] == ["hi", "Hello."]

        async def listed() -> bool:  # the list is a second old at most
            return chat.key in [each["key"] for each in (await use(mcp, "list_chats"))["chats"]]

        await eventually(listed)
    assert len(chat.requests) == 1


@ERAS
async def test_a_client_that_waits_no_more_stops_nothing(site: Site, chat: Chat, mode: str) -> None:
    """While it waits a client that wants to know is told how far the agent is; when it goes away the turn goes on."""
    gate = Gate()
    chat.script(
        Plan(text=(), calls=[Call("execute_task", '{"task": "x"}', "c")], finish_reason="tool_calls"),
        Plan(text=["Done."], gate=gate),
    )
    told: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - so called
        told.append(message or "")

    async with client(site.url, mode) as mcp:
        arguments = {"chat": chat.key, "content": "work", "wait_s": 60}
        sending = asyncio.create_task(mcp.call_tool("send_message", arguments, progress_callback=on_progress))
        await chat.asked(2)
        await eventually(lambda: "the agent calls execute_task" in told)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (await use(mcp, "get_status", chat=chat.key))["busy"] is True
        gate.open()
        assert (await chat.idle())[-1] == ("assistant", "Done.", "completed")


async def test_a_turn_is_stopped(site: Site, chat: Chat) -> None:
    """`stop` ends the turn; a wait that is over before the reply says that there is none yet."""
    gate = Gate()
    chat.script(Plan(text=["Never."], gate=gate))
    async with client(site.url) as mcp:
        sent = await use(mcp, "send_message", chat=chat.key, content="work", wait_s=1)
        assert (sent["reply"], sent["approvals"]) == (None, [])
        assert (await use(mcp, "stop", chat=chat.key))["turn_id"] == 1
        await chat.idle()
        late = await use(mcp, "resolve_approval", chat=chat.key, call_id="c", approval_id="1-aa", decision="approve")
        assert late["result"] == "unknown"
    gate.open()


@ERAS
async def test_what_is_wrong_is_said(site: Site, chat: Chat, mode: str) -> None:
    """Wrong arguments, unknown tools, other keys and large messages are refused in a sentence; nothing is begun."""
    async with client(site.url, mode) as mcp:
        assert "content: Field required" in await refused(mcp, "send_message", chat=chat.key)
        assert "wait_s" in await refused(mcp, "send_message", chat=chat.key, content="x", wait_s=1e9)
        assert "colour: Extra inputs" in await refused(mcp, "get_status", chat=chat.key, colour="red")
        assert "control characters" in await refused(mcp, "get_status", chat="a\x1b[31m")
        assert "The key of the chat is empty" in await refused(mcp, "stop", chat="")
        assert "limit is" in await refused(mcp, "send_message", chat=chat.key, content="x" * 900_000)
        with pytest.raises(MCPError, match="There is no tool"):
            await mcp.call_tool("forget", {})
        markup = await use(mcp, "send_message", chat=chat.key, content="<script>alert(1)</script>", wait_s=20)
        assert markup["reply"][-1]["role"] == "assistant"
    [entry, *_] = await chat.entries()
    assert entry["content"] == "<script>alert(1)</script>"


async def test_what_is_no_request_is_refused(site: Site, http: httpx.AsyncClient, chat: Chat) -> None:
    """No JSON, wrong bytes, ten megabytes, another site, another method: a status each, and the server goes on."""
    url, accept = f"{site.url}/mcp", {"accept": "application/json, text/event-stream"}
    json_type = {"content-type": "application/json"}

    async def status(content: bytes, **headers: str) -> int:
        return (await http.post(url, content=content, headers=accept | json_type | headers)).status_code

    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert await status(b"\xff\xfe{") == 400
    assert await status(b"[" * 100_000) == 400
    assert await status(json.dumps({**request, "method": 7}).encode()) == 400
    with suppress(httpx.TransportError):  # the connection may be closed before all was sent
        assert await status(json.dumps(request | {"params": {"x": LARGE}}).encode()) == 413
    assert await status(json.dumps(request).encode(), origin="http://evil.example") == 403
    assert await status(json.dumps(request).encode(), **{"content-type": "text/plain"}) == 415
    assert (await http.get(url, headers=accept)).status_code == 405
    assert (await http.request("DELETE", url)).status_code == 405
    assert await status(json.dumps(request).encode()) == 200
    half = request | {"method": "tools/call", "params": {"name": "send_message", "arguments": {"chat": chat.key}}}
    assert await status(json.dumps(half).replace('"}}', '", "content": "half \\ud83d"}}').encode()) == 200
    await chat.idle()
    assert (await chat.entries())[0]["content"] == "half \ufffd"


async def test_chats_of_others(start_gateway: StartGateway, http: httpx.AsyncClient) -> None:
    """With sign-in a client reaches its own chats only, without a token nothing; its first chat is its own."""
    url, _ = await start_gateway(WEB_TOKENS=f"alice:{ALICE},bob:{BOB}", OFFLINE_PACE_S="0")
    answer = await http.post(f"{url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    chat = f"alice:{uuid.uuid4().hex[:8]}"
    async with client(url, token=ALICE) as alice, client(url, token=BOB) as bob:
        began = time.monotonic()
        sent = await use(alice, "send_message", chat=chat, content="secret", wait_s=60)
        assert sent["reply"]
        assert time.monotonic() - began < 30  # the turn runs in another process than this gateway
        for tool, arguments in {
            "send_message": {"content": "x"},
            "get_status": {},
            "get_history": {},
            "stop": {},
            "resolve_approval": {"call_id": "c", "approval_id": "1-a", "decision": "approve"},
        }.items():
            assert await refused(bob, tool, chat=chat, **arguments) == "This is not allowed."
        assert chat not in json.dumps(await use(bob, "list_chats"))
        assert chat in json.dumps(await use(alice, "list_chats"))
        assert "secret" not in json.dumps(await use(bob, "get_history"))
