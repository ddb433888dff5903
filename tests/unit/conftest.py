"""A fake LLM server for the tests of its client, and a short way for the garbage collector."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest

from app.llm import LLM, connect
from tests.support.llm_client import settings_for
from tests.support.llm_server import LLMServer


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect() -> None:
    """Tests that collect garbage, hundreds of times, look at their own; a long run has millions of other objects."""
    gc.collect()
    gc.freeze()


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
