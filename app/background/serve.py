"""From declarations to Restate services: what a process must serve for its agents, workflows and functions.

Builds and registers names in this process; starts nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from restate import Service, VirtualObject

from app.background import registry
from app.background.agent_run import IDLE, run_service
from app.background.background_agent import background_agent
from app.background.definition import AgentDefinition, definition_of
from app.background.front_door import background_agents
from app.background.function import definition_of_function
from app.background.functions import functions_object
from app.background.protocol import DEFAULT_QUEUE, RESERVED
from app.background.runs import background_runs
from app.background.schedules import background_schedule
from app.errors import DefinitionError
from app.settings import get_settings


def services(
    *,
    agents: Sequence[type] = (),
    workflows: Sequence[type] = (),
    functions: Sequence[Callable[..., Any]] = (),
    task_queue: str = DEFAULT_QUEUE,
) -> list[Service | VirtualObject]:
    """Return the Restate services of agents, workflows and the functions of one task queue, and what agents share.

    Errors: DefinitionError for what is not declared, or for two of one name.
    """
    silence_s = get_settings().inactivity_timeout_s
    idle = None if silence_s is None else IDLE
    background_runs.inactivity_timeout = idle
    built: list[Service | VirtualObject] = []
    if agents or workflows:  # not with functions alone: Restate asks the deployment that was registered last
        built += [background_agents, background_agent, background_runs, background_schedule]
    for cls in (*agents, *workflows):
        definition = definition_of(cls)
        _check_name(definition)
        registry.add_agent(definition)
        built.append(run_service(definition, idle=idle))
    for function in functions:
        registry.add_function(task_queue, definition_of_function(function))
    if functions:
        silence = None if silence_s is None else timedelta(seconds=silence_s)
        built.append(functions_object(task_queue, inactivity_timeout=silence))
    return built


@contextmanager
def import_functions() -> Iterator[None]:
    """Import functions inside of this, as the reference does; nothing needs it here, where agents are not sandboxed."""
    yield


def _check_name(definition: AgentDefinition) -> None:
    if definition.name in RESERVED:
        raise DefinitionError(f"{definition.name!r} is the name of a service of ours: use @agent.defn(name=…)")
