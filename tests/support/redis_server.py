"""A real redis-server for tests: without a disk, on a port of its own."""

import os
import shutil
import signal
from pathlib import Path

import redis.asyncio as redis

from tests.support.eventually import eventually
from tests.support.missing import missing
from tests.support.process import Process, bare_environment, free_port


def find_redis_server() -> str:
    """Return the path of redis-server or valkey-server; without one the test is skipped on a laptop, fails in CI."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        missing("no redis-server: Debian and Ubuntu have it in the package redis-server")
    return found


class RedisServer:
    """A server that can be killed, stopped and started again on the same port; it forgets all when it ends."""

    def __init__(self, folder: Path, *options: str) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [find_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
        self._process = Process(command, env=bare_environment(), cwd=folder, log=folder / "redis.log")

    async def start(self) -> None:
        self._process.start()

        async def answers() -> bool:
            try:
                await self.do("PING")
            except redis.AuthenticationError:
                return True
            except redis.RedisError:
                return False
            return True

        await eventually(answers)

    async def do(self, *command: str) -> object:
        """Carry out a command."""
        async with redis.from_url(self.url) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    def hang(self) -> None:
        """Let it answer no more, with its connections open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill9(self) -> None:
        self._process.kill9()
