"""A child process of the tests: its output in a file, ended by its id, never outliving the test run."""

import asyncio
import atexit
import itertools
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from app.hosting.stack import end_with_parent
from tests.support.eventually import eventually


class Process:
    """A command that can be started again and again; each start appends to the same log."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._command = command
        self._env = env
        self._cwd = cwd
        self._log = log
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, "not started"
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        assert self._popen is None or self._popen.poll() is not None, "runs already"
        with self._log.open("ab") as log:
            # The kernel ends it with the test run when that is killed; atexit, where there is no such kernel.
            self._popen = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        atexit.register(self.kill9)

    def kill9(self) -> None:
        """End it at once, as a crash does."""
        atexit.unregister(self.kill9)
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()

    async def end(self, signum: signal.Signals = signal.SIGTERM, *, timeout_s: float = 20) -> int:
        """Send `signum` and return the exit code."""
        assert self._popen is not None, "not started"
        self._popen.send_signal(signum)
        return await self.exited(timeout_s=timeout_s)

    async def exited(self, *, timeout_s: float = 20) -> int:
        """Wait for its end and return the exit code; killed, and a failure, if it takes longer."""
        try:
            await eventually(lambda: self.exit_code is not None, timeout_s=timeout_s)
        except AssertionError:
            raise AssertionError(
                f"{self._command[0]} did not end within {timeout_s} s; its log:\n{self.log()}"
            ) from None
        finally:
            self.kill9()
        assert self.exit_code is not None
        return self.exit_code

    async def answers(self, *urls: str, timeout_s: float = 30) -> None:
        """Wait until every URL answers 200; a failure with the log if the process ends first."""
        async with local_http() as http:
            for url in urls:
                while not await _is_ok(http, url):
                    assert self.exit_code is None, (
                        f"{self._command[0]} ended with {self.exit_code}; its log:\n{self.log()}"
                    )
                    timeout_s -= 0.02
                    assert timeout_s > 0, f"{url} does not answer; the log:\n{self.log()}"
                    await asyncio.sleep(0.02)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def local_http(timeout_s: float = 30) -> httpx.AsyncClient:
    """Return a client for servers of this machine: no proxy, and no certificates to load."""
    return httpx.AsyncClient(trust_env=False, verify=False, timeout=timeout_s)  # noqa: S501 - plain http only


def bare_environment(**variables: str) -> dict[str, str]:
    """Return `variables` in an environment without the developer's own settings and keys, and without a gateway."""
    kept = {"WEB_PORT": "none"} | {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | variables


def free_port() -> int:
    """Return a port that nobody listens on, nor gets before it is used.

    Of those that the kernel never gives to a client's connection; test runs side by side have ports of their own.
    """
    return next(port for port in _PORTS if _is_free(port))


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def _own_ports() -> Iterator[int]:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + own, 32_000, workers)
    start = random.randrange(len(ports))
    return itertools.cycle([*ports[start:], *ports[:start]])


_PORTS = _own_ports()


async def _is_ok(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
