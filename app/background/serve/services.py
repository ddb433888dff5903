"""From declarations to Restate services: what a process must serve for its agents, workflows and functions.

Builds services, and makes names known in this process. Starts nothing.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from restate import Service, VirtualObject

from app.background.declare import registry
from app.background.declare.definition import AgentDefinition, definition_of, definition_of_function
from app.background.declare.names import NAME
from app.background.functions.service import functions_object, service_of_function
from app.background.gateway.service import background_agents
from app.background.mailbox.service import background_agent
from app.background.protocol import DEFAULT_QUEUE, RESERVED
from app.background.run.service import IDLE, run_service
from app.background.run.watch import background_runs
from app.background.schedules.service import background_schedule
from app.errors import DefinitionError
from app.settings import get_settings


def services(
    *,
    agents: Sequence[type] = (),
    workflows: Sequence[type] = (),
    functions: Sequence[Callable[..., Any]] = (),
    task_queue: str = DEFAULT_QUEUE,
    shared: bool | None = None,
) -> list[Service | VirtualObject]:
    """Return the Restate services of agents, workflows and the functions of one task queue, and what agents share.

    `shared` None leaves out what agents share if there are only functions: registered by hand, they would take it away
    from whoever serves it.
    Errors: DefinitionError for what is not declared, for two of one name, or a task queue whose name Restate refuses.
    """
    if not NAME.fullmatch(task_queue):
        raise DefinitionError(f"{task_queue!r} is no name of a task queue: use letters, digits and _ . - only")
    silence_s = get_settings().inactivity_timeout_s
    idle = None if silence_s is None else IDLE
    background_runs.inactivity_timeout = idle
    built: list[Service | VirtualObject] = []
    if shared or (shared is None and (agents or workflows)):
        built += [background_agents, background_agent, background_runs, background_schedule]
    for cls in (*agents, *workflows):
        definition = definition_of(cls)
        _check_name(definition)
        registry.add_agent(definition)
        built.append(run_service(definition, idle=idle))
    silence = None if silence_s is None else timedelta(seconds=silence_s)
    for function in functions:
        operation = definition_of_function(function)
        registry.add_function(task_queue, operation)
        built.append(service_of_function(task_queue, operation.name, inactivity_timeout=silence))
    if functions:
        built.append(functions_object(task_queue, inactivity_timeout=silence))
    return built


def _check_name(definition: AgentDefinition) -> None:
    if definition.name in RESERVED:
        raise DefinitionError(f"{definition.name!r} is the name of a service of ours: use @agent.defn(name=…)")
