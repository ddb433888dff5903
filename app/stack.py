"""The local stack: a Restate server and the service as child processes, started, registered and stopped together.

Knows nothing of chats and agents; what it needs of the service is its file, its port and its health check.
"""

import asyncio
import ctypes
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import httpx

from app.errors import AgentError, UsageError
from app.place import Place
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

_LOG = "restate.log"
_START_S = 60  # a laptop that wakes up, with a data folder to recover; half a second is usual
_STOP_S = 4  # the service drains for 2
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Places:
    """The three ports of the stack, all derived from the settings that name them for clients."""

    service: Place
    ingress: Place
    admin: Place

    @classmethod
    def of(cls, settings: Settings) -> Self:
        callable_host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared, not bound
        return cls(
            service=Place(callable_host, settings.port, "PORT"),
            ingress=Place.of_url(settings.restate_ingress_url, "RESTATE_INGRESS_URL"),
            admin=Place.of_url(settings.restate_admin_url, "RESTATE_ADMIN_URL"),
        )


async def run(settings: Settings) -> None:
    """Run the Restate server and the service until SIGINT or SIGTERM, then end both, the service first.

    Chats and the log of the server are kept in the data folder. The children do not outlive this process, on Linux
    not even when it is killed.
    Errors: UsageError when a port is taken or no server is installed; AgentError when one of the two ends or never
    gets ready.
    """
    binary = find_restate_server(settings.restate_server)
    places = Places.of(settings)
    for place in (places.service, places.ingress, places.admin):
        place.require_free()

    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)

    print("Starting restate-server and the service …", flush=True)
    data = ROOT / settings.restate_data
    data.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as children:
        log = children.enter_context((data / _LOG).open("w"))
        server = await _start("restate-server", *_server_command(binary), env=_server_env(places), cwd=data, output=log)
        children.push_async_callback(server.end)
        service = await _start("the service", sys.executable, str(ROOT / "app" / "main.py"))
        children.push_async_callback(service.end)
        await _first_of(
            stop.wait(),
            _welcome(settings, places, stop),
            server.fail_when_ended(f"; its log is {data / _LOG}"),
            service.fail_when_ended("; its last words are above"),
        )
        print("\nStopping …", flush=True)


def find_restate_server(configured: str | None = None) -> str:
    """Return the path of a `restate-server`: the configured one, the pinned one in `.restate`, the one on PATH.

    Errors: UsageError says how to get one.
    """
    system = platform.system().lower()
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    pinned = ROOT / f".restate/node_modules/@restatedev/restate-server-{system}-{machine}/bin/restate-server"
    candidates = [configured] if configured else [str(pinned), "restate-server"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise UsageError(
        f"No restate-server at {' or '.join(candidates)}. `make run` installs the pinned one; "
        "RESTATE_SERVER names another."
    )


def end_with_parent() -> Callable[[], object] | None:
    """Return a `preexec_fn` that has the kernel kill the child when the starting thread ends, None where it cannot.

    A `finally` does not run after kill -9; without this the server would go on and hold the ports and the data.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it only async-signal-safe calls are allowed
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class _Child:
    name: str
    process: asyncio.subprocess.Process

    async def fail_when_ended(self, hint: str) -> None:
        exit_code = await self.process.wait()
        raise AgentError(f"{self.name} ended by itself with exit code {exit_code}{hint}.")

    async def end(self) -> None:
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), _STOP_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def _start(
    name: str,
    *command: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[str] | None = None,
) -> _Child:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # a terminal sends Ctrl-C to its whole group; the order of the end is ours
        preexec_fn=end_with_parent(),
    )
    return _Child(name, process)


def _server_command(binary: str) -> list[str]:
    # It runs in its data folder and calls it `.`: the path of its socket there must stay under 108 characters.
    options = ["--no-logo", "--log-disable-ansi-codes", "true"]
    return [binary, *options, "--config-file", str(ROOT / "restate.toml"), "--base-dir", "."]


def _server_env(places: Places) -> dict[str, str]:
    # Passed on, not read: the server has settings of its own (RESTATE_WORKER__…).
    return {
        **os.environ,
        "RESTATE_INGRESS__BIND_ADDRESS": str(places.ingress),
        "RESTATE_ADMIN__BIND_ADDRESS": str(places.admin),
    }


async def _first_of(*waits: Coroutine[None, None, object]) -> None:
    """Wait until one of `waits` is over and raise what it raised; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _welcome(settings: Settings, places: Places, stop: asyncio.Event) -> None:
    """Say where everything is once it works, then wait for `stop`."""
    data = ROOT / settings.restate_data
    try:
        async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False) as http:
            await _answers(http, "GET", f"http://{places.service}/health")
            await _answers(http, "GET", f"http://{places.admin}/health")
            await _answers(http, "GET", f"http://{places.ingress}/restate/health")
            # Forced: the services of this address are whatever this checkout has.
            deployment = {"uri": f"http://{places.service}", "force": True}
            await _answers(http, "POST", f"http://{places.admin}/deployments", json=deployment)
    except TimeoutError as error:
        raise AgentError(f"Not ready after {_START_S} s; the log of restate-server is {data / _LOG}.") from error
    print(_directions(settings, places), flush=True)
    await stop.wait()


async def _answers(http: httpx.AsyncClient, method: str, url: str, json: object = None) -> None:
    """Repeat the request until it succeeds."""
    while True:
        try:
            if (await http.request(method, url, json=json, timeout=10)).is_success:
                return
        except httpx.TransportError:
            pass  # nobody listens yet
        await asyncio.sleep(_POLL_S)


def _directions(settings: Settings, places: Places) -> str:
    data = ROOT / settings.restate_data
    handlers = f"{settings.restate_ingress_url.rstrip('/')}/ChatService/ellie"
    offline = not (settings.openai_api_key or settings.openai_base_url)
    return f"""
The agent is ready: mode {settings.mode}, {"the offline model" if offline else settings.openai_model}.

  Restate UI   {settings.restate_admin_url}
  ingress      {settings.restate_ingress_url}
  service      http://{places.service}
  server log   {data / _LOG}

Talk to it:

  curl {handlers}/process_user_message --json '{{"role": "user", "content": "do something"}}'
  curl -X POST {handlers}/get_chat_history

Ctrl-C stops everything; the chats stay in {data}.
"""
