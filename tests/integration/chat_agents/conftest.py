"""The application with the agent of tests/support/agents_main.py, on a server of its own that a test may kill."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.conftest import SETTINGS
from tests.support import agents_main
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMServer, Plan, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

LIMITS = {"CHAT_AGENTS": "Parrot,Nobody", "MAX_CHAT_AGENTS": "2", "MAX_AGENT_MESSAGES": "12"}


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def agents_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for the whole folder, once as it is and once where every wait is a replay."""
    folder = tmp_path_factory.mktemp("restate")
    async with RestateServer(restate_binary, folder, always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def agents_service(
    agents_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The application, registered at the server."""
    settings = SETTINGS | LIMITS | agents_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    folder = tmp_path_factory.mktemp("service")
    async with agents_server.serving(Service(folder, Path(agents_main.__file__), **settings)) as service:
        yield service


@pytest_asyncio.fixture
async def owner(agents_server: RestateServer, agents_service: Service, llm_server: LLMServer) -> AsyncIterator["Owner"]:
    """A fresh chat of that application; what holds in every test is checked at the end."""
    llm_server.script = echo
    llm_server.faults.clear()
    async with local_http() as http:
        chat = Owner(agents_server, llm_server, http, f"owner-{uuid.uuid4().hex[:12]}", agents_service)
        yield chat
        await chat.close()


def asks(*calls: Call) -> Plan:
    """A reply that asks for these calls."""
    return Plan(text=(), calls=calls, finish_reason="tool_calls")


class Owner(Chat):
    """A chat that may have background agents."""

    def __init__(
        self, server: RestateServer, llm: LLMServer, http: httpx.AsyncClient, key: str, service: Service
    ) -> None:
        super().__init__(server, llm, http, key)
        self.service = service
        self._client = http

    async def uses(self, tool: str, **arguments: object) -> tuple[str, str]:
        """Have the LLM call a tool; return outcome and content of the result."""
        return await self.uses_as(tool, json.dumps(arguments))

    async def uses_as(self, tool: str, arguments: str) -> tuple[str, str]:
        """Have the LLM call a tool with the arguments as it wrote them; return outcome and content of the result."""
        self.script(asks(Call(tool, arguments)), Plan(text=["All right."]))
        turn = await self.say(f"use {tool}", "QUEUE")
        await self.idle()
        [entry] = [e for e in await self.entries() if e["role"] == "tool" and e["turn_id"] == turn["turn_id"]]
        return entry["outcome"], entry["content"]

    async def starts(self, name: str = "Polly") -> str:
        """Have the LLM start a parrot; return its id."""
        outcome, content = await self.uses("start_agent", agent="Parrot", input={"name": name})
        assert outcome == "ok", content
        return content.split()[-1]

    async def agents(self) -> list[str]:
        """Return the agents that the status shows."""
        return [agent["agent_id"] for agent in (await self.status()).get("agents", [])]

    async def of_agent(self, handler: str, **body: object) -> Any:
        """Call a handler of the gateway of agents, as an operator does."""
        answer = await self._client.post(f"{self.server.ingress_url}/BackgroundAgents/{handler}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def tells(self, agent_id: str, **saying: object) -> None:
        """Have an agent send messages into its chat."""
        await self.of_agent("send_agent_event", agent_id=agent_id, event_name="say", event_input=saying)

    async def told(self, agent_id: str) -> list[str]:
        """Return what became of the messages that an agent has sent."""
        told: list[str] = await self.of_agent("get_agent_state", agent_id=agent_id, state_name="told")
        return told

    async def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of the agents that this chat has ever started and that are not erased, by id."""
        rows = await self.server.query(
            "SELECT service_key, value_utf8 FROM state WHERE service_name = 'BackgroundAgent' AND key = 'agent'"
        )
        records = {row["service_key"]: json.loads(row["value_utf8"]) for row in rows}
        return {agent_id: record for agent_id, record in records.items() if record.get("chat_key") == self.key}

    async def erased(self) -> None:
        """Wait until nothing is left of the chat and its agents."""

        async def nothing() -> bool:
            left = [*await self.state(), *await self.state("AgentSession"), *await self.records()]
            assert left == []
            return True

        await eventually(nothing)
