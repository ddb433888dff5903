"""What classes of agents and functions declare: decorators mark and validate at import time.

A class gets one frozen AgentDefinition, a function its name. The runtime reads nothing else. Nothing is registered
here, nothing runs.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from app.background.declare.fingerprint import fingerprint
from app.background.declare.names import NAME
from app.background.declare.operation import Operation
from app.background.protocol import Kind
from app.durable import condition
from app.errors import DefinitionError

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

Role = Literal["run", "event", "state"]

_MARK = "__background_role__"
_DEFINITION = "__background_definition__"
_FUNCTION = "__background_function__"


@dataclass(frozen=True)
class AgentDefinition:
    """An agent or a workflow as the runtime sees it. Handlers are found here, so a field may have an event's name."""

    name: str
    kind: Kind
    cls: type
    description: str | None
    run: Operation
    events: Mapping[str, Operation]
    states: Mapping[str, Operation]
    fingerprint: str


def define(cls: C, *, kind: Kind, name: str | None, description: str | None) -> C:
    """Read the marks of `cls` and leave the definition on it.

    Errors: DefinitionError.
    """
    defined_name = name or cls.__name__
    if not NAME.fullmatch(defined_name):
        raise DefinitionError(f"{defined_name!r} cannot name an {kind}: use letters, digits and _ . - only")
    marked = {role: dict(_marked(cls, defined_name, role)) for role in ("run", "event", "state")}
    if len(marked["run"]) > 1:
        raise DefinitionError(f"{cls.__name__} has {', '.join(marked['run'])} with @{kind}.run: keep one of them")
    waiting = Operation.of(_wait_for_events, name="run", title=f"{defined_name}.run", method=True)
    definition = AgentDefinition(
        name=defined_name,
        kind=kind,
        cls=cls,
        description=description or inspect.getdoc(cls),
        run=next(iter(marked["run"].values()), waiting),
        events=marked["event"],
        states=marked["state"],
        fingerprint=fingerprint(cls),
    )
    setattr(cls, _DEFINITION, definition)
    return cls


def definition_of(cls: object) -> AgentDefinition:
    """Return the definition of a class.

    Errors: DefinitionError if it has none of its own.
    """
    definition = vars(cls).get(_DEFINITION) if isinstance(cls, type) else None
    if not isinstance(definition, AgentDefinition):
        raise DefinitionError(f"{cls!r} is neither an agent nor a workflow: put @agent.defn() on a class")
    return definition


@overload
def marker(role: Role, function: F, *, name: str | None = None, kind: Kind = "agent") -> F: ...
@overload
def marker(role: Role, function: None, *, name: str | None = None, kind: Kind = "agent") -> Callable[[F], F]: ...
def marker(role: Role, function: F | None, *, name: str | None = None, kind: Kind = "agent") -> Any:
    """Mark a method for `define`. Works as `@agent.event` and as `@agent.event(name=…)`.

    Errors: DefinitionError for a method of the wrong sort.
    """

    def mark(method: F) -> F:
        is_coroutine = inspect.iscoroutinefunction(method)
        if role == "state" and is_coroutine:
            raise DefinitionError(f"@agent.state on {method.__qualname__}: make it a plain `def`, it must not wait")
        if role != "state" and not is_coroutine:
            raise DefinitionError(f"@{kind}.{role} on {method.__qualname__}: make it an `async def`")
        setattr(method, _MARK, (role, name or method.__name__))
        return method

    return mark if function is None else mark(function)


def mark_function(function: F, name: str | None) -> F:
    """Give a function the name that Restate knows it by. Errors: DefinitionError if it needs more than one input."""
    setattr(function, _FUNCTION, name or function.__name__)
    definition_of_function(function)
    return function


def definition_of_function(function: Callable[..., Any]) -> Operation:
    """Return a function as the runtime sees it. Errors: DefinitionError."""
    if not (inspect.isfunction(function) or inspect.ismethod(function) or inspect.isbuiltin(function)):
        raise DefinitionError(f"{function!r} is not a function: pass the function itself, not its name or its result")
    name = getattr(function, _FUNCTION, function.__name__)
    return Operation.of(function, name=name, title=f"function {name!r}")


async def _wait_for_events(_self: object) -> None:
    """Wait for ever: the `run` of a class that has none. Its agents handle events until they are cancelled."""
    await condition(lambda: False)


def _marked(cls: type, agent_name: str, role: str) -> Iterator[tuple[str, Operation]]:
    """Yield the methods of `cls` with that role. A subclass replaces what its bases call the same."""
    members = {name: member for part in reversed(cls.__mro__) for name, member in vars(part).items()}
    for member in members.values():
        marked_role, name = getattr(member, _MARK, (None, ""))
        if marked_role == role:
            title = f"{agent_name}.run" if role == "run" else f"{role} {name!r} of {agent_name}"
            yield name, Operation.of(member, name=name, title=title, method=True)
