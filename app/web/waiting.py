"""Waits for the reply to one message, for clients that neither stream nor poll.

Changes nothing: when nobody waits any more, the turn goes on.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from app.web.gateway import Gateway

MAX_WAIT_S = 120
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)  # the last one again and again
_OPEN = ("queued", "running")
_LOOK_BACK = 20  # turns; a message that waited long stands before newer ones

Entry = dict[str, Any]


async def reply_to(gateway: Gateway, key: str, message_id: str, wait_s: float) -> list[Entry] | None:
    """Return what the turn of a message has said after it, once that is over; None if that takes longer than `wait_s`.

    A message that is withdrawn meanwhile has an empty reply.
    """
    deadline = time.monotonic() + wait_s
    looks = 0
    while True:
        history = await gateway.ingress.call(key, "get_chat_history", {"limit": _LOOK_BACK})
        reply = reply_in(history["entries"], message_id)
        left_s = deadline - time.monotonic()
        if reply is not None or left_s <= 0 or gateway.ending.is_set():
            return reply
        run = await _run_of(gateway, key)
        if run is not None:
            await first_of(gateway.ingress.wait_for_end(run, left_s), gateway.ending.wait())
        # Right behind the end of a run the chat has heard of it, or will within milliseconds.
        looks = 0 if run is not None else looks + 1
        await asyncio.sleep(min(_PAUSES_S[min(looks, len(_PAUSES_S) - 1)], max(deadline - time.monotonic(), 0)))


def reply_in(entries: list[Entry], message_id: str) -> list[Entry] | None:
    """Return what follows a message in its turn, [] if it is not there; None while the turn is open."""
    place = next((n for n, entry in enumerate(entries) if entry.get("message_id") == message_id), None)
    if place is None:
        return []
    turn = [entry for entry in entries if entry["turn_id"] == entries[place]["turn_id"]]
    if entries[place].get("held") or any(entry["status"] in _OPEN for entry in turn):
        return None
    return [entry for entry in entries[place + 1 :] if entry in turn and entry["role"] not in ("user", "summary")]


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of `waits` is over. The others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_of(gateway: Gateway, key: str) -> str | None:
    """Return the invocation of the turn that runs, None if there is none."""
    status = await gateway.ingress.call(key, "get_status")
    runs = [turn["invocation_id"] for turn in status["open_turns"] if turn["invocation_id"]]
    return runs[0] if runs else None
