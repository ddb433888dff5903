"""A contender: one implementation of the chat between a Restate server and a stub LLM of its own, and its client.

The client is the same for all: it knows `process_user_message` and `get_chat_history`, and what both mean everywhere.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.bench.messages import answer_to, message, plan_for
from tests.bench.usage import cpu_seconds
from tests.support.llm_server import LLMRequest, LLMServer
from tests.support.process import Process, free_port, local_http
from tests.support.restate_server import RestateServer

PATIENCE_S = 60
WARM_UP = 20


@dataclass(frozen=True)
class Look:
    """How to wait for an answer: seconds between two looks at the history, and the page of it; only ours has pages."""

    every_s: float
    page: dict[str, int] | None = None


CLOSELY = Look(0.001)  # where one turn is timed
NOW_AND_THEN = Look(0.05)  # where many run: 32 chats that look every 10 ms would do little else


@dataclass(frozen=True)
class Surroundings:
    """Where a service runs: its port, its folder, and who is around it."""

    folder: Path
    port: int
    llm_url: str
    admin_url: str


Launcher = Callable[[Surroundings], Process]


@dataclass(frozen=True)
class Turn:
    """Seconds from the message to the LLM request (None without an LLM), and to the answer in the history."""

    asked_s: float | None
    whole_s: float


class Contender:
    """One implementation, running."""

    def __init__(
        self, http: httpx.AsyncClient, restate: RestateServer, service: Process, llm: LLMServer, *, asks_llm: bool
    ) -> None:
        self._http = http
        self.restate = restate
        self.service = service
        self.llm = llm
        self.asks_llm = asks_llm
        self._count = itertools.count()

    def new_token(self) -> str:
        return f"bench-{next(self._count)}"

    async def new_chats(self, count: int, *, turns: int = 1) -> list[str]:
        """Return the keys of chats that already had so many turns."""
        keys = [self.new_token() for _ in range(count)]
        for key in keys:
            for _ in range(turns):
                await self.turn(key)
        return keys

    async def turn(self, key: str, text: str | None = None, look: Look = CLOSELY) -> Turn:
        """Have a turn, with a short message if no other is given; return how long it took."""
        text = text or message(self.new_token())
        began = time.monotonic()
        await self.say(key, text)
        await self.answered(key, text, look)
        whole_s = time.monotonic() - began
        if not self.asks_llm:
            return Turn(None, whole_s)
        return Turn((await self.request_with(text)).arrived_at - began, whole_s)

    async def say(self, key: str, text: str, **fields: str) -> None:
        """Send a message; return when it is accepted."""
        await self.call(key, "process_user_message", {"role": "user", "content": text, **fields})

    async def answered(self, key: str, text: str, look: Look = CLOSELY) -> None:
        """Look at the history until it ends with the whole answer to a message."""
        answer, deadline = answer_to(text), time.monotonic() + PATIENCE_S
        while True:
            entries = (await self.call(key, "get_chat_history", look.page))["entries"]
            last = entries[-1] if entries else {}
            if last.get("content") == answer and last.get("status", "completed") == "completed":
                return
            assert time.monotonic() < deadline, f"no answer to {text[-60:]!r}; the history ends with {str(last)[-300:]}"
            await asyncio.sleep(look.every_s)

    async def call(self, key: str, handler: str, body: object = None) -> Any:
        """Call a handler of the chat, as a client does."""
        url = f"/ChatService/{key}/{handler}"
        answer = await (self._http.post(url) if body is None else self._http.post(url, json=body))
        assert answer.is_success, f"{handler}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def request_with(self, text: str) -> LLMRequest:
        """Return the newest LLM request that ends with a message, once it is there."""

        def find() -> LLMRequest | None:
            newest = reversed(self.llm.requests[-100:])
            return next((request for request in newest if request.user_texts[-1].endswith(text)), None)

        await self.llm.until(lambda: find() is not None, PATIENCE_S)
        found = find()
        assert found is not None
        return found

    async def aborted(self, request: LLMRequest) -> float:
        """Wait until the client of an LLM request has gone; return when."""
        await self.llm.until(lambda: request.disconnected_at is not None, PATIENCE_S)
        assert request.disconnected_at is not None
        return request.disconnected_at

    def cpu_s(self) -> float:
        """Return the CPU time that the service and its Restate server have used."""
        return cpu_seconds(self.service.pid) + cpu_seconds(self.restate.process.pid)


@asynccontextmanager
async def running(launch: Launcher, binary: str, folder: Path, *, asks_llm: bool = True) -> AsyncIterator[Contender]:
    """Run a contender in a folder of its own and warm it up: imports, connections, caches."""
    restate = RestateServer(binary, folder)
    with LLMServer(plan_for) as llm:
        place = Surroundings(folder, free_port(), llm.url, restate.admin_url)
        service = launch(place)
        try:
            await restate.start()
            service.start()
            await _register(restate, service, place.port)
            async with local_http(PATIENCE_S) as http:
                http.base_url = restate.ingress_url
                contender = Contender(http, restate, service, llm, asks_llm=asks_llm)
                await contender.new_chats(WARM_UP)
                yield contender
                assert not llm.faults, llm.faults
        finally:
            service.kill9()
            restate.kill9()


async def _register(restate: RestateServer, service: Process, port: int) -> None:
    """Register a service that may have no way to say that it is up: it is, when it can be registered."""
    try:
        await restate.register(f"http://127.0.0.1:{port}")
    except AssertionError as error:
        raise AssertionError(f"it cannot be registered: {error}; its log:\n{service.log()[-4000:]}") from error
