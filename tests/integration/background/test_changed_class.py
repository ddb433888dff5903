"""Deploying another version of a class while its agents run."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from app.background import Restack
from app.background.engine.standstill import WAYS_OUT_OF_CHANGE, Standstill
from app.errors import Conflict
from app.hosting.stack import ROOT
from tests.integration.background.conftest import invocation
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

SOURCE = '''
import asyncio, sys
import restate
from app.background import agent, condition, services
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped

@agent.defn()
class Evolving:
    """{docstring}"""

    def __init__(self):
        self.names = []

    @agent.event
    async def add(self, name: str):
        self.names.append({expression})
        return self.names

    @agent.state
    def all_names(self):
        return self.names

    @agent.run
    async def run(self):
        await condition(lambda: len(self.names) > 9)

app = restate.app(services(agents=[Evolving]))
asyncio.run(serve_until_stopped(app, Place("127.0.0.1", int(sys.argv[1]), "PORT")))
'''

Deploy = Callable[..., Process]


@pytest_asyncio.fixture(params=[False, True], ids=["normal", "always-replay"])
async def server(
    request: pytest.FixtureRequest, restate_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestateServer]:
    """A server of its own: on a shared one, this deployment would take the services that all agents share."""
    async with RestateServer(restate_binary, tmp_path_factory.mktemp("restate"), always_replay=request.param) as server:
        yield server


@pytest.fixture
def deploy(server: RestateServer, tmp_path: Path, request: pytest.FixtureRequest) -> Deploy:
    """`deploy(port, expression="name")` starts that version of the class, in place of the last one."""
    running: list[Process] = []

    def start(port: int, *, expression: str = "name", docstring: str = "Evolves.") -> Process:
        for process in running:
            process.kill9()
        source = tmp_path / "evolving.py"
        source.write_text(SOURCE.format(expression=expression, docstring=docstring))
        env = bare_environment(PYTHONPATH=str(ROOT), RESTATE_ADMIN_URL=server.admin_url, INACTIVITY_TIMEOUT_S="none")
        log = tmp_path / f"{len(running)}.log"
        process = Process([sys.executable, str(source), str(port)], env=env, cwd=tmp_path, log=log)
        running.append(process)
        request.addfinalizer(process.kill9)
        process.start()
        return process

    return start


async def says_that_it_is_blocked(client: Restack) -> None:
    """Who describes the agent, asks it or waits for it hears of it within seconds."""

    async def blocked() -> Standstill | None:
        return (await client.describe_agent("evolving")).blocked

    found = await eventually(blocked)
    assert found is not None
    assert "was begun by another version of class Evolving" in found.why
    assert (found.ways_out, found.for_good) == (WAYS_OUT_OF_CHANGE, True)
    async with asyncio.timeout(15):
        with pytest.raises(Conflict, match=r"'add' was accepted as number 4 and waits. Agent .* Deploy the old code"):
            await client.send_agent_event("add", "evolving", event_input="d", wait_for_completion=True)
        with pytest.raises(Conflict, match=r"was begun by another version of class Evolving .* Deploy the old code"):
            await client.get_agent_state("evolving", "all_names")


async def test_changed_class_is_not_replayed(server: RestateServer, deploy: Deploy) -> None:
    """A run that was begun by other code stands still with a sentence that says what to do, and goes on with the old
    code; comments and docstrings do not count."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await deploy(port).answers(f"{url}/health")
    await server.register(url)
    async with Restack(ingress_url=server.ingress_url) as client:
        run_id = await client.schedule_agent("Evolving", "evolving")
        add = partial(client.send_agent_event, "add", "evolving", wait_for_completion=True)
        assert await add(event_input="a") == ["a"]
        await deploy(port, docstring="Evolves, slowly.").answers(f"{url}/health")
        assert await add(event_input="b") == ["a", "b"]

        changed = deploy(port, expression="name.upper()")
        await changed.answers(f"{url}/health")
        await client.send_agent_event("add", "evolving", event_input="c")

        async def reported() -> bool:
            text = str((await invocation(server, run_id)).get("last_failure"))
            assert "was begun by another version of class Evolving" in text
            return "terminate_agent and schedule it again" in text

        await eventually(reported, timeout_s=20)
        await says_that_it_is_blocked(client)

        await deploy(port).answers(f"{url}/health")
        assert await add(event_input="e") == ["a", "b", "c", "d", "e"]
        assert (await client.describe_agent("evolving")).blocked is None
        await client.terminate_agent("evolving")
