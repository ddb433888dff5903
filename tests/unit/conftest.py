"""A fake LLM server for the tests of its client, and what keeps hundreds of tests within seconds."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

from app.llm import LLM, connect
from tests.support.fake_engine import Engine
from tests.support.llm_client import settings_for
from tests.support.llm_server import LLMServer

# A few inputs, the same each time; `--hypothesis-profile=many`, as in tests/exhaustive, gives many others.
settings.register_profile("many", max_examples=500, deadline=None)
settings.register_profile("few", max_examples=20, deadline=None, derandomize=True)
if settings.get_current_profile_name() != "many":  # which the option has loaded by now
    settings.load_profile("few")


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect() -> Iterator[None]:
    """Tests that collect garbage, hundreds of times, look at their own; a long run has millions of other objects.

    What a module leaves is collected at its end: a coroutine that was never awaited, or an exception in a destructor,
    is an error at the module's last test.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients read no certificates: a hundred of them take 28 ms each to load what no test here needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no_certificates")))
        yield


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


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine whose attempt is ended with the test, as `run_durably` does."""
    engine = Engine()
    yield engine
    engine.loop.close_abandoned()
