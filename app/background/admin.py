"""What only Restate's admin API can do: kill an invocation, list what is stored, say what is served.

Plain requests; who calls them journals the answers.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.background.protocol import MAILBOX, SCHEDULES
from app.errors import AdminUnavailable
from app.settings import get_settings

logger = logging.getLogger("background")


async def kill(invocation_id: str) -> None:
    """End an invocation at once; one that has ended or is not known any more is fine."""
    async with _admin() as http:
        answer = await http.patch(f"/invocations/{invocation_id}/kill")
    if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.GONE):
        answer.raise_for_status()


async def is_served(service: str) -> bool:
    """Return whether any deployment serves `service`; taken for granted where the admin API cannot be reached."""
    try:
        async with _admin() as http:
            answer = await http.get(f"/services/{service}")
    except AdminUnavailable as exc:
        logger.warning("Cannot ask whether %s is served. %s", service, exc.message)
        return True
    if answer.status_code == httpx.codes.NOT_FOUND:
        return False
    answer.raise_for_status()
    return True


async def register(uri: str) -> None:
    """Make the deployment at `uri` known to Restate, in place of what was known of it."""
    async with _admin() as http:
        answer = await http.post("/deployments", json={"uri": uri, "force": True})
    answer.raise_for_status()


async def stored_records() -> list[tuple[str, dict[str, Any]]]:
    """Return the id and the record of every agent that is known."""
    return await _stored(MAILBOX, "agent")


async def stored_schedules() -> list[tuple[str, dict[str, Any]]]:
    """Return the id and the record of every schedule that is known."""
    return await _stored(SCHEDULES, "schedule")


async def _stored(service: str, key: str) -> list[tuple[str, dict[str, Any]]]:
    query = f"SELECT service_key, value_utf8 FROM state WHERE service_name = '{service}' AND key = '{key}'"  # noqa: S608 - constants
    return [(row["service_key"], json.loads(row["value_utf8"])) for row in await _query(query)]


async def _query(sql: str) -> list[dict[str, Any]]:
    async with _admin() as http:
        answer = await http.post("/query", json={"query": sql}, headers={"accept": "application/json"})
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


@asynccontextmanager
async def _admin() -> AsyncIterator[httpx.AsyncClient]:
    """Errors: AdminUnavailable."""
    url = get_settings().restate_admin_url
    # Loading certificates takes 20 ms, which a plain connection does not need.
    verify = url.startswith("https")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=verify) as http:
            yield http
    except httpx.TransportError as exc:
        raise AdminUnavailable(
            f"Restate's admin API does not answer at {url!r} ({exc}): set RESTATE_ADMIN_URL"
        ) from exc
