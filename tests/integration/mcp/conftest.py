"""A restate-server, the service with MCP servers, and a scripted LLM, all of the test's own: it may kill them."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.chat import Chat
from tests.support.llm_server import LLMServer, echo
from tests.support.mcp_servers import hostile, settings_file
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service


@pytest.fixture(scope="package")
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def restate(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server apart from that of the other tests, whose application has no MCP servers."""
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("mcp"), always_replay=request.param) as server:
        yield server


@dataclass
class Bench:
    """A chat whose service has the hostile server `bad`, which writes its notes into `folder`."""

    chat: Chat
    service: Service
    folder: Path
    settings: Path


@pytest_asyncio.fixture
async def bench(restate: RestateServer, llm: LLMServer, tmp_path: Path) -> AsyncIterator[Bench]:
    folder = tmp_path / "bad"
    settings = settings_file(tmp_path, bad=hostile(folder))
    env = (
        restate.settings
        | {"OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "k", "MCP_SERVERS": str(settings)}
        | {"TOOL_CONCURRENCY": "2"}
    )
    llm.script = echo
    llm.faults.clear()
    async with restate.serving(Service(tmp_path, **env)) as service, local_http() as http:
        chat = Chat(restate, llm, http, f"mcp-{uuid.uuid4().hex[:12]}")
        yield Bench(chat, service, folder, settings)
        await chat.close()
