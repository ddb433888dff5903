"""Erases what Restate keeps of a chat's invocations: their journals hold what was said until their retention is over.

Owns what belongs to a forgotten chat, and the rounds of erasing it.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from pydantic import Field
from restate import ObjectSharedContext, RunOptions

from app.engine import admin
from app.errors import AdminUnavailable
from app.values import Stored

SERVICES = ("ChatService", "AgentSession", "ChatSummary")
ERASER = "erase_journals"  # the handler that erases; Restate keeps no journal of it

_AT_A_TIME = 16


# Seconds between the rounds: at first what is open is told to end, after a minute it is killed.
_ERASE_AFTER_S = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, *(60.0,) * 60)

logger = logging.getLogger("chat")  # which writes once what a replay repeats


class Row(Stored):
    """An invocation as Restate's introspection shows it; times are texts that sort as the times do."""

    id: str
    target_handler_name: str
    status: str
    created_at: str
    invoked_by_id: str | None = None


class Erased(Stored):
    """What one round did: how many invocations it erased, how many are left, and why it could do nothing."""

    erased: int = 0
    left: int = 0
    problem: str | None = Field(None, description="why the admin API could not be asked")


async def erase_all(ctx: ObjectSharedContext, key: str, forget_id: str) -> None:
    """Erase the invocations of chat `key` up to `forget_id`, round by round; the log tells."""
    erased, problem = 0, None
    for number, pause_s in enumerate(_ERASE_AFTER_S):
        await ctx.sleep(timedelta(seconds=pause_s))
        end: Literal["cancel", "kill"] | None = "cancel" if number == 0 else "kill" if pause_s >= 60 else None
        outcome = await ctx.run_typed("erase", erase_round, RunOptions(), key, forget_id, end)
        erased += outcome.erased
        if outcome.problem is None and outcome.left == 0:
            logger.info("Erased %d journals of the forgotten chat of %s", erased, key)
            return
        if outcome.problem is not None and problem is None:
            problem = outcome.problem
            logger.warning("The journals of the forgotten chat of %s remain for now: %s", key, problem)
    logger.warning(
        "Journals of the forgotten chat of %s remain until their retention is over (a day, if the server has no other "
        "setting): %s",
        key,
        problem or "its invocations do not end",
    )


async def erase_round(key: str, forget_id: str, end: Literal["cancel", "kill"] | None) -> Erased:
    """Erase the invocations of chat `key` that have ended, up to `forget_id`; `end` the others but that."""
    services = ", ".join(admin.quoted(service) for service in SERVICES)
    sql = (
        "SELECT id, target_handler_name, status, created_at, invoked_by_id FROM sys_invocation "  # noqa: S608 - quoted
        f"WHERE target_service_name IN ({services}) AND target_service_key = {admin.quoted(key)}"
    )
    try:
        rows = of_forgotten_chat([Row(**row) for row in await admin.query(sql)], forget_id)
        ended = [row.id for row in rows if row.status == "completed"]
        for start in range(0, len(ended), _AT_A_TIME):
            await asyncio.gather(*(admin.purge(each) for each in ended[start : start + _AT_A_TIME]))
        still_open = [row.id for row in rows if row.status != "completed"]
        if end is not None:
            change = admin.cancel if end == "cancel" else admin.kill
            # Not `forget` itself: it may still erase files, in a bucket that takes its time.
            await asyncio.gather(*(change(each) for each in still_open if each != forget_id))
    except AdminUnavailable as exc:
        return Erased(problem=exc.message)
    return Erased(erased=len(ended), left=len(still_open))


def of_forgotten_chat(rows: Iterable[Row], forget_id: str) -> list[Row]:
    """Return the invocations that came before that of `forget`, and all that came from them: a later run of the
    forgotten chat reports too. What was said to the key since then stays."""
    by_time = sorted((row for row in rows if row.target_handler_name != ERASER), key=lambda row: row.created_at)
    forgotten_at = next((row.created_at for row in by_time if row.id == forget_id), "")
    found: dict[str, Row] = {}
    for row in by_time:
        if row.created_at <= forgotten_at or row.invoked_by_id in found:
            found[row.id] = row
    return list(found.values())
