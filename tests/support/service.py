"""The application as a subprocess, as users run it."""

import signal
import sys
from pathlib import Path

from app.hosting.stack import ROOT
from tests.support.process import Process, bare_environment, free_port

MAIN = ROOT / "app" / "main.py"


class Service:
    """`python app/main.py` with the settings `env`, on a port of its own; it sees no other settings.

    `main` is another checkout's file.
    """

    def __init__(self, folder: Path, main: Path = MAIN, /, **env: str) -> None:
        self.port = int(env.get("PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        variables = {"PYTHONUNBUFFERED": "1", **env, "PORT": str(self.port)}
        self.process = Process(
            [sys.executable, str(main)],
            env=bare_environment(**variables),
            cwd=folder,
            log=folder / f"service-{self.port}.log",
        )

    async def start(self) -> None:
        self.process.start()
        await self.process.answers(f"{self.url}/health")

    async def terminate(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, as an orchestrator or Ctrl-C does; return the exit code."""
        return await self.process.end(signum)

    def kill9(self) -> None:
        self.process.kill9()

    async def restart(self) -> None:
        """Start again on the same port; if it still runs, it is killed first."""
        self.kill9()
        await self.start()

    def log_lines(self) -> list[str]:
        """Return what it has written since its first start."""
        return self.process.log().splitlines()
