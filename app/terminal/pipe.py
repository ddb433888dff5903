"""A chat through pipes: each line of the input is a message, its answer is printed when it is there.

No colours, no prompt. Knows nothing of terminals.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterable
from typing import Any

from app.terminal.gateway import ChatGateway
from app.text import printable

WAIT_S = 60  # of one request; then it is asked again, with the same id


async def run(gateway: ChatGateway, lines: Iterable[str]) -> int:
    """Send each line and print what the agent answers; return the exit code: 1 if an answer has failed.

    Errors: Refused where the gateway does not take a message.
    """
    exit_code = 0
    source = iter(lines)
    while (line := await asyncio.to_thread(next, source, None)) is not None:
        if not (content := line.strip()):
            continue
        for entry in await _reply(gateway, content):
            if entry["role"] == "assistant" and entry["content"]:
                print(printable(entry["content"].replace("\r\n", "\n"), keep="\n\t"), flush=True)
            elif entry["role"] == "system":
                print(printable(entry["content"]), file=sys.stderr, flush=True)
                exit_code = 1
    return exit_code


async def _reply(gateway: ChatGateway, content: str) -> list[dict[str, Any]]:
    """Send a message and return what its turn said after it, however long that takes."""
    message_id = str(uuid.uuid4())
    while True:
        receipt = await gateway.send(message_id, content, wait_s=WAIT_S)
        if receipt.get("reply") is not None:
            reply: list[dict[str, Any]] = receipt["reply"]
            return reply
