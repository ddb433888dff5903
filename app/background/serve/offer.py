"""What one process serves, and which part of it Restate is told: the rest is there, but for others to serve.

Speaks ASGI. What is withheld is decided in `takeover.py`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from restate import Service, VirtualObject

from app.background.functions.addresses import is_functions_service
from app.background.protocol import RESERVED
from app.hosting.endpoint import build_endpoint
from app.settings import get_settings

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

RestateService = Service | VirtualObject


def is_shared(service: RestateService) -> bool:
    """Return whether every process could serve it: what all agents share, and the door for older calls of functions."""
    return service.name in RESERVED or (isinstance(service, VirtualObject) and is_functions_service(service.name))


class Offer:
    """The application of a process. It answers calls of all its services, and names those that are not `withheld`."""

    def __init__(self) -> None:
        self._services: dict[str, RestateService] = {}
        self._applications: dict[frozenset[str], ASGIFramework] = {}
        self.withheld: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._services)

    @property
    def shared(self) -> frozenset[str]:
        return frozenset(name for name, service in self._services.items() if is_shared(service))

    def add(self, services: Iterable[RestateService]) -> None:
        """Serve more. Of two services with one name the first stays: they are the same."""
        for service in services:
            self._services.setdefault(service.name, service)

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        names = self.names
        if scope["type"] == "http" and scope["path"].endswith("/discover"):
            names -= self.withheld
        await self._application(names)(scope, receive, send)

    def _application(self, names: frozenset[str]) -> "ASGIFramework":
        """Return the SDK's application for some services. Each set needs one of its own, so they are kept."""
        if names not in self._applications:
            chosen = [service for name, service in self._services.items() if name in names]
            self._applications[names] = build_endpoint(chosen, get_settings())
        return self._applications[names]
