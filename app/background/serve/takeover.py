"""Who serves what, when several processes could: new calls must go to one that is alive.

Restate sends new calls of a service to the deployment that registered it last, and what a deployment has begun back to
that one, alive or not. So each process looks after the services that it has too, and takes them over from the dead.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from app.background.declare import registry
from app.background.engine import deployments
from app.background.engine.deployments import Deployment
from app.background.functions.addresses import function_service, functions_service
from app.background.protocol import RESERVED
from app.errors import AgentError
from app.hosting.place import Place, is_same_place

LOOK_EVERY_S = 2.0
LOOKS = 2  # in a row that find a place dead, before anything is taken from it: a restart is quicker than that

logger = logging.getLogger("service")


@dataclass
class Stand:
    """What this process serves, and where. `fingerprints` are those of its agent classes."""

    uri: str
    names: frozenset[str]
    fingerprints: dict[str, str]
    # Told what is left to others before anything is registered; None: this process registers all that it has.
    withhold: Callable[[frozenset[str]], None] | None = None
    # Whether services may be taken from a deployment; not from another version of the same application, say.
    may_take_from: Callable[[Deployment], bool] = lambda _: True
    _missed: dict[str, int] = field(default_factory=dict)
    _said: str = ""

    async def arrive(self, shared: frozenset[str]) -> None:
        """Register for the first time: what is this process's own, and of what is `shared` what nobody alive serves.

        Errors: AgentError, httpx.HTTPError.
        """
        alive, dead = await self._elsewhere(await deployments.all_deployments())
        for deployment, names in alive.items():
            await self._say_what_is_taken(deployment, names - shared)
        await self._register(_all_of(alive) & shared, dead)

    async def keep(self) -> None:
        """Look after the services for ever, every few seconds."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except (AgentError, httpx.HTTPError) as exc:
                self._say_once(f"Cannot see who serves what: {exc}")
            else:
                self._said = ""

    async def look(self) -> None:
        """Take over what is served by a place that does not answer, and what nobody serves.

        Errors: AgentError, httpx.HTTPError.
        """
        known = await deployments.all_deployments()
        if not any(is_at(deployment, self.uri) for deployment in known):
            if self.withhold is not None:  # it was known, so Restate has lost its memory
                await self._register(frozenset(), {})
            return  # a process that Restate does not know takes nothing
        alive, dead = await self._elsewhere(known)
        self._missed = {found.deployment_id: self._missed.get(found.deployment_id, 0) + 1 for found in dead}
        gone = {found: why for found, why in dead.items() if self._missed[found.deployment_id] >= LOOKS}
        unserved = self.names - frozenset(deployments.latest(known))
        if not gone and not unserved:
            return
        if self.withhold is None and alive:
            return  # an old version of the application, say, that goes on only with what it has begun
        await self._register(_all_of(alive), gone)

    async def _elsewhere(
        self, known: list[Deployment]
    ) -> tuple[dict[Deployment, frozenset[str]], dict[Deployment, str]]:
        """Return which other deployments serve what, and why which of them do not answer."""
        alive, dead = {}, {}
        for deployment, names in served_elsewhere(known, self.names, self.uri).items():
            reason = await deployments.why_not_answering(deployment) if self.may_take_from(deployment) else None
            if reason is None:
                alive[deployment] = names
            else:
                dead[deployment] = reason
        return alive, dead

    async def _register(self, withheld: frozenset[str], gone: dict[Deployment, str]) -> None:
        if self.withhold is not None:
            self.withhold(withheld)
        here = await deployments.register(self.uri)
        for deployment, reason in gone.items():
            names = frozenset(here.services) & frozenset(deployment.services) & self.names
            logger.warning(
                "%s does not answer (%s): %s serves %s instead", deployment.uri, reason, self.uri, _listed(names)
            )
            theirs = await deployments.fingerprints(deployment)
            # A run follows its code: what other code has begun waits for that code.
            movable = {name for name in names if theirs.get(name) == self.fingerprints.get(name)}
            moved, stuck = await deployments.move(deployment, movable)
            if moved or stuck:
                logger.warning("%d open invocations of %s go on here, %d cannot", moved, deployment.uri, stuck)

    async def _say_what_is_taken(self, deployment: Deployment, names: frozenset[str]) -> None:
        if names:
            theirs = await deployments.fingerprints(deployment)
            changed = sorted(name for name in names if theirs.get(name) != self.fingerprints.get(name))
            other_code = f", with other code for {', '.join(changed)}" if changed else ""
            logger.warning(
                "%s serves %s too%s: new calls come here, what has begun there stays there",
                deployment.uri,
                _listed(names),
                other_code,
            )

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            logger.warning("%s", text)


@asynccontextmanager
async def standing_by(place: Place) -> AsyncIterator[None]:
    """Look after the background agents of an application that somebody else registers, at `place`.

    Nothing is taken from a deployment that serves all that this one does: that is another version of the application,
    which comes back.
    """
    names = frozenset(registry.agent_names()) | RESERVED
    for task_queue, name in registry.function_names():
        names |= {functions_service(task_queue), function_service(task_queue, name)}
    stand = Stand(
        place.url, names, registry.fingerprints(), may_take_from=lambda found: not names <= found.services.keys()
    )
    looking = asyncio.create_task(stand.keep())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def served_elsewhere(known: list[Deployment], names: frozenset[str], uri: str) -> dict[Deployment, frozenset[str]]:
    """Return which of `names` are served elsewhere than at `uri`, by the deployment that new calls go to."""
    found: dict[Deployment, frozenset[str]] = {}
    for name, deployment in deployments.latest(known).items():
        if name in names and not is_at(deployment, uri):
            found[deployment] = found.get(deployment, frozenset()) | {name}
    return found


def is_at(deployment: Deployment, uri: str) -> bool:
    """Return whether a deployment is at `uri`. `localhost` and 127.0.0.1 are one place."""
    return deployment.uri is not None and is_same_place(deployment.uri, uri)


def _all_of(alive: dict[Deployment, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*alive.values())


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
