"""A service of one's own: `Restack().start_service(…)` in a script."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.background import Restack
from app.errors import NotFound
from app.hosting.stack import ROOT
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port
from tests.support.restate_server import RestateServer

SCRIPT = """
import asyncio
from app.background import Restack, agent, function

@function.defn()
async def greet(name: str) -> str:
    return f"Hello, {name}!"

@agent.defn()
class Greeter:
    @agent.run
    async def run(self, name: str) -> str:
        return await agent.step(greet, name)

asyncio.run(Restack().start_service(agents=[Greeter], functions=[greet]))
"""


@asynccontextmanager
async def own_service(server: RestateServer, folder: Path, **env: str) -> AsyncIterator[str]:
    """Run the script, which serves at the URL that this gives; SIGTERM ends it."""
    script = folder / "greeter.py"
    script.write_text(SCRIPT)
    port = free_port()
    variables = bare_environment(
        PYTHONPATH=str(ROOT),
        PORT=str(port),
        RESTATE_ADMIN_URL=server.admin_url,
        RESTATE_INGRESS_URL=server.ingress_url,
        **env,
    )
    process = Process([sys.executable, str(script)], env=variables, cwd=folder, log=folder / "greeter.log")
    process.start()
    try:
        url = f"http://127.0.0.1:{port}"
        await process.answers(f"{url}/health")
        yield url
        assert await process.end() == 0
    finally:
        process.kill9()


async def test_start_service_serves_and_registers(own_restate_server: RestateServer, tmp_path: Path) -> None:
    """`start_service` serves agents and functions at PORT and registers them; SIGTERM ends it."""
    async with (
        own_service(own_restate_server, tmp_path),
        Restack(ingress_url=own_restate_server.ingress_url) as client,
    ):

        async def scheduled() -> str:
            try:
                return await client.schedule_agent("Greeter", "g1", "Ada")
            except NotFound as exc:
                raise AssertionError(exc.message) from exc

        await eventually(scheduled)
        assert await client.get_agent_result("g1") == "Hello, Ada!"
