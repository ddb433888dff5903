"""What Restate's admin API knows of deployments: where services are, whether that place answers, who serves them next.

When anything is registered or moved is decided in `serve/takeover.py`.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from app.background.protocol import FINGERPRINT_KEY, KIND_KEY
from app.engine import admin
from app.errors import AgentError

_MOVES_AT_ONCE = 8
_MOVE_S = 10  # Restate must first take an invocation away from a deployment that does not answer
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, eq=False)
class Deployment:
    """A place that serves Restate services. `services` are their names and revisions."""

    deployment_id: str
    uri: str | None  # None: not a server, nothing to ask
    http_version: str | None
    headers: dict[str, str]
    services: dict[str, int]

    @property
    def is_http_1(self) -> bool:
        return self.http_version == "HTTP/1.1"


async def all_deployments() -> list[Deployment]:
    """Return what is registered."""
    async with admin.connect() as http:
        answer = await http.get("/deployments")
    answer.raise_for_status()
    return [_deployment(found) for found in answer.json()["deployments"]]


def latest(deployments: list[Deployment]) -> dict[str, Deployment]:
    """Return where new calls of each service go: to the deployment with its highest revision."""
    found: dict[str, Deployment] = {}
    for deployment in deployments:
        for name, revision in deployment.services.items():
            if name not in found or found[name].services[name] < revision:
                found[name] = deployment
    return found


async def why_not_answering(deployment: Deployment) -> str | None:
    """Return why Restate cannot reach a deployment, None if it can.

    Restate is asked, not the place itself: it may be reached from there only, and needs a signed request.
    """
    if deployment.uri is None:
        return None
    body: dict[str, Any] = {"uri": deployment.uri, "force": True, "dry_run": True}
    body["use_http_11"] = deployment.is_http_1
    if deployment.headers:
        body["additional_headers"] = deployment.headers
    async with admin.connect() as http:
        answer = await http.post("/deployments", json=body)
    # Restate answers this code when the place does not answer; whatever else it says, somebody is there.
    if answer.is_success or _code(answer) != "META0003":
        return None
    return _message(answer)


async def why_down(service: str) -> str | None:
    """Return why the place that serves `service` does not answer, None if it does."""
    deployment = latest(await all_deployments()).get(service)
    return None if deployment is None else await why_not_answering(deployment)


async def service_names() -> list[str]:
    """Return the name of every service that is registered."""
    return sorted(latest(await all_deployments()))


async def register(uri: str) -> Deployment:
    """Make the deployment at `uri` known to Restate, in place of what was known of it, and the latest of its services.

    Errors: AgentError with what Restate says; AdminUnavailable.
    """
    async with admin.connect() as http:
        answer = await http.post("/deployments", json={"uri": uri, "force": True})
        if not answer.is_success:
            raise AgentError(_message(answer))
        found = await http.get(f"/deployments/{answer.json()['id']}")
    found.raise_for_status()
    return _deployment(found.json())


async def foreign_names(names: Iterable[str]) -> list[str]:
    """Return those of `names` that are services of something else than agents and workflows."""
    async with admin.connect() as http:
        found = [await http.get(f"/services/{quote(name, safe='')}") for name in names]
    known = [answer.json() for answer in found if answer.is_success]
    return sorted(service["name"] for service in known if not (service.get("metadata") or {}).get(KIND_KEY))


async def fingerprints(deployment: Deployment) -> dict[str, str]:
    """Return the fingerprint of each agent class that a deployment serves."""
    async with admin.connect() as http:
        answer = await http.get(f"/deployments/{deployment.deployment_id}")
    answer.raise_for_status()
    services = answer.json()["services"]
    return {
        service["name"]: service["metadata"][FINGERPRINT_KEY]
        for service in services
        if FINGERPRINT_KEY in (service.get("metadata") or {})
    }


async def move(gone: Deployment, services: set[str]) -> tuple[int, int]:
    """Let open invocations of `services` go on at the latest deployment. Return how many do, and how many cannot."""
    rows = await admin.query(
        "SELECT id, target_service_name AS service FROM sys_invocation "  # noqa: S608 - an id that Restate gave
        f"WHERE pinned_deployment_id = '{gone.deployment_id}' AND status <> 'completed'"
    )
    places = asyncio.Semaphore(_MOVES_AT_ONCE)

    async def moved(invocation_id: str) -> bool:
        async with places:
            return await _move(invocation_id)

    wanted = [row["id"] for row in rows if row["service"] in services]
    results = await asyncio.gather(*(moved(invocation_id) for invocation_id in wanted))
    return results.count(True), results.count(False)


async def _move(invocation_id: str) -> bool:
    """Return whether an invocation was moved. One that Restate tries again and again must be paused for it."""
    async with admin.connect() as http:
        if await _resumed(http, invocation_id):
            return True
        await http.patch(f"/invocations/{invocation_id}/pause")
        for _ in range(int(_MOVE_S / _LOOK_AGAIN_S)):
            if await _resumed(http, invocation_id):
                return True
            await asyncio.sleep(_LOOK_AGAIN_S)
    return False


async def _resumed(http: httpx.AsyncClient, invocation_id: str) -> bool:
    """Return whether an invocation goes on at the latest deployment, or has ended."""
    answer = await http.patch(f"/invocations/{invocation_id}/resume", params={"deployment": "latest"})
    return answer.is_success or answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE)


def _deployment(found: dict[str, Any]) -> Deployment:
    return Deployment(
        deployment_id=found["id"],
        uri=found.get("uri"),
        http_version=found.get("http_version"),
        headers=found.get("additional_headers") or {},
        services={service["name"]: service["revision"] for service in found["services"]},
    )


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text


def _code(answer: httpx.Response) -> str | None:
    try:
        code: str | None = answer.json()["restate_code"]
    except (ValueError, KeyError, TypeError):
        return None
    return code
