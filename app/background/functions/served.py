"""Whether anybody serves a function, before a run waits for it.

Asks Restate's admin API. What a step does with the answer is in `run/step.py`.
"""

import asyncio
import logging
import time

import httpx

from app.background.engine import deployments
from app.background.engine.admin import is_served
from app.background.functions.addresses import function_service, functions_service
from app.errors import AgentError

GRACE_S = 5  # for a service that starts at the same time as the agent that calls it
TRUSTED_S = 10  # a service that was there is still there: each of many short runs would ask again
_LOOK_AGAIN_S = 0.25

_served_at: dict[str, float] = {}
_looking: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks by weak references only

logger = logging.getLogger("functions")


async def why_not_served(task_queue: str, name: str, agent_id: str) -> str:
    """Return why no process can run a function, "" if one can. A process that is just starting gets a while.

    A process that is down counts: the call waits for it, and the log says so a moment later.
    """
    service = function_service(task_queue, name)
    if time.monotonic() - _served_at.get(service, float("-inf")) < TRUSTED_S:
        return ""
    give_up_at = time.monotonic() + GRACE_S
    while not await is_served(service):
        if time.monotonic() >= give_up_at:
            return await _not_served(task_queue, name)
        await asyncio.sleep(_LOOK_AGAIN_S)
    _served_at[service] = time.monotonic()
    looking = asyncio.create_task(_say_if_down(service, task_queue, name, agent_id))
    _looking.add(looking)
    looking.add_done_callback(_looking.discard)
    return ""


async def _say_if_down(service: str, task_queue: str, name: str, agent_id: str) -> None:
    """Log that a call waits. Beside the step, which must not take longer for it."""
    try:
        reason = await deployments.why_down(service)
    except (AgentError, httpx.HTTPError) as exc:
        logger.debug("Cannot ask whether %s is up: %s", service, exc)
        return
    if reason is not None:
        logger.warning(
            "Agent %s waits for function %r of task queue %r, whose service is down: %s. Start it again.",
            agent_id,
            name,
            task_queue,
            reason,
        )


async def _not_served(task_queue: str, name: str) -> str:
    prefix = f"{functions_service(task_queue)}."
    served = sorted(
        service.removeprefix(prefix) for service in await deployments.service_names() if service.startswith(prefix)
    )
    if not served:
        return f"Task queue {task_queue!r} is not served: start_service(functions=[…], task_queue={task_queue!r})"
    return (
        f"Function {name!r} is not served on task queue {task_queue!r} (served: {', '.join(served)}): "
        "pass it to start_service(functions=[…])"
    )
