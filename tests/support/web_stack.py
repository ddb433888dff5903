"""The real stack for clients of the gateway: a Restate server, the application, and a scripted LLM server."""

import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.chat import replies
from tests.support.llm_server import LLMServer, Plan, delta
from tests.support.process import free_port
from tests.support.restate_server import RestateServer
from tests.support.service import MAIN, Service

SETTINGS = {
    "OPENAI_API_KEY": "test-key",
    "TASK_DURATION_S": "0.5",
    "LLM_ATTEMPTS": "3",
    "LLM_TIMEOUT_S": "20",
    "INSTRUCTIONS": "You are under test.",
}


@dataclass(frozen=True)
class Stack:
    """What runs. `url` is where the page is."""

    server: RestateServer
    service: Service
    llm: LLMServer
    url: str

    def script(self, *plans: Plan) -> None:
        """Answer the next requests with `plans`, later ones with an echo of the user texts."""
        self.llm.requests.clear()
        self.llm.script = replies(*plans)


def running_stack(restate: str, folder: Path, llm: LLMServer, **env: str) -> AbstractAsyncContextManager[Stack]:
    """Run a stack on ports and data of its own, with the settings `env`."""
    return running_program(MAIN, restate, folder, llm, **env)


@asynccontextmanager
async def running_program(main: Path, restate: str, folder: Path, llm: LLMServer, **env: str) -> AsyncIterator[Stack]:
    """As `running_stack`, with the file `main` in place of the application's own."""
    port = free_port()
    async with RestateServer(restate, folder) as server:
        settings = SETTINGS | server.settings | {"OPENAI_BASE_URL": llm.url, "WEB_PORT": str(port)} | env
        async with server.serving(Service(folder, main, **settings)) as service:
            url = f"http://127.0.0.1:{port}"
            await service.process.answers(f"{url}/health")
            yield Stack(server, service, llm, url)


class Held:
    """An answer that begins, and goes on when it is let go."""

    def __init__(self, first: Sequence[str], rest: Sequence[str]) -> None:
        self._first, self._rest = first, rest
        self._free = threading.Event()

    @property
    def plan(self) -> Plan:
        return Plan(body=self._body(), gap_s=0.01)

    def let_go(self) -> None:
        self._free.set()

    def _body(self) -> Iterator[bytes]:
        for text in self._first:
            yield _event(delta(content=text))
        while not self._free.is_set():
            yield b": not yet\n\n"
        for text in self._rest:
            yield _event(delta(content=text))
        yield _event(delta(finish_reason="stop"))
        yield b"data: [DONE]\n\n"


def _event(chunk: object) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()
