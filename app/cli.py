"""Starts the terminal client: `python app/cli.py KEY` is the chat KEY on this terminal, or line by line through pipes.

It starts no server: the gateway of `make run` is what it talks to.
"""

import argparse
import asyncio
import sys
from io import TextIOWrapper
from pathlib import Path

# Run as a file, the first place of the path is app/ itself, where `import app` finds nothing.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pydantic import ValidationError

from app.errors import AgentError
from app.hosting.place import Place
from app.settings import Settings, explain, get_settings
from app.terminal import pipe
from app.terminal.gateway import ChatGateway
from app.terminal.screen import Screen
from app.text import clean, printable


def main(arguments: list[str]) -> int:
    """Run the client and return the exit code: 0 at the end, 1 when something failed, 2 for a wrong argument."""
    _accept_any_bytes()
    wanted = _parser().parse_args(arguments)
    try:
        settings = get_settings()
        url = wanted.url or settings.web_url or _local_gateway(settings)
        token = settings.web_token.get_secret_value() if settings.web_token else None
        return asyncio.run(_run(url, wanted.key, token))
    except ValidationError as error:
        print(*explain(error), sep="\n", file=sys.stderr)
        return 2
    except AgentError as error:
        print(printable(error.message), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read has enough
        sys.stderr.close()
        return 0


async def _run(url: str, key: str, token: str | None) -> int:
    async with ChatGateway(url, key, token) as gateway:
        if sys.stdin.isatty() and sys.stdout.isatty():
            return await Screen(gateway).run()
        return await pipe.run(gateway, sys.stdin)


def _accept_any_bytes() -> None:
    """Let bytes that are no text come in, and text that the terminal cannot show go out, as replacements."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _local_gateway(settings: Settings) -> str:
    """Return the address of the gateway that runs with these settings on this machine."""
    if settings.web_port is None:
        raise AgentError("WEB_PORT=none: there is no gateway here. Name one with --url or WEB_URL.")
    return Place(settings.web_host, settings.web_port, "WEB_PORT").url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app/cli.py",
        description="Talk to the agent in a terminal. With pipes: one message a line in, answers out.",
    )
    parser.add_argument("key", metavar="KEY", type=clean, help="the chat, usually your name")
    parser.add_argument("--url", help="the gateway; else WEB_URL, else the one of this machine")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
