"""What this process serves: the agents and, for each task queue, the functions.

Filled by `serve/services.py` when services are built. Refuses two of one name, and starts nothing.
"""

from collections.abc import Mapping

from app.background.declare.definition import AgentDefinition
from app.background.declare.operation import Operation
from app.errors import DefinitionError, UsageError

_agents: dict[str, AgentDefinition] = {}
_functions: dict[str, dict[str, Operation]] = {}


def add_agent(definition: AgentDefinition) -> None:
    """Make an agent known. Errors: DefinitionError for two classes of one name."""
    known = _agents.setdefault(definition.name, definition)
    if known.cls is not definition.cls:
        raise DefinitionError(
            f"{known.cls!r} and {definition.cls!r} are both named {definition.name!r}: give one @agent.defn(name=…)"
        )


def add_function(task_queue: str, function: Operation) -> None:
    """Make a function known. Errors: DefinitionError for two functions of one name on one queue."""
    known = _functions.setdefault(task_queue, {}).setdefault(function.name, function)
    if known.function is not function.function:
        raise DefinitionError(
            f"Two functions of task queue {task_queue!r} are named {function.name!r}: give one @function.defn(name=…)"
        )


def find_agent(name: str) -> AgentDefinition | None:
    """Return the agent `name` if this process serves it."""
    return _agents.get(name)


def agent_names() -> list[str]:
    return sorted(_agents)


def fingerprints() -> dict[str, str]:
    """Return which code this process has for each of its agents."""
    return {name: definition.fingerprint for name, definition in _agents.items()}


def function_names() -> list[tuple[str, str]]:
    """Return task queue and name of each function."""
    return [(task_queue, name) for task_queue, functions in _functions.items() for name in functions]


def functions_of(task_queue: str) -> Mapping[str, Operation]:
    """Return the functions that this process serves on a task queue."""
    return _functions.get(task_queue, {})


def require_function(task_queue: str, name: str) -> Operation:
    """Return a function. Errors: UsageError names those that are served."""
    served = functions_of(task_queue)
    if name not in served:
        names = ", ".join(sorted(served)) or "none"
        raise UsageError(
            f"Function {name!r} is not served on task queue {task_queue!r} (served: {names}): "
            "pass it to start_service(functions=[…])"
        )
    return served[name]
