"""A service of one's own in this process: listens once, registers with Restate, and stays registered.

Several `start_service` in one process share the address. What is served is declared by the callers.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.background.declare import registry
from app.background.declare.definition import definition_of, definition_of_function
from app.background.engine import deployments
from app.background.functions.limits import Limits
from app.background.functions.service import limit
from app.background.published.options import ResourceOptions, ServiceOptions
from app.background.serve.offer import Offer
from app.background.serve.services import services
from app.background.serve.takeover import Stand
from app.errors import AdminUnavailable, AgentError
from app.hosting.endpoint import require_callers_known
from app.hosting.logs import set_up_logging
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped
from app.settings import get_settings

_TRY_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # the last one for ever

logger = logging.getLogger("service")


@dataclass(frozen=True)
class Declared:
    """What one `start_service` serves on one task queue."""

    agents: Sequence[type] = ()
    workflows: Sequence[type] = ()
    functions: Sequence[Callable[..., Any]] = ()
    task_queue: str = "restack"
    options: ServiceOptions | None = None
    resources: ResourceOptions | None = None

    def __str__(self) -> str:
        kinds = {
            "agents": [definition_of(cls).name for cls in self.agents],
            "workflows": [definition_of(cls).name for cls in self.workflows],
            "functions": [definition_of_function(function).name for function in self.functions],
        }
        listed = "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items() if names)
        return f"task queue {self.task_queue!r}: {listed}"


async def serve(declared: Declared) -> None:
    """Serve what is declared at HOST:PORT until SIGINT or SIGTERM, or until this is cancelled.

    Errors: DefinitionError; UsageError when the port is taken, or open to others who are not known.
    """
    settings = get_settings()
    require_callers_known(settings)
    set_up_logging(settings.log_level)
    built = services(
        agents=declared.agents,
        workflows=declared.workflows,
        functions=declared.functions,
        task_queue=declared.task_queue,
        shared=True,
    )
    limit(declared.task_queue, Limits.of(declared.options, declared.resources))
    process = _Process.of_this_loop()
    process.offer.add(built)
    process.declared.append(declared)
    process.users += 1
    process.changed.set()
    try:
        await asyncio.shield(process.serving)
    finally:
        process.users -= 1
        if not process.users:
            await process.end()


@dataclass
class _Process:
    """The one address of this process."""

    place: Place
    offer: Offer = field(default_factory=Offer)
    declared: list[Declared] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    users: int = 0

    def __post_init__(self) -> None:
        self.serving = asyncio.create_task(self._serve())

    @classmethod
    def of_this_loop(cls) -> "_Process":
        """Return the process that serves already, or begin to."""
        loop = asyncio.get_running_loop()
        process = _processes.get(loop)
        if process is None:
            settings = get_settings()
            process = _processes[loop] = cls(Place(settings.host, settings.port, "PORT"))
        return process

    @property
    def uri(self) -> str:
        return self.place.url

    async def end(self) -> None:
        """Stop to serve."""
        _processes.pop(asyncio.get_running_loop(), None)
        self.serving.cancel()
        await asyncio.wait((self.serving,))

    async def _serve(self) -> None:
        keeping = asyncio.create_task(self._keep_registered())
        try:
            await serve_until_stopped(self.offer, self.place)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep_registered(self) -> None:
        """Register, again when there is more to serve, and look after the services in between."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            stand = Stand(self.uri, self.offer.names, registry.fingerprints(), withhold=self._withhold)
            await self._register(stand)
            keeping = asyncio.create_task(stand.keep())
            try:
                await self.changed.wait()
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _register(self, stand: Stand) -> None:
        """Register until it works. Restate asks the address what it serves, so that must be up."""
        said = ""
        for attempt in range(1_000_000):
            try:
                if taken := await deployments.foreign_names(registry.agent_names()):
                    raise AgentError(
                        f"Restate has another service named {', '.join(taken)}: name yours by @agent.defn(name=…)"
                    )
                await stand.arrive(self.offer.shared)
            except AdminUnavailable as exc:
                problem = exc.message
            except (AgentError, httpx.HTTPError) as exc:
                problem = str(exc)
            else:
                self._say_what_is_served()
                return
            # The first failure is usual: the port is only just being opened.
            if attempt and problem != said:
                said = problem
                logger.warning("Cannot register %s yet, and tries again. %s", self.uri, problem)
            await asyncio.sleep(_TRY_AGAIN_S[min(attempt, len(_TRY_AGAIN_S) - 1)])

    def _withhold(self, names: frozenset[str]) -> None:
        self.offer.withheld = names

    def _say_what_is_served(self) -> None:
        for declared in self.declared:
            logger.info("Serving on %s, task queue %s", self.uri, str(declared).removeprefix("task queue "))
        if self.offer.withheld:
            logger.info("Left to another process, until that is gone: %s", ", ".join(sorted(self.offer.withheld)))


_processes: dict[asyncio.AbstractEventLoop, _Process] = {}
