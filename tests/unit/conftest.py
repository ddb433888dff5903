"""A fake LLM server for the tests of its client, and a short way for the garbage collector."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest

from app.llm import LLM, connect
from tests.support.fake_engine import Engine
from tests.support.llm_client import settings_for
from tests.support.llm_server import LLMServer


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect() -> Iterator[None]:
    """Tests that collect garbage, hundreds of times, look at their own; a long run has millions of other objects.

    What a module leaves behind is collected before the next one: if the garbage says a word, its last test fails.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine whose attempt is ended with the test, as `run_durably` does."""
    engine = Engine()
    yield engine
    engine.loop.close_abandoned()


@pytest.fixture(scope="session")
def running_server() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest.fixture
def server(running_server: LLMServer) -> Iterator[LLMServer]:
    """The server, with an empty log."""
    running_server.requests.clear()
    yield running_server
    assert not running_server.faults


@pytest.fixture
async def llm(server: LLMServer) -> AsyncIterator[LLM]:
    """A client of the server."""
    llm = connect(settings_for(server.url))
    yield llm
    await llm.aclose()
