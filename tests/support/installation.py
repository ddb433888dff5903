"""A whole installation in one folder: a restate-server, the application, and the service of `lasting_agents.py`.

The code is that of any checkout. Starts and stops them, and says how the two services are found; drives nothing.
"""

import asyncio
import sys
from pathlib import Path

from app.hosting.stack import ROOT
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

AGENTS = ROOT / "tests" / "support" / "lasting_agents.py"
DOES_NOT_FIT = ("does not fit", "mismatch", "was begun by another version")  # our words, the SDK's, those of agents


class Installation:
    """The processes in `folder`, which may hold the data of a server already. `settings` are those of both services."""

    def __init__(self, server: RestateServer, folder: Path, checkout: Path, *, host: str, **settings: str) -> None:
        self.server = server
        self.actions = folder / "actions.log"
        self.actions.touch()
        settings |= {"HOST": host, "RESTATE_ADMIN_URL": server.admin_url, "RESTATE_INGRESS_URL": server.ingress_url}
        self._folder, self._checkout, self._settings = folder, checkout, settings
        self.chats = self._application()
        place = f"{host}:{free_port()}"
        self.agents_url = f"http://{place}"
        variables = {"ACTIONS_LOG": str(self.actions), "PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"}
        self.agents = Process(
            [sys.executable, "-P", str(AGENTS), place],
            env=bare_environment(**variables, **settings),
            cwd=folder,
            log=folder / "agents.log",
        )

    def _application(self, **settings: str) -> Service:
        service = Service(self._folder, self._checkout / "app" / "main.py", **self._settings | settings)
        service.url = service.url.replace("127.0.0.1", self._settings["HOST"])
        return service

    async def start(self) -> None:
        self.agents.start()
        await asyncio.gather(self.server.start(), self.chats.start(), self.agents.answers(f"{self.agents_url}/health"))

    async def register(self) -> None:
        """Make both services known; what all agents share is served by that of the agents, which comes last."""
        await self.server.register(self.chats.url)
        await self.server.register(self.agents_url)

    async def take_over(self) -> None:
        """Let what the server knows of both services from before be at their addresses of now, with their code."""
        async with local_http() as http:
            known = (await http.get(f"{self.server.admin_url}/deployments")).json()["deployments"]
            for deployment in known:
                is_chats = "ChatService" in {service["name"] for service in deployment["services"]}
                body = {"uri": self.chats.url if is_chats else self.agents_url, "overwrite": True}
                answer = await http.patch(f"{self.server.admin_url}/deployments/{deployment['id']}", json=body)
                assert answer.is_success, answer.text

    async def restart_chats(self, **settings: str) -> None:
        """Kill the application, and start it at the same address with other settings."""
        self.chats.kill9()
        self.chats = self._application(PORT=str(self.chats.port), **settings)
        await self.chats.start()

    async def stop_services(self) -> None:
        self.agents.kill9()
        await self.chats.terminate()

    def kill9(self) -> None:
        for process in (self.agents, self.chats, self.server):
            process.kill9()

    async def agents_wait(self, *agent_names: str) -> None:
        """Wait until every open run of these classes is suspended."""
        names = ", ".join(f"'{name}'" for name in agent_names)

        async def suspended() -> bool:
            rows = await self.server.query(
                "SELECT id, target_service_name AS service, status FROM sys_invocation "  # noqa: S608 - names of ours
                f"WHERE target_service_name IN ({names}) AND status NOT IN ('completed', 'suspended')"
            )
            assert not rows, rows
            return True

        await eventually(suspended, timeout_s=20, every_s=0.2)


def misfits(log: str) -> list[str]:
    """Return the lines of a service's log that tell of a journal which does not fit its code."""
    return [line for line in log.splitlines() if any(words in line for words in DOES_NOT_FIT)]
