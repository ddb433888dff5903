"""The application with its gateway, an LLM server of the test, and a fresh chat for every test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support import tooled_main
from tests.support.chat import Chat
from tests.support.llm_server import LLMServer, echo
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

SETTINGS = {"OPENAI_API_KEY": "test-key", "TASK_DURATION_S": "0.2", "LLM_ATTEMPTS": "2", "LLM_TIMEOUT_S": "5"}


@dataclass
class Site:
    """The application as clients see it: `url` is the gateway's."""

    url: str
    restate: RestateServer
    llm: LLMServer
    service: Service


@pytest.fixture(scope="session")
def llm_server() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(
    restate_binary: str, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """The application and its gateway, registered at a server of this folder."""
    web_port = free_port()
    files = {"FILES_DIR": str(tmp_path_factory.mktemp("files"))}
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("restate")) as restate:
        settings = SETTINGS | files | restate.settings | {"OPENAI_BASE_URL": llm_server.url, "WEB_PORT": str(web_port)}
        folder = tmp_path_factory.mktemp("service")
        async with restate.serving(Service(folder, Path(tooled_main.__file__), **settings)) as service:
            yield Site(f"http://127.0.0.1:{web_port}", restate, llm_server, service)


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with local_http() as http:
        yield http


@pytest_asyncio.fixture
async def chat(site: Site, http: httpx.AsyncClient) -> AsyncIterator[Chat]:
    """A fresh chat whose LLM echoes until told otherwise; what holds in every test is checked at the end."""
    site.llm.script = echo
    site.llm.faults.clear()
    chat = Chat(site.restate, site.llm, http, f"test-{uuid.uuid4().hex[:12]}")
    yield chat
    await chat.close()
