"""Starts things: `python app/main.py` the service, `python app/main.py up` the service and a Restate server of its own.

The only module that starts anything; holds no logic of chats, agents or turns.
"""

import asyncio
import logging
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

# Run as a file, the first place of the path is app/ itself, where `import app` finds nothing.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import restate
from pydantic import ValidationError

from app import background, stack
from app.agent_session import agent_session
from app.background_agents import AGENTS, FUNCTIONS
from app.chat import chat_service
from app.errors import AgentError
from app.place import Place
from app.serving import serve_until_stopped
from app.settings import Settings, explain, get_settings

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework


def main(arguments: list[str]) -> int:
    """Run what `arguments` ask for until SIGINT or SIGTERM; return the exit code.

    Exit codes: 0 asked to end; 1 it cannot run, for the reason on stderr; 2 a setting or an argument is wrong.
    """
    if arguments not in ([], ["up"]):
        return _refuse(
            2, f"{' '.join(arguments)!r} is not known; say nothing for the service, `up` for the whole stack."
        )
    try:
        settings = get_settings()
    except ValidationError as error:
        return _refuse(2, *explain(error))
    try:
        asyncio.run(stack.run(settings) if arguments else run_service(settings))
    except AgentError as error:
        return _refuse(1, error.message)
    return 0


async def run_service(settings: Settings) -> None:
    """Serve the application until SIGINT or SIGTERM.

    Errors: UsageError when the port cannot be listened on.
    """
    _set_up_logging(settings.log_level)
    await serve_until_stopped(build_app(settings), Place(settings.host, settings.port, "PORT"))


def build_app(settings: Settings) -> "ASGIFramework":
    """Return the ASGI application that serves every Restate service of this project."""
    if settings.inactivity_timeout_s is not None:
        agent_session.inactivity_timeout = timedelta(seconds=settings.inactivity_timeout_s)
    agents = background.services(agents=AGENTS, functions=FUNCTIONS)
    return cast("ASGIFramework", restate.app([chat_service, agent_session, *agents]))


def _set_up_logging(level: str) -> None:
    logging.basicConfig(level=level)
    # They would write a line for every request.
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "hpack"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns at each start that the SDK's application has no lifespan.
    logging.getLogger("hypercorn.error").setLevel(logging.ERROR)


def _refuse(exit_code: int, *sentences: str) -> int:
    print(*sentences, sep="\n", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
