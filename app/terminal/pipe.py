"""A chat through pipes: each line of the input is a message, its answer is printed when it is there.

No colours, no prompt. Knows nothing of terminals.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterable
from typing import Any

from app.terminal.gateway import ChatGateway, Refused
from app.text import clean, printable

WAIT_S = 20  # of one request; then it is asked again, with the same id
GIVE_UP_S = 60.0  # without the gateway


async def run(gateway: ChatGateway, lines: Iterable[str]) -> int:
    """Send each line and print what the agent answers; return the exit code: 1 if an answer has failed.

    A message that the gateway does not take is the last one.
    """
    exit_code = 0
    source = iter(lines)
    while (line := await asyncio.to_thread(next, source, None)) is not None:
        if not (content := clean(line.strip())):
            continue
        reply = await _reply(gateway, content)
        if reply is None:
            return 1
        for entry in reply:
            if entry["role"] == "assistant" and entry["content"]:
                print(printable(entry["content"].replace("\r\n", "\n"), keep="\n\t"), flush=True)
            elif entry["role"] == "system":
                _say(entry["content"])
                exit_code = 1
    return exit_code


async def _reply(gateway: ChatGateway, content: str) -> list[dict[str, Any]] | None:
    """Send a message and return what its turn said after it, however long that takes; None if the gateway is away."""
    message_id = str(uuid.uuid4())
    missing, asked = "not sent", set[str]()
    try:
        # The first one does not wait: with its receipt it is known that the chat has the message.
        await gateway.send(message_id, content, on_trouble=_Trouble(), give_up_s=GIVE_UP_S)
        missing = "sent, but its answer was not heard"
        while True:
            receipt = await gateway.send(message_id, content, wait_s=WAIT_S, on_trouble=_Trouble(), give_up_s=GIVE_UP_S)
            if receipt.get("reply") is not None:
                reply: list[dict[str, Any]] = receipt["reply"]
                return reply
            await _tell_who_is_asked(gateway, asked)
    except Refused as refused:
        _say(refused.message)
        _say(f"{missing}: {content}")
        return None


async def _tell_who_is_asked(gateway: ChatGateway, asked: set[str]) -> None:
    """Say once of each call that a person must decide about it: no line through a pipe does. Errors: Refused."""
    turns = (await gateway.status()).get("open_turns", ())
    for approval in [each for turn in turns for each in turn.get("approvals") or ()]:
        if approval["approval_id"] not in asked:
            asked.add(approval["approval_id"])
            what = "asks you a question" if approval.get("question") else "waits for your approval"
            _say(f"The call {approval['name']} {what}: decide on the page or in the terminal client.")


class _Trouble:
    """Says why there is no answer yet, once."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, why: str) -> None:
        if not self._said:
            _say(f"{why} Trying again for {GIVE_UP_S:g} s…")
        self._said = True


def _say(sentence: str) -> None:
    print(printable(sentence), file=sys.stderr, flush=True)
