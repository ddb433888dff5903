"""Ends invocations of a chat whose journal does not fit the code that runs now, so that they hold it no longer.

Changes no state of the chat itself. Such an invocation cannot write a single entry, so it cannot end itself: the engine
must kill it. Then the chat is asked for its status, which lets it find out that the run of its turn is dead.
"""

import logging
import os
from collections import OrderedDict
from urllib.parse import quote

import httpx

from app.engine import admin
from app.engine.journal_watch import Unfit
from app.errors import AdminUnavailable
from app.settings import get_settings
from app.text import shorten

CODE_CHANGED = (
    "The code of the agent was changed while this turn ran, and what it had begun does not fit the changed code. "
    "What it had reported so far is kept; send a message to go on."
)

logger = logging.getLogger("unfit")  # not a chat's: that one is silent in replays, where this comes from

_KEPT = 10_000  # of the newest ones; each is asked for within seconds
_ended: OrderedDict[str, None] = OrderedDict()
_reported: OrderedDict[str, None] = OrderedDict()
_shared_notes: list[int] = []


def share_notes(fd: int) -> None:
    """Share what is ended with the other workers of this service, which have the same file open."""
    _shared_notes[:] = [fd]


async def end_unfit(unfit: Unfit, *, restate_cli: str) -> None:
    """Kill an invocation and log that in one line. Each of its attempts tries it again while it cannot be killed.

    `restate_cli` is the command by which a person can do it.
    """
    what = f"{unfit.service}/{unfit.key} ({unfit.invocation_id})"
    first = _note(_ended, unfit.invocation_id)  # before its end: the settlement that waits behind it asks at once
    if first:
        for fd in _shared_notes:
            os.write(fd, f"{unfit.invocation_id}\n".encode())
    try:
        await admin.kill(unfit.invocation_id)
    except AdminUnavailable as exc:
        _ended.pop(unfit.invocation_id, None)
        if _note(_reported, unfit.invocation_id):
            logger.error(
                "The journal of %s does not fit the changed code, and it cannot be ended: %s; or end it yourself: "
                "%s invocations kill --yes %s",
                what,
                exc.message,
                restate_cli,
                unfit.invocation_id,
            )
        return
    if first:
        logger.warning("Ended %s: its journal does not fit the changed code: %s", what, shorten(unfit.detail, 300))
        await _look_after(unfit.key)


async def why_ended(invocation_id: str) -> str | None:
    """Return what to say of a run that this process or another worker has ended, None of any other."""
    ended = invocation_id in _ended or any(_has_noted(fd, invocation_id) for fd in _shared_notes)
    return CODE_CHANGED if ended else None


def _has_noted(fd: int, invocation_id: str) -> bool:
    return invocation_id.encode() in os.pread(fd, os.fstat(fd).st_size, 0).splitlines()


async def _look_after(key: str) -> None:
    """Ask the chat for its status. It then closes the turns whose runs are dead."""
    url = f"{get_settings().restate_ingress_url}/ChatService/{quote(key, safe='')}/get_status"
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False, verify=url.startswith("https")) as http:
            (await http.post(url)).raise_for_status()
    except httpx.HTTPError as exc:
        logger.warning("Chat %s closes its turn when it is used next; it cannot be told now: %r", key, exc)


def _note(ids: OrderedDict[str, None], invocation_id: str) -> bool:
    """Return whether `invocation_id` is not among the noted ones yet, and note it."""
    if invocation_id in ids:
        return False
    ids[invocation_id] = None
    if len(ids) > _KEPT:
        ids.popitem(last=False)
    return True
