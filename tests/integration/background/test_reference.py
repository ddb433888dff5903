"""Every code block of the reference runs, with only its import lines changed, and does what its text says."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.background import Restack
from app.hosting.stack import ROOT
from app.settings import get_settings
from tests.integration.background import reference
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

if not reference.REFERENCE.exists():
    if os.environ.get("CI"):
        raise FileNotFoundError(f"{reference.REFERENCE} is needed in CI")
    pytest.skip(f"{reference.REFERENCE} is not here", allow_module_level=True)

BLOCKS = reference.blocks()


def named(text: str) -> str:
    """Return the name of the agent of the block that holds `text`."""
    return next(f"Block{n}" for n, block in enumerate(BLOCKS) if text in block)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(own_server: RestateServer, tmp_path_factory: Any) -> AsyncIterator[Process]:
    """The agents of the reference, registered at the server."""
    folder = tmp_path_factory.mktemp("reference")
    reference.write_sources(folder)
    port = free_port()
    process = Process(
        [sys.executable, "-m", "tests.integration.background.reference", str(port)],
        env=bare_environment(
            SOURCES=str(folder),
            **own_server.settings,
        ),
        cwd=ROOT,
        log=folder / "service.log",
    )
    try:
        process.start()
        await process.answers(f"http://127.0.0.1:{port}/health")
        await own_server.register(f"http://127.0.0.1:{port}")
        yield process
    finally:
        process.kill9()


@pytest_asyncio.fixture
async def client(own_server: RestateServer, service: Process) -> AsyncIterator[Restack]:  # noqa: ARG001 - must run
    async with Restack(ingress_url=own_server.ingress_url) as client:
        yield client


async def run(client: Restack, name: str, agent_input: Any = None) -> Any:
    """Run an agent to its end."""
    await client.schedule_agent(name, f"reference-{name}", agent_input)
    return await client.get_agent_result(f"reference-{name}")


FRAGMENTS = [n for n, block in enumerate(BLOCKS) if not reference.is_class(block) and not reference.is_client(block)]


@pytest.mark.parametrize("number", FRAGMENTS)
async def test_fragment(client: Restack, number: int) -> None:
    """A block that is no class runs inside an agent."""
    assert await run(client, f"Block{number}") == "went through"


@pytest.mark.parametrize(
    ("text", "agent_input", "result"),
    [
        ("class MyAgent:\n    @agent.run\n    async def run(self):\n        pass", None, None),
        ('# Main logic here\n        return {"status": "complete"}', None, {"status": "complete"}),
        ("function=send_email", None, "sent to user@example.com"),
        ("checkpoint", None, None),
        ("workflow=analyze_data", None, {"rows": 9}),
        ('log.critical("Fatal error")', {"any": "thing"}, None),
    ],
)
async def test_class_runs_to_its_end(client: Restack, text: str, agent_input: Any, result: Any) -> None:
    """The `run` of a block returns what its text says."""
    assert await run(client, named(text), agent_input) == result


async def test_events(client: Restack) -> None:
    """Events have the names of fields, change state and return values; an agent without `run` handles them for ever."""
    name = named("Receive new messages")
    await client.schedule_agent(name, "reference-events")
    messages = [{"role": "user", "content": "hello"}]
    sent = client.send_agent_event("messages", "reference-events", event_input=messages, wait_for_completion=True)
    assert await sent == messages
    assert await client.send_agent_event("end", "reference-events", wait_for_completion=True) is True
    assert await client.send_agent_event("end", "reference-events", wait_for_completion=True) is True
    await client.cancel_agent("reference-events")


async def test_agents_that_wait(client: Restack) -> None:
    """The blocks that wait for `self.end`, and the one with state only, wait without an end."""
    for text in ("# Wait until end flag is set", "# Wait for end signal or restart trigger", "self.completed = 0\n```"):
        found = [f"Block{n}" for n, block in enumerate(BLOCKS) if text.removesuffix("```") in block]
        await client.schedule_agent(found[0], f"waiting-{found[0]}")
        assert (await client.describe_agent(f"waiting-{found[0]}")).status == "running"
        await client.terminate_agent(f"waiting-{found[0]}")


async def test_child_start(client: Restack) -> None:
    """A started child has a handle with its id and run."""
    result = await run(client, named("await agent.child_start("))
    assert result["child_handle"]["id"].startswith("ChildAgent-")
    assert result["child_handle"]["run_id"].startswith("inv_")


async def test_uuid_and_info(client: Restack) -> None:
    """`agent.uuid()` gives an id, `agent.agent_info()` says who the agent is."""
    name = named("info = agent.agent_info()")
    info = await run(client, name)
    assert (info["agent_id"], info["task_queue"]) == (f"reference-{name}", "restack")
    assert len(await run(client, named("task_id = agent.uuid()"))) == 36


async def test_complete_example(client: Restack, own_server: RestateServer, monkeypatch: Any) -> None:
    """The scheduling example starts the TaskProcessor, configures it and gives it a task; it shuts down when told."""
    monkeypatch.setenv("RESTATE_INGRESS_URL", own_server.ingress_url)
    get_settings.cache_clear()
    block = next(block for block in BLOCKS if reference.is_client(block))
    run_id = await reference.execute(block, "reference_client")["start_agent"]()
    get_settings.cache_clear()
    (started,) = [agent for agent in await client.list_agents("TaskProcessor") if agent.run_id == run_id]
    task = {"id": "task-002"}
    await client.send_agent_event("add_task", started.agent_id, event_input=task)

    async def shut_down() -> Any:
        await client.send_agent_event("shutdown", started.agent_id)
        return await client.get_agent_result(started.agent_id)

    result = await shut_down()
    assert result["status"] == "shutdown"
    assert result["completed"] <= 2
