"""The application with the tools of tests/support/tooled_main.py, on a server of its own that a test may kill."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.conftest import SETTINGS
from tests.support import tooled_main
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import LLMServer, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[False, True], ids=["normal", "always-replay"])
async def acting_server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server for the whole folder, once as it is and once where every wait is a replay."""
    folder = tmp_path_factory.mktemp("restate")
    async with RestateServer(restate_binary, folder, always_replay=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def acting(
    acting_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator["Acting"]:
    """The application, registered at the server."""
    settings = SETTINGS | acting_server.settings | {"OPENAI_BASE_URL": llm_server.url, "TOOL_CONCURRENCY": "8"}
    folder = tmp_path_factory.mktemp("service")
    async with acting_server.serving(Acting(folder, Path(tooled_main.__file__), **settings)) as service:
        yield service


@pytest_asyncio.fixture
async def hasty(
    actor: "Actor", acting: "Acting", acting_server: RestateServer, llm_server: LLMServer, tmp_path: Path
) -> AsyncIterator["Actor"]:
    """The chat where approvals expire at once: another deployment runs its turns."""
    settings = SETTINGS | acting_server.settings | {"OPENAI_BASE_URL": llm_server.url, "APPROVAL_TIMEOUT_S": "0.5"}
    async with acting_server.serving(Acting(tmp_path, Path(tooled_main.__file__), **settings)) as actor.service:
        yield actor
        await acting_server.register(acting.url)


@pytest_asyncio.fixture
async def actor(acting_server: RestateServer, acting: "Acting", llm_server: LLMServer) -> AsyncIterator["Actor"]:
    """A fresh chat of that application; what holds in every test is checked at the end."""
    llm_server.script = echo
    llm_server.faults.clear()
    async with local_http() as http:
        chat = Actor(acting_server, llm_server, http, f"acting-{uuid.uuid4().hex[:12]}")
        chat.service = acting
        yield chat
        await chat.close()


class Acting(Service):
    """The application with its ledger."""

    def __init__(self, folder: Path, main: Path, /, **env: str) -> None:
        super().__init__(folder, main, **env)
        self._ledger = folder / "ledger"

    def ledger(self) -> list[str]:
        """Return what the steps of its tools have done, in order."""
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    def enter(self, line: str) -> None:
        """Write what one of its tools waits for."""
        with self._ledger.open("a") as ledger:
            ledger.write(f"{line}\n")


class Actor(Chat):
    """A chat of the application with more tools."""

    service: Acting

    async def waits(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many tool calls wait for approval; return what the status shows of them."""

        async def waiting() -> list[dict[str, Any]]:
            approvals = [a for turn in (await self.status())["open_turns"] for a in turn.get("approvals", [])]
            assert len(approvals) == count, approvals
            return approvals

        return await eventually(waiting)

    async def decide(self, approval: dict[str, Any], decision: str, **fields: object) -> dict[str, Any]:
        """Say what a person decides; return the answer."""
        ids = {name: approval[name] for name in ("call_id", "approval_id")}
        answer: dict[str, Any] = await self.call("resolve_approval", **ids, decision=decision, **fields)
        return answer

    def did(self, line: str) -> int:
        """Return how often the ledger has a line."""
        return self.service.ledger().count(line)

    async def results(self) -> list[tuple[str, str]]:
        """Return outcome and content of each tool call."""
        return [(entry["outcome"], entry["content"]) for entry in await self.entries() if entry["role"] == "tool"]
