"""A real restate-server for tests: small, on ports of its own, with its data in a folder of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port, local_http


class Startable(Protocol):
    """A service that can be registered at a server: a subprocess at an address."""

    url: str

    async def start(self) -> None:
        """Start it and wait until it answers."""

    def kill9(self) -> None:
        """End it at once, as a crash does."""


S = TypeVar("S", bound=Startable)


class RestateServer:
    """A server that can be killed and started again on the same ports and data.

    With `always_replay` every wait suspends the invocation, so that all it does passes through a replay. `env` are
    settings of its own.
    """

    def __init__(self, binary: str, folder: Path, *, always_replay: bool = False, **env: str) -> None:
        self.ingress_url = f"http://127.0.0.1:{free_port()}"
        self.admin_url = f"http://127.0.0.1:{free_port()}"
        self.always_replay = always_replay
        self._newest = ""
        variables = bare_environment(
            RESTATE_INGRESS__BIND_ADDRESS=self.ingress_url.removeprefix("http://"),
            RESTATE_ADMIN__BIND_ADDRESS=self.admin_url.removeprefix("http://"),
            # No port for nodes that do not exist. Its socket has a relative path: 108 characters are the limit.
            RESTATE_LISTEN_MODE="unix",
            RESTATE_INGRESS__LISTEN_MODE="tcp",
            RESTATE_ADMIN__LISTEN_MODE="tcp",
            RESTATE_DEFAULT_NUM_PARTITIONS="1",
            RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE="64 MiB",
            RESTATE_DISABLE_TELEMETRY="true",
            RESTATE_LOG_DISABLE_ANSI_CODES="true",
            RESTATE_SHUTDOWN_TIMEOUT="3s",
            RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT="0s" if always_replay else "1m",
        )
        command = [binary, "--no-logo", "--node-name", "test", "--base-dir", "data"]
        self.process = Process(command, env=variables | env, cwd=folder, log=folder / "restate.log")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.kill9()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill9()

    async def start(self) -> None:
        self.process.start()
        await self.process.answers(f"{self.admin_url}/health", f"{self.ingress_url}/restate/health")

    async def stop(self) -> None:
        if self.process.exit_code is None:
            await self.process.end()

    def kill9(self) -> None:
        self.process.kill9()

    async def restart(self) -> None:
        """Start again, after `kill9` or from running, with the same ports and data."""
        await self.stop()
        await self.start()

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which the application finds this server, and leaves it to it when to suspend."""
        timeout = {"INACTIVITY_TIMEOUT_S": "none"} if self.always_replay else {}
        return {"RESTATE_ADMIN_URL": self.admin_url, "RESTATE_INGRESS_URL": self.ingress_url, **timeout}

    @asynccontextmanager
    async def serving(self, service: S) -> AsyncIterator[S]:
        """Start a service and register it; it is killed at the end."""
        try:
            await service.start()
            await self.register(service.url)
            yield service
        finally:
            service.kill9()

    async def register(self, uri: str) -> None:
        """Register the deployment at `uri`, in place of what was known of it before."""

        async def registered() -> bool:
            async with local_http() as http:
                answer = await http.post(f"{self.admin_url}/deployments", json={"uri": uri, "force": True})
            assert answer.is_success, answer.text
            return True

        await eventually(registered)
        self._newest = uri

    async def keep_newest(self, uri: str) -> None:
        """Register a deployment again if another one was registered since, and perhaps killed.

        Tests of several files share a server, in an order that is not theirs to know.
        """
        if self._newest != uri:
            await self.register(uri)

    async def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of `sql` on Restate's introspection tables."""
        async with local_http() as http:
            answer = await http.post(
                f"{self.admin_url}/query", json={"query": sql}, headers={"accept": "application/json"}
            )
        assert answer.is_success, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    async def cancel(self, invocation_id: str) -> None:
        await self._end(invocation_id, "cancel")

    async def kill(self, invocation_id: str) -> None:
        await self._end(invocation_id, "kill")

    async def end_if_open(self, invocation_id: str, how: str) -> None:
        """`kill` or `cancel` an invocation that may have ended by itself meanwhile."""
        async with local_http() as http:
            answer = await http.patch(f"{self.admin_url}/invocations/{invocation_id}/{how}")
        assert answer.is_success or answer.status_code in (404, 409), answer.text

    async def _end(self, invocation_id: str, how: str) -> None:
        async with local_http() as http:
            answer = await http.patch(f"{self.admin_url}/invocations/{invocation_id}/{how}")
        assert answer.is_success, answer.text
