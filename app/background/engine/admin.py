"""What background agents ask of Restate's admin API: kill an invocation, list what is stored, look up what is served.

Journals nothing: its callers do.
"""

import asyncio
import json
import logging
from typing import Any, get_args
from urllib.parse import quote

import httpx

from app.background.declare.names import NAME
from app.background.engine.standstill import Standstill, explain
from app.background.protocol import KIND_KEY, Kind
from app.background.query import QUERY, ServedAgent
from app.engine.admin import connect, kill, query
from app.errors import AdminUnavailable, Conflict

__all__ = ["is_served", "kill", "served_agent", "standstill", "stored", "wake"]

_LOOK_UP_S = 5  # somebody waits for the answer
_RETRY_TAKES_S = 1
_ENDED = (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.GONE)  # an invocation that is over, or not known

logger = logging.getLogger("background")


async def wake(invocation_id: str) -> bool:
    """Begin an attempt of an invocation that is suspended or backs off. Return False if it has ended.

    No journal entry is written for it (measured). One that has an attempt is left alone, and so is one that is paused.
    Errors: AdminUnavailable; Conflict if it is paused.
    """
    status = (await _invocation(invocation_id)).get("status", "completed")
    if status == "paused":
        raise Conflict(f"Run {invocation_id} is paused: resume it in Restate's UI")
    if status in ("suspended", "backing-off"):
        await _resume(invocation_id)
    return bool(status != "completed")


async def is_served(service: str) -> bool:
    """Return whether any deployment serves `service`. If the admin API cannot be reached the answer is yes."""
    try:
        return await _service(service) is not None
    except AdminUnavailable as exc:
        logger.warning("Cannot ask whether %s is served. %s", service, exc.message)
        return True


async def served_agent(name: str) -> ServedAgent | None:
    """Return what Restate knows of the agent or workflow `name`, None for a service that is neither or not there.

    Errors: AdminUnavailable.
    """
    found = await _service(name)
    kind = (found or {}).get("metadata", {}).get(KIND_KEY)
    if found is None or kind not in get_args(Kind):
        return None
    handlers = {handler["name"] for handler in found["handlers"]}
    return ServedAgent(kind=kind, answers_queries=QUERY in handlers)


async def standstill(run_id: str, *, retry: bool = False) -> Standstill | None:
    """Return why a run stands still, None if it does not, or if the admin API cannot be reached.

    With `retry` a run that waits for its next attempt gets it first: the old code may be back.
    """
    try:
        row = await _invocation(run_id)
        found = explain(row)
        if retry and found is not None and found.for_good and row["status"] != "paused":
            await _resume(run_id)
            await asyncio.sleep(_RETRY_TAKES_S)
            found = explain(await _invocation(run_id))
    except AdminUnavailable as exc:
        logger.warning("Cannot ask whether run %s stands still. %s", run_id, exc.message)
        return None
    return found


async def stored(service: str, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what every object of `service` has stored under a state key, with the object's own key."""
    sql = f"SELECT service_key, value_utf8 FROM state WHERE service_name = '{service}' AND key = '{key}'"  # noqa: S608 - constants
    return [(row["service_key"], json.loads(row["value_utf8"])) for row in await query(sql)]


async def _service(name: str) -> dict[str, Any] | None:
    """Return what Restate knows of a service, None if there is none. Errors: AdminUnavailable."""
    if not NAME.fullmatch(name):
        return None
    async with connect(timeout_s=_LOOK_UP_S) as http:
        answer = await http.get(f"/services/{_quoted(name)}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _invocation(invocation_id: str) -> dict[str, Any]:
    """Return status and last failure of an invocation, {} for one that is not known. Errors: AdminUnavailable."""
    columns = "status, last_failure, last_failure_error_code"
    rows = await query(f"SELECT {columns} FROM sys_invocation WHERE id = '{_quoted(invocation_id)}'")  # noqa: S608 - quoted
    return rows[0] if rows else {}


async def _resume(invocation_id: str) -> None:
    async with connect(timeout_s=_LOOK_UP_S) as http:
        answer = await http.patch(f"/invocations/{_quoted(invocation_id)}/resume")
        if answer.status_code not in _ENDED:
            answer.raise_for_status()


def _quoted(name: str) -> str:
    """Return a name as one segment of a path. No quote character is left in it that SQL could see."""
    return quote(name, safe="")
