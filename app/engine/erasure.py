"""Erases what Restate keeps of a chat's invocations: their journals hold what was said until their retention is over.

Owns what belongs to a forgotten chat, and one round of erasing it; when the next round comes is decided by the caller.
"""

import asyncio
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from app.engine import admin
from app.errors import AdminUnavailable
from app.values import Stored

SERVICES = ("ChatService", "AgentSession")
ERASER = "erase_journals"  # the handler that erases; Restate keeps no journal of it

_AT_A_TIME = 16


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


async def erase_round(key: str, forget_id: str, end: Literal["cancel", "kill"] | None) -> Erased:
    """Erase the invocations of chat `key` that have ended, up to `forget_id`; `end` the others."""
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
            await asyncio.gather(*(change(each) for each in still_open))
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
