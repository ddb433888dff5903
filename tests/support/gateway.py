"""The gateway without sockets: requests go straight into its application, and Restate's ingress is a function."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import httpx

from app.settings import Settings
from app.web.app import build_gateway
from app.web.ingress import Ingress

ALICE, BOB = "alice-token-0123456789", "bob-token-0123456789"
TOKENS = f"alice:{ALICE},bob:{BOB}"
HOST = "localhost:8000"


class FakeIngress:
    """Restate's ingress: answers each call with `answers[handler]`, or an empty object, and keeps what it got."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        _, _, key, handler = request.url.raw_path.decode().split("/")
        self.calls.append((unquote(key), handler, json.loads(request.content)))
        return httpx.Response(200, json=self.answers.get(handler, {}))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def gateway(
    restate: Callable[[httpx.Request], httpx.Response] | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a gateway with these settings, whose ingress is `restate`."""
    app = build_gateway(Settings(_env_file=None, **settings))
    app.gateway.ingress = Ingress("http://restate", transport=httpx.MockTransport(restate or FakeIngress()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
        yield http
    await app.close()
