"""Starts things: `python app/main.py` the service, `python app/main.py up` the service and a Restate server of its own.

Nothing starts but through this file. It has no rules of chats or agents. `python app/main.py help` names the rest.
"""

import signal
import sys

# Ctrl-C while the rest is imported, or before anything runs: the end, without a traceback.
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio
import atexit
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

# Run as a file, the first place of the path is app/ itself, where `import app` finds nothing.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pydantic import ValidationError

from app import background
from app.agent_session import agent_session
from app.agents import AGENTS, FUNCTIONS
from app.background.serve.takeover import standing_by
from app.chat_for_agents import chat_service
from app.engine import unfit
from app.engine.journal_watch import JournalWatch
from app.errors import AgentError
from app.files import require_files, sweeping
from app.hosting import rollout, stack, workers
from app.hosting.endpoint import build_endpoint, require_callers_known
from app.hosting.local_server import find_restate_cli
from app.hosting.logs import set_up_logging
from app.hosting.place import Place
from app.hosting.serving import Site, require_installed, serve_sites
from app.hosting.strangers import Strangers
from app.live import open_hub, require_redis
from app.live.hints import Hints
from app.mcp import open_mcp, require_mcp
from app.settings import Settings, explain, get_settings
from app.text import printable
from app.turns.compaction.service import chat_summary
from app.web.app import build_gateway, require_users_known

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

logger = logging.getLogger("main")

_GATEWAY_LISTENS = "The gateway listens"

USAGE = """\
python app/main.py               the service, at HOST:PORT
python app/main.py up            the service and a Restate server, registered with each other
python app/main.py server        a Restate server alone, with the data of `up`
python app/main.py reset         erase the chats of `up`, for good
python app/main.py register URL  make the service at URL known to Restate, beside the version before it
python app/main.py drained URL   say whether the service at URL may be stopped; exit code 0 if it may"""


def main(arguments: list[str]) -> int:
    """Run what `arguments` ask for and return the exit code. Servers run until SIGINT or SIGTERM.

    Exit codes: 0 when it is done or was asked to end, 1 when it cannot be done, 2 when a setting or an argument is
    wrong. The reason of 1 and 2 is on stderr.
    """
    if arguments in (["help"], ["--help"], ["-h"]):
        return _refuse(0, USAGE)
    try:
        settings = get_settings()
    except ValidationError as error:
        return _refuse(2, *explain(error))
    except AgentError as error:
        return _refuse(2, printable(error.message))
    set_up_logging(settings.log_level)
    try:
        match arguments:
            case [] if settings.workers > 1:
                asyncio.run(run_workers(settings))
            case []:
                asyncio.run(run_service(settings))
            case ["worker", notes, listener, *web_listener]:  # as run_workers() starts it
                asyncio.run(run_worker(settings, int(notes), int(listener), *map(int, web_listener)))
            case ["up"]:
                require_users_known(settings)
                asyncio.run(stack.run(settings))
            case ["server"]:
                stack.run_server(settings)
            case ["reset"]:
                stack.reset(settings)
            case ["register" | "drained" as command]:
                example = Place(settings.host, settings.port, "PORT").url
                return _refuse(2, f"`{command}` needs the URL of a service: python app/main.py {command} {example}")
            case ["register" | "drained", url] if (wrong := rollout.wrong_url(url)) is not None:
                return _refuse(2, wrong)
            case ["register", url]:
                print(asyncio.run(rollout.register(url)))
            case ["drained", url]:
                drained, report = asyncio.run(rollout.drained(url))
                print(report)
                return 0 if drained else 1
            case _:
                return _refuse(2, f"{printable(' '.join(arguments))!r} is not known. What can be said:", USAGE)
    except AgentError as error:
        return _refuse(1, printable(error.message))
    return 0


async def run_service(settings: Settings) -> None:
    """Serve the application and the gateway until SIGINT or SIGTERM.

    Errors: UsageError when a port cannot be listened on, or anybody on the network could call it.
    """
    require_files(settings)
    service = Site(build_app(settings), Place(settings.host, settings.port, "PORT"))
    async with open_hub(), open_mcp(), gateway(settings) as web, standing_by(service.place):
        await serve_sites([service, *web], server=settings.server)


async def run_workers(settings: Settings) -> None:
    """Serve the application and the gateway in several processes, and look after them, until SIGINT or SIGTERM.

    Errors: as `run_service`; AgentError when the processes cannot go on.
    """
    require_callers_known(settings)
    require_users_known(settings)
    require_installed(settings.server)
    require_redis(settings)
    require_mcp(settings)
    require_files(settings)
    if settings.redis_url is None:
        logger.info("WORKERS=%d and no REDIS_URL: who watches a chat sees no text as it is written", settings.workers)
    place, web = Place(settings.host, settings.port, "PORT"), web_place(settings)
    with ExitStack() as opened:
        notes = opened.enter_context(tempfile.TemporaryFile(buffering=0))
        listeners = [opened.enter_context(each.listen()) for each in (place, web) if each is not None]
        fds = (notes.fileno(), *(listener.fileno() for listener in listeners))
        command = (sys.executable, str(stack.ROOT / "app" / "main.py"), "worker", *map(str, fds))
        logger.info("Listening on http://%s, with %d workers", place, settings.workers)
        if web is not None:
            logger.info("%s on http://%s", _GATEWAY_LISTENS, web)
        async with standing_by(place):  # here: once for all of them
            await workers.keep_running(command, settings.workers, pass_fds=fds)


async def run_worker(settings: Settings, notes: int, listener: int, web_listener: int | None = None) -> None:
    """Serve the application and the gateway on sockets of the process that started this one, until SIGTERM."""
    unfit.share_notes(notes)
    service = Site(
        build_app(settings),
        Place(settings.host, settings.port, "PORT"),
        listener=socket.socket(fileno=listener),
        streams_per_connection=workers.STREAMS_PER_CONNECTION,
    )
    async with open_hub(), open_mcp(), gateway(settings, web_listener) as web:
        await serve_sites([service, *web], server=settings.server)


@asynccontextmanager
async def gateway(settings: Settings, listener: int | None = None) -> AsyncIterator[list[Site]]:
    """Give the site of the gateway, none if it is switched off. `listener` is a socket that listens there already.

    Errors: UsageError where anybody on the network could use it.
    """
    place = web_place(settings)
    if place is None:
        yield []
        return
    app = build_gateway(settings)
    strangers = Strangers(
        headers_within_s=settings.web_request_timeout_s,
        max_header_bytes=settings.web_max_header_bytes,
        read_within_s=settings.web_send_timeout_s,
    )
    opened = None if listener is None else socket.socket(fileno=listener)
    try:
        async with sweeping():
            yield [
                Site(
                    cast("ASGIFramework", app),
                    place,
                    name=_GATEWAY_LISTENS,
                    listener=opened,
                    strangers=strangers,
                    on_stop=app.end,
                )
            ]
    finally:
        await app.close()


def web_place(settings: Settings) -> Place | None:
    """Return where the gateway listens, None if it is switched off."""
    return None if settings.web_port is None else Place(settings.web_host, settings.web_port, "WEB_PORT")


def build_app(settings: Settings) -> "ASGIFramework":
    """Return the ASGI application that serves every Restate service of this project.

    Errors: UsageError where anybody on the network could call it.
    """
    if settings.inactivity_timeout_s is not None:
        silence = timedelta(seconds=settings.inactivity_timeout_s)
        agent_session.inactivity_timeout = chat_summary.inactivity_timeout = silence
    agents = background.services(agents=AGENTS, functions=FUNCTIONS)
    app = build_endpoint([chat_service, agent_session, chat_summary, *agents], settings)
    on_unfit = partial(unfit.end_unfit, restate_cli=find_restate_cli())
    return Hints(JournalWatch(app, (chat_service.name, agent_session.name, chat_summary.name), on_unfit))


def _refuse(exit_code: int, *sentences: str) -> int:
    print(*sentences, sep="\n", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    # What is left is the interpreter's own end: a second Ctrl-C would only leave a traceback of it. And it frees what
    # open turns have left behind piece by piece (0.7 s of CPU for 300, measured), and waits for threads of functions.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
