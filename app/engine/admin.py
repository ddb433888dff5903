"""Restate's admin API: what only it can do, as plain requests.

Journals nothing: who must not repeat a request in a replay does that with its answer.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.errors import AdminUnavailable
from app.settings import get_settings

_TIMEOUT_S = 30

# An invocation that has ended, or is not known any more.
_OVER = (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.GONE)


async def kill(invocation_id: str) -> None:
    """End an invocation at once. One that has ended or is not known any more is fine.

    Errors: AdminUnavailable.
    """
    await _change(invocation_id, "kill")


async def cancel(invocation_id: str) -> None:
    """Tell an invocation to end. One that has ended or is not known any more is fine.

    Errors: AdminUnavailable.
    """
    await _change(invocation_id, "cancel")


async def purge(invocation_id: str) -> None:
    """Erase what is stored of an invocation that has ended, its journal included. One that still runs stays.

    Errors: AdminUnavailable.
    """
    await _change(invocation_id, "purge")


async def query(sql: str) -> list[dict[str, Any]]:
    """Return the rows of `sql` on Restate's introspection tables.

    Errors: AdminUnavailable.
    """
    async with connect() as http:
        answer = await http.post("/query", json={"query": sql}, headers={"accept": "application/json"})
        answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


def quoted(text: str) -> str:
    """Return `text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


@asynccontextmanager
async def connect(*, timeout_s: float = _TIMEOUT_S) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the admin API for the time of the block.

    Errors: AdminUnavailable, also for an answer that the block refuses with `raise_for_status`.
    """
    url = get_settings().restate_admin_url
    # Loading certificates takes 20 ms, which a plain connection does not need.
    verify = url.startswith("https")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False, verify=verify) as http:
            yield http
    except httpx.TransportError as exc:
        raise AdminUnavailable(
            f"Restate's admin API does not answer at {url!r} ({exc}): set RESTATE_ADMIN_URL"
        ) from exc
    except httpx.HTTPStatusError as exc:
        raise AdminUnavailable(
            f"Restate's admin API at {url!r} refused {exc.request.method} {exc.request.url.path} "
            f"({exc.response.status_code}): check RESTATE_ADMIN_URL"
        ) from exc


async def _change(invocation_id: str, how: str) -> None:
    async with connect() as http:
        answer = await http.patch(f"/invocations/{invocation_id}/{how}")
        if answer.status_code not in _OVER:
            answer.raise_for_status()
