"""The tools that the LLM is offered: those of `app/tools/__init__.py`, and those that settings add.

Owns which these are, and what the LLM is told of the agents that it may start. Calls none.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from pydantic import TypeAdapter

from app import tools
from app.background.declare import registry
from app.background.declare.definition import AgentDefinition
from app.settings import get_settings
from app.tools.agents import AGENT_TOOLS, start_agent
from app.tools.registry import Tool, by_name
from app.tools.trip import TRIP_TOOLS

_MAX_SCHEMA_CHARS = 2000  # of the input of an agent; it is sent with each LLM call


class Offered(Mapping[str, Tool]):
    """The tools by name. Settings are read, and agents looked up, when one is first asked for."""

    def __init__(self, own: Mapping[str, Tool]) -> None:
        self._own = own

    def __getitem__(self, name: str) -> Tool:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> Mapping[str, Tool]:
        settings = get_settings()
        added: tuple[Tool, ...] = ()
        if settings.chat_agents is not None:
            added += tuple(_with_catalog(each, settings.chat_agents) for each in AGENT_TOOLS)
        if settings.example == "trip":
            known = {each.name for each in added}
            added += tuple(each for each in TRIP_TOOLS if each.name not in known)
        return {**self._own, **{name: each for name, each in by_name(*added).items() if name not in self._own}}


OFFERED = Offered(tools.TOOLS)


def _with_catalog(each: Tool, names: tuple[str, ...]) -> Tool:
    """Return `start_agent` with a description that names the agents which may be started; any other as it is."""
    if each is not start_agent:
        return each
    catalog = "\n".join(_entry(name, registry.find_agent(name)) for name in names)
    return replace(each, spec=replace(each.spec, description=f"{each.spec.description}\n\nThe agents:\n{catalog}"))


def _entry(name: str, definition: AgentDefinition | None) -> str:
    if definition is None:  # another deployment serves it
        return f"- {name}"
    about = (definition.description or "").split("\n\n")[0].replace("\n", " ")
    parts = [f"- {name}: {about}", f"  input: {_schema(definition)}"]
    parts += [f"  {kind}: {', '.join(sorted(known))}" for kind, known in _operations(definition) if known]
    return "\n".join(parts)


def _operations(definition: AgentDefinition) -> tuple[tuple[str, Mapping[str, object]], ...]:
    return ("events", definition.events), ("states", definition.states)


def _schema(definition: AgentDefinition) -> str:
    hint = definition.run.input_type
    if hint is None:
        return "none"
    try:
        text = json.dumps(TypeAdapter(hint).json_schema(), ensure_ascii=False)
    except Exception:  # noqa: BLE001 - a type of the user's that has no schema; the agent checks its input anyway
        return "any JSON"
    return text if len(text) <= _MAX_SCHEMA_CHARS else "a JSON object"
