"""The local stack: a Restate server and the service as child processes, started, registered and stopped together.

Has no rules of chats or agents. It needs the file of the service, its port and its health check, and names one chat
in the directions for newcomers.
"""

import asyncio
import ctypes
import os
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
from app.files import files_of
from app.hosting.endpoint import require_callers_known
from app.hosting.local_server import (
    LOG,
    ROOT,
    erase_data,
    find_restate_server,
    open_log,
    prepare_data,
    require_startable,
    server_command,
    server_variables,
    space_warning,
)
from app.hosting.place import Place
from app.settings import Settings
from app.text import printable

__all__ = ["ROOT", "Places", "end_with_parent", "find_restate_server", "reset", "run", "run_server"]

_START_S = 60  # a laptop that wakes up, with a data folder to recover; half a second is usual
_STOP_S = 4  # the service drains for 2
_POLL_S = 0.05
_SPACE_POLL_S = 5
_PR_SET_PDEATHSIG = 1
_CALLABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - one address of all that are listened on


@dataclass(frozen=True)
class Places:
    """The ports of the stack, all derived from the settings that name them for clients. `web` may be switched off."""

    web: Place | None
    service: Place
    ingress: Place
    admin: Place

    @classmethod
    def of(cls, settings: Settings) -> Self:
        web = Place(_CALLABLE.get(settings.web_host, settings.web_host), settings.web_port or 0, "WEB_PORT")
        return cls(
            web=web if settings.web_port else None,
            service=Place(_CALLABLE.get(settings.host, settings.host), settings.port, "PORT"),
            ingress=Place.of_url(settings.restate_ingress_url, "RESTATE_INGRESS_URL"),
            admin=Place.of_url(settings.restate_admin_url, "RESTATE_ADMIN_URL"),
        )


async def run(settings: Settings) -> None:
    """Run the Restate server and the service until SIGINT or SIGTERM, then end both, the service first.

    Chats and the log of the server are kept in the data folder. The children do not outlive this process, on Linux
    not even when it is killed.
    Errors: UsageError when a port is taken, the data is in use or no server is installed. AgentError when one of the
    two ends or never gets ready.
    """
    require_callers_known(settings)
    binary = find_restate_server(settings.restate_server)
    require_startable(ROOT / settings.restate_data)
    places = Places.of(settings)
    for place in (places.web, places.service, places.ingress, places.admin):
        if place is not None:
            place.require_free()

    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)

    data = _prepared_data(settings)
    _say("Starting restate-server and the service …")
    async with AsyncExitStack() as children:
        log = children.enter_context(open_log(data))
        server = await _start("restate-server", *server_command(binary), env=_server_env(places), cwd=data, output=log)
        children.push_async_callback(server.end)
        service = await _start("the service", sys.executable, str(ROOT / "app" / "main.py"))
        children.push_async_callback(service.end)
        await _first_of(
            stop.wait(),
            _welcome(settings, places, stop),
            _watch_space(data),
            server.fail_when_ended(f"; its log is {data / LOG}"),
            service.fail_when_ended("; its last words are above"),
        )
        _say("\nStopping …")


def run_server(settings: Settings) -> None:
    """Become the Restate server, with the data of `run`. Its log goes to the terminal. Returns only by an error.

    Errors: UsageError when a port is taken, the data is in use or no server is installed.
    """
    binary = find_restate_server(settings.restate_server)
    require_startable(ROOT / settings.restate_data)
    places = Places.of(settings)
    for place in (places.ingress, places.admin):
        place.require_free()
    data = _prepared_data(settings)
    _say(f"Start the service with `python app/main.py`, then `python app/main.py register http://{places.service}`.")
    os.chdir(data)
    os.execve(binary, server_command(binary), _server_env(places))  # noqa: S606 - no shell is wanted


def reset(settings: Settings) -> None:
    """Erase the chats and logs of `run`.

    Errors: UsageError while a server has them, or if they cannot be erased.
    """
    data = ROOT / settings.restate_data
    erased = erase_data(data)
    try:
        files_of(settings).erase_all()
    except OSError as error:
        raise UsageError(f"Cannot erase {error.filename}: {error.strerror}.") from error
    _say(f"Erased the chats in {data}." if erased else f"There are no chats in {data}.")


def end_with_parent() -> Callable[[], object] | None:
    """Return a `preexec_fn` that has the kernel kill the child when the starting thread ends, None where it cannot.

    A `finally` does not run after kill -9. Without this the server would go on and hold the ports and the data.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: after it only async-signal-safe calls are allowed
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class _Child:
    """A process that was started. `name` is what sentences call it."""

    name: str
    process: asyncio.subprocess.Process

    async def fail_when_ended(self, hint: str) -> None:
        """Wait for its end and raise AgentError with `hint`."""
        exit_code = await self.process.wait()
        raise AgentError(f"{self.name} ended by itself with exit code {exit_code}{hint}.")

    async def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
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


def _server_env(places: Places) -> dict[str, str]:
    return server_variables(os.environ, ingress=places.ingress, admin=places.admin)


def _prepared_data(settings: Settings) -> Path:
    data = ROOT / settings.restate_data
    if warning := prepare_data(data):
        _say(warning)
    return data


def _say(text: str) -> None:
    print(printable(text, keep="\n"), flush=True)


async def _first_of(*waits: Coroutine[None, None, object]) -> None:
    """Wait until one of `waits` is over and raise what it raised. The others are cancelled."""
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
    """Print where everything is once it works, then wait for `stop`."""
    data = ROOT / settings.restate_data
    try:
        async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False) as http:
            await _answers(http, "GET", f"http://{places.service}/health")
            if places.web is not None:
                await _answers(http, "GET", f"http://{places.web}/health")
            await _answers(http, "GET", f"http://{places.admin}/health")
            await _answers(http, "GET", f"http://{places.ingress}/restate/health")
            # Forced: the services of this address are whatever this checkout has.
            deployment = {"uri": f"http://{places.service}", "force": True}
            await _answers(http, "POST", f"http://{places.admin}/deployments", json=deployment)
    except TimeoutError as error:
        raise AgentError(f"Not ready after {_START_S} s; the log of restate-server is {data / LOG}.") from error
    _say(_directions(settings, places))
    await stop.wait()


async def _watch_space(data: Path) -> None:
    """Warn each time that the space for the data becomes little."""
    warned = False
    while True:
        warning = space_warning(data, shutil.disk_usage(data).free)
        if warning and not warned:
            _say(warning)
        warned = warning is not None
        await asyncio.sleep(_SPACE_POLL_S)


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
    page = f"\nChat with it: http://{places.web}\n" if places.web else ""
    return f"""{page}
The agent is ready: mode {settings.mode}, {"the offline model" if offline else settings.openai_model}.

  Restate UI   {settings.restate_admin_url}
  ingress      {settings.restate_ingress_url}
  service      http://{places.service}
  server log   {data / LOG}

Talk to it:

  curl {handlers}/process_user_message --json '{{"role": "user", "content": "do something"}}'
  curl -X POST {handlers}/get_chat_history

Ctrl-C stops everything; the chats stay in {data}.
"""
