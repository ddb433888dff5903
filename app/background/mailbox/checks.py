"""What is refused before anything happens: starts, events and queries that cannot go well.

Knows the classes of this process, and asks Restate's admin API for others. Changes no agent.
"""

import json
from datetime import timedelta
from typing import Any

from restate import ObjectContext, ObjectSharedContext, RunOptions

from app.background.declare import registry
from app.background.declare.definition import AgentDefinition
from app.background.engine import admin
from app.background.protocol import Delivery, StartRequest
from app.background.query import LookUp, ServedAgent
from app.errors import AdminUnavailable, Conflict, NotFound, TooLarge
from app.settings import get_settings

_LOOK_UP = RunOptions(max_attempts=5, initial_retry_interval=timedelta(milliseconds=100), type_hint=LookUp)

_registered: set[str] = set()  # agents of this process that Restate knew when it was asked


async def check_start(ctx: ObjectContext, request: StartRequest) -> StartRequest:
    """Return the request with the kind that the class has.

    Durable: one entry.
    Errors: NotFound for what nobody serves, or what is no agent; Conflict where that cannot be asked; UsageError for
    input or an event that does not fit.
    """
    name = request.agent_name
    # A run of a service that Restate does not know would hold its id until somebody registers that.
    found = await ctx.run_typed(f"is {name} served?", _look_up, _LOOK_UP, name)
    if found.agent is None:
        if found.problem:
            raise Conflict(found.problem)
        known = ", ".join(registry.agent_names()) or "none"
        raise NotFound(f"There is no agent {name!r} (served here: {known}): pass it to start_service(agents=[…])")
    definition = registry.find_agent(name)
    if definition is not None:  # otherwise another deployment checks the input
        definition.run.arguments(request.input)
        if request.event is not None:
            event = Delivery(role="event", name=request.event.name, input=request.event.input)
            check_delivery(definition, event)
    return request.changed(kind=found.agent.kind)


async def answers_queries(ctx: ObjectSharedContext, agent_name: str) -> bool:
    """Return whether the service of an agent has the handler that answers queries from memory.

    Durable: one entry, none for an agent of this deployment, which is the same in every attempt.
    """
    if registry.find_agent(agent_name) is not None:
        return True
    found = await ctx.run_typed("can it be asked?", _look_up, _LOOK_UP, agent_name)
    return found.agent is not None and found.agent.answers_queries


def check_delivery(definition: AgentDefinition, delivery: Delivery) -> None:
    """Check an event or a query against the class.

    Errors: NotFound names what the agent has; UsageError for input that does not fit.
    """
    handlers = definition.events if delivery.role == "event" else definition.states
    if delivery.name not in handlers:
        known = ", ".join(sorted(handlers)) or "none"
        raise NotFound(f"{definition.name} has no {delivery.role} {delivery.name!r}; it has: {known}")
    handlers[delivery.name].arguments(delivery.input)


def check_size(value: Any, what: str) -> None:
    """Check the size of what is stored, sent and replayed again and again. Errors: TooLarge.

    Checked once, where it comes in: what clients send at the front door, the input of a child in its mailbox.
    """
    limit = get_settings().max_event_chars
    size = len(json.dumps(value, ensure_ascii=False))
    if size > limit:
        raise TooLarge(
            f"{what} has {size} characters as JSON, the limit is {limit}: send less, for example where it can be found"
        )


async def _look_up(name: str) -> LookUp:
    """Ask Restate for an agent, once for each that this process serves itself."""
    local = registry.find_agent(name)
    if local is None or name not in _registered:
        try:
            served = await admin.served_agent(name)
        except AdminUnavailable as exc:
            if local is None:
                return LookUp(problem=f"Nobody can say whether there is an agent {name!r}. {exc.message}")
        else:
            if served is None or local is None:
                return LookUp(agent=served)
            _registered.add(name)
    return LookUp(agent=ServedAgent(kind=local.kind, answers_queries=True))
