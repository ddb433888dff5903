"""Who may use the protocols: foreign chats are out of reach, and streams end well with the service."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.protocols.conftest import Site
from tests.support.agui_client import NodeClients
from tests.support.chat import Chat
from tests.support.llm_server import Gate, Plan
from tests.support.process import free_port
from tests.support.service import Service

ALICE, BOB = "token-of-alice-0123456789abcdef", "token-of-bob-0123456789abcdef"

StartGateway = Callable[..., Awaitable[tuple[str, Service]]]


@pytest_asyncio.fixture
async def start_gateway(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartGateway]:
    """`await start_gateway(WEB_RATE="1")`: another gateway before the same chats; its URL and its process."""
    services: list[Service] = []

    async def start(**env: str) -> tuple[str, Service]:
        port = free_port()
        settings = site.restate.settings | {"WEB_PORT": str(port), **env}
        service = Service(tmp_path_factory.mktemp("gateway"), **settings)
        services.append(service)
        await service.start()
        return f"http://127.0.0.1:{port}", service

    yield start
    for service in services:
        service.kill9()


def run_input(chat: str, content: str = "hi") -> dict[str, Any]:
    return {"threadId": chat, "runId": "run", "messages": [{"id": f"m-{content}", "role": "user", "content": content}]}


def as_user(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_chats_of_others(start_gateway: StartGateway, http: httpx.AsyncClient) -> None:
    """Nobody watches, runs, connects to or stops a chat of another user; without a token nobody does anything."""
    url, _ = await start_gateway(WEB_TOKENS=f"alice:{ALICE},bob:{BOB}")
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/chats/alice/events", None),
        ("POST", "/agent/default/run", run_input("alice")),
        ("POST", "/agent/default/connect", run_input("alice:work")),
        ("POST", "/agent/default/stop/alice", {}),
    ]
    for method, path, body in requests:
        foreign = await http.request(method, url + path, json=body, headers=as_user(BOB))
        unknown = await http.request(method, url + path, json=body)
        assert (foreign.status_code, unknown.status_code) == (403, 401), path
    for path in ("/info", "/v1/models"):
        assert (await http.get(url + path)).status_code == 401


async def test_a_completion_is_in_a_chat_of_the_caller(start_gateway: StartGateway, http: httpx.AsyncClient) -> None:
    """Ids of a client's chats stand behind the name of the user, so that none is another's."""
    url, _ = await start_gateway(WEB_TOKENS=f"alice:{ALICE},bob:{BOB}")
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}
    headers = as_user(BOB) | {"x-chat-id": "alice"}
    answer = await http.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    entries = await http.get(f"{url}/chats/bob%3Aalice", headers=as_user(BOB))
    assert [entry["content"] for entry in entries.json()["entries"]][:1] == ["hi"]
    assert (await http.get(f"{url}/chats/alice", headers=as_user(ALICE))).json()["entries"] == []


async def test_the_official_client_signs_in(start_gateway: StartGateway, chat: Chat) -> None:
    """An AG-UI client sends its token as a header, and reaches its own chats."""
    url, _ = await start_gateway(WEB_TOKENS=f"alice:{ALICE}")
    async with NodeClients("1", url, ALICE) as clients:
        await clients.ask("open", thread=f"alice:{chat.key}")
        await clients.ask("run", message={"id": "m", "content": "hi"})
        answer = await clients.ask("wait")
    assert answer["error"] is None
    assert answer["messages"][-1]["content"] == "answer to: hi"


async def test_an_unknown_agent(site: Site, http: httpx.AsyncClient) -> None:
    """There is one agent; another id is 404 with its name."""
    answer = await http.post(f"{site.url}/agent/other/run", json=run_input("nobody"))
    assert (answer.status_code, "'default'" in answer.json()["error"]["message"]) == (404, True)


async def test_info(site: Site, http: httpx.AsyncClient) -> None:
    """What CopilotKit asks first: the agents, and that it is to use server-sent events."""
    info = (await http.get(f"{site.url}/info")).json()
    assert (list(info["agents"]), info["mode"]) == (["default"], "sse")
    assert info["agents"]["default"]["capabilities"]["tools"]["clientProvided"] is False


async def test_the_service_ends(start_gateway: StartGateway, chat: Chat, http: httpx.AsyncClient) -> None:
    """A service that is asked to end closes its streams with a terminal event, and is gone within seconds."""
    url, service = await start_gateway()
    gate = Gate()
    chat.script(Plan(text=["the answer"], gate=gate))
    seen: list[dict[str, Any]] = []

    async def watch() -> None:
        async with http.stream("POST", f"{url}/agent/default/run", json=run_input(chat.key), timeout=30) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))

    watching = asyncio.create_task(watch())
    await chat.asked(1)
    async with asyncio.timeout(10):
        assert await service.terminate(signal.SIGTERM) == 0
        await watching
    assert (seen[-1]["type"], seen[-1]["code"]) == ("RUN_ERROR", "ending")
    gate.open()
    await chat.idle()
