"""The agents of `agents.py` as a subprocess on the shared servers, and a client; each test has a fresh agent_id."""

import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.background import Restack
from app.hosting.stack import ROOT
from app.settings import get_settings
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

_ids = itertools.count(1)


class Agents:
    """The service, its client, and what its functions did for the agent of this test, `agent_id`."""

    def __init__(self, server: RestateServer, folder: Path, *arguments: str) -> None:
        port = free_port()
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.client = Restack(ingress_url=server.ingress_url)
        self.agent_id = ""
        self._actions = folder / "actions.log"
        self._actions.touch()
        self.process = Process(
            [sys.executable, "-m", "tests.integration.background.agents", str(port), *arguments],
            env=bare_environment(
                ACTIONS_LOG=str(self._actions),
                HANDLER_GRACE_S="2",  # long enough for what finishes, short enough to see what does not
                MAX_EVENT_CHARS="100000",
                PYTHONUNBUFFERED="1",
                **server.settings,
            ),
            cwd=ROOT,
            log=folder / "agents.log",
        )

    async def start(self) -> None:
        self.process.start()
        await self.process.answers(f"{self.url}/health")

    def kill9(self) -> None:
        self.process.kill9()

    async def crash(self) -> None:
        """kill -9, and start again."""
        self.kill9()
        await self.start()

    async def run(self, agent_name: str, agent_input: Any = None) -> Any:
        """Start the agent and return its result."""
        await self.client.schedule_agent(agent_name, self.agent_id, agent_input)
        return await self.client.get_agent_result(self.agent_id)

    async def ended(self, agent_id: str) -> str:
        """Wait for the end of an agent; return its status."""

        async def status() -> str | None:
            found = (await self.client.describe_agent(agent_id)).status
            return None if found == "running" else found

        return await eventually(status) or ""

    @property
    def actions(self) -> list[str]:
        """What the functions of this test did, in order, without the agent_id."""
        lines = [line.split() for line in self._actions.read_text().splitlines()]
        return [" ".join(word for word in words if word != self.agent_id) for words in lines if self.agent_id in words]

    @property
    def all_actions(self) -> list[str]:
        """What the functions of all tests did."""
        return self._actions.read_text().splitlines()

    async def did(self, what: str) -> None:
        await eventually(lambda: what in self.actions)

    def log(self) -> str:
        """The lines of the service's log that name the agent."""
        return "\n".join(line for line in self.process.log().splitlines() if self.agent_id in line.split())


async def invocation(server: RestateServer, invocation_id: str) -> dict[str, Any]:
    """Return what the server knows of an invocation."""
    (row,) = await server.query(f"SELECT * FROM sys_invocation WHERE id = '{invocation_id}'")  # noqa: S608 - our own id
    return row


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def own_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for one module, whose deployment would take over the functions of the other tests' agents."""
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("restate"), always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agents_service(restate_server: RestateServer, tmp_path_factory: Any) -> AsyncIterator[Agents]:
    """The agents, registered at the server."""
    get_settings.cache_clear()
    async with restate_server.serving(Agents(restate_server, tmp_path_factory.mktemp("agents"))) as agents:
        yield agents


@pytest_asyncio.fixture
async def agents(agents_service: Agents) -> AsyncIterator[Agents]:
    """The agents, running, with a fresh agent_id."""
    agents_service.agent_id = f"agent{next(_ids)}"
    if agents_service.process.exit_code is not None:
        await agents_service.start()
    await agents_service.server.register(agents_service.url)  # another deployment may have taken what agents share
    async with agents_service.client:
        yield agents_service
