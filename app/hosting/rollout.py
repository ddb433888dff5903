"""A rolling upgrade: the new version beside the old, which goes on with what it has begun until nothing needs it.

Asks Restate's admin API. Starts and stops no process.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx

from app.engine import admin
from app.errors import AgentError, Conflict, NotFound
from app.hosting.place import is_same_place
from app.text import printable, shorten

_UNREACHABLE = "META0003"  # Restate's code: nobody is there, or nobody that serves Restate


@dataclass(frozen=True)
class _Deployment:
    deployment_id: str
    url: str
    newest: tuple[str, ...]  # services that start here


def wrong_url(url: str) -> str | None:
    """Return what is wrong with `url` as that of a service, None if nothing is."""
    if _is_complete(url):
        return None
    has_all_but_scheme = ":" in url and "//" not in url and _is_complete(f"http://{url}")
    meant = f"http://{url}" if has_all_but_scheme else "http://127.0.0.1:9080"
    return printable(f"{url!r} is not the URL of a service: write it like {meant}.")


async def register(url: str) -> str:
    """Make the service at `url` known to Restate and return what that means. New invocations start there.

    Nothing is replaced: invocations that another deployment has begun stay with it. An address may be used again once
    the version that was there is drained. `localhost` is registered as 127.0.0.1, where `up` registers too.
    Errors: Conflict where an older version has open invocations, AgentError with Restate's reason, AdminUnavailable.
    """
    url = _with_address(url)
    async with admin.connect() as http:
        here = sorted(await _deployments(http, url), key=lambda each: not each.newest)
        for present in here:
            if present.newest:
                return printable(
                    f"{present.url} is registered since earlier: {', '.join(present.newest)} start there. "
                    "If its code has changed, start it at another address and register that."
                )
            if needed := await _needed(present):
                raise Conflict(f"{needed} Start the new version at another address.")
            # Nothing needs it: it is drained.
            await _request(http, "DELETE", f"/deployments/{present.deployment_id}?force=true")
        await _request(http, "POST", "/deployments", {"uri": url, "force": False})
        deployments = await _deployments(http)
    services = [service for each in deployments if is_same_place(each.url, url) for service in each.newest]
    lines = [f"{url} is registered: {', '.join(services)} start there."]
    older = [each for each in deployments if not is_same_place(each.url, url)]
    lines += [f"`python app/main.py drained {each.url}` says when that one may be stopped." for each in older]
    return printable("\n".join(lines), keep="\n")


async def drained(url: str) -> tuple[bool, str]:
    """Return whether the deployment at `url` may be stopped, and why or why not.

    Errors: NotFound if Restate knows of none there, AdminUnavailable.
    """
    async with admin.connect() as http:
        found = await _deployments(http, url)
    if not found:
        raise NotFound(f"Restate knows of no deployment at {url}")
    needed = [why for each in found if (why := await _needed(each)) is not None]
    if needed:
        return False, printable(" ".join(needed))
    return True, printable(f"{url} is drained: no service starts there and nothing that it began is open. Stop it.")


async def _needed(deployment: _Deployment) -> str | None:
    """Return why a deployment may not be stopped, None if it may."""
    if deployment.newest:
        return (
            f"{deployment.url} is needed: {', '.join(deployment.newest)} start there. Register the new version first."
        )
    if open_there := await _open_invocations(deployment.deployment_id):
        counts = ", ".join(f"{count} of {service}" for service, count in sorted(open_there.items()))
        return f"{deployment.url} is needed: invocations that it began are open, {counts}."
    return None


async def _deployments(http: httpx.AsyncClient, url: str | None = None) -> list[_Deployment]:
    """Return what is registered, or what of it is at `url`."""
    newest: dict[str, list[str]] = {}
    for service in (await _request(http, "GET", "/services"))["services"]:
        newest.setdefault(service["deployment_id"], []).append(service["name"])
    return [
        _Deployment(each["id"], each["uri"].rstrip("/"), tuple(sorted(newest.get(each["id"], ()))))
        for each in (await _request(http, "GET", "/deployments"))["deployments"]
        # One on Lambda has no address, and is nothing to stop.
        if "uri" in each and (url is None or is_same_place(each["uri"], url))
    ]


def _is_complete(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    is_host = parsed.host != "" and "%" not in parsed.host  # an escape of what no host may have
    return parsed.scheme in ("http", "https") and is_host and (parsed.port or 1) < 2**16


def _with_address(url: str) -> str:
    """Return `url` with 127.0.0.1 for `localhost`, which may stand for two addresses."""
    parsed = httpx.URL(url)
    return str(parsed.copy_with(host="127.0.0.1")) if parsed.host == "localhost" else url


async def _open_invocations(deployment_id: str) -> Counter[str]:
    """Return how many invocations of each service have begun at a deployment and are not over."""
    rows = await admin.query(
        "SELECT target_service_name AS service, count(*) AS open FROM sys_invocation "  # noqa: S608 - quoted
        f"WHERE coalesce(pinned_deployment_id, last_attempt_deployment_id) = {admin.quoted(deployment_id)} "
        "AND status <> 'completed' GROUP BY target_service_name"
    )
    return Counter({row["service"]: row["open"] for row in rows})


async def _request(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    """Return the JSON of the answer.

    Errors: AgentError with Restate's words.
    """
    answer = await http.request(method, path, json=body, headers={"accept": "application/json"})
    if answer.is_success:
        return answer.json() if answer.content else None
    message, code = _words(answer)
    if code == _UNREACHABLE and isinstance(body, dict):
        raise AgentError(
            f"Restate finds no service at {body.get('uri')} ({message.replace(f'[{code}] ', '')}): start it there, or "
            "name the address where Restate reaches it."
        )
    raise AgentError(f"Restate answers {answer.status_code}: {message}")


def _words(answer: httpx.Response) -> tuple[str, str | None]:
    """Return what a refusal says, and Restate's code for it if it has one."""
    try:
        said = answer.json()
        return shorten(str(said["message"]), 1000), said.get("restate_code")
    except (ValueError, TypeError, KeyError):  # not from Restate
        return shorten(answer.text, 1000), None
