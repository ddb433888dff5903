"""Calls of an LLM at the same time, and the places for them: seconds of waiting, a thousand connections."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.errors import LLMUnavailable
from app.llm import connect
from tests.support.llm_client import HI, settings_for
from tests.support.llm_server import Gate, LLMServer, Plan
from tests.unit.test_llm_answers import gather

CROWD = 1010


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server
        assert not server.faults


class TestPlaces:
    async def test_no_place_is_not_the_servers_silence(self, server: LLMServer) -> None:
        """A call that gets no place in time says so, and is worth another attempt."""
        llm = connect(settings_for(server.url, llm_max_connections=1, llm_timeout_s=0.3))
        server.script = lambda _: Plan(text=["x"] * 5, gap_s=0.2)
        replies = await gather(llm, 2)
        assert isinstance(replies[1], LLMUnavailable)
        assert "LLM_MAX_CONNECTIONS" in replies[1].message
        assert (await llm.complete(HI)).item.content == "xxxxx"
        assert len(server.requests) == 2
        await llm.aclose()

    async def test_more_than_a_thousand(self, server: LLMServer) -> None:
        """There is no other limit: more calls than the 1000 of the SDK's pool are under way at the same time."""
        gate = Gate()
        server.script = lambda _: Plan(gate=gate)
        llm = connect(settings_for(server.url))
        with open_files(3 * CROWD):
            calls = asyncio.gather(*(llm.complete(HI) for _ in range(CROWD)))
            await server.until(lambda: len(server.requests) == CROWD, 30)
            gate.open()
            assert {reply.item.content for reply in await calls} == {"Hello there."}
            await llm.aclose()


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Let this process have `count` files and connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"at most {hard} connections are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
