"""What a server says of its tools, made fit for the LLM: names, descriptions and JSON schemas within limits.

Pure. What does not fit is left out, with the reason: servers are programs of others.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import PydanticSerializationError, to_json

from app.llm import ToolSpec
from app.mcp.config import McpServer
from app.mcp.names import name_of
from app.text import clean, clean_data, shorten

MAX_TOOLS = 128  # of one server; LLM servers take no more
MAX_DESCRIPTION_CHARS = 2000
MAX_SCHEMA_BYTES = 32_000
MAX_OFFER_BYTES = 200_000  # of all schemas of one server: the LLM reads them with every call
MAX_SCHEMA_DEPTH = 24


class Listed(Protocol):
    """A tool as a server lists it. The text that the LLM sees is its own."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str | None: ...
    @property
    def input_schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class OfferedTool:
    """A tool as the LLM gets it. Its server calls it `tool`. If `repeatable`, a second call does no harm."""

    spec: ToolSpec
    tool: str
    repeatable: bool


def offer_of(server: McpServer, listed: Iterable[Listed]) -> tuple[list[OfferedTool], list[str]]:
    """Return what is offered of a server's tools, and a sentence for each that had to be left out."""
    offered: dict[str, OfferedTool] = {}
    refused: list[str] = []
    room = MAX_OFFER_BYTES
    for each in listed:
        if not server.offers(each.name):
            continue
        name = name_of(server.name, each.name)
        said = shorten(clean(each.name), 80)
        if name in offered:
            refused.append(f"{said!r} is listed twice")
        elif len(offered) == MAX_TOOLS:
            refused.append(f"{said!r} is one more than {MAX_TOOLS}")
        elif (problem := problem_of(each.input_schema)) is not None:
            refused.append(f"the schema of {said!r} {problem}")
        else:
            description = server.without_secrets(shorten(clean(each.description or each.name), MAX_DESCRIPTION_CHARS))
            spec = ToolSpec(name, description, _schema_of(server, each.input_schema))
            room -= len(json.dumps(spec.parameters)) + len(description)
            if room < 0:
                refused.append(f"with {said!r} the schemas have more than {MAX_OFFER_BYTES} bytes")
                break
            offered[name] = OfferedTool(spec, each.name, _is_repeatable(each))
    return list(offered.values()), refused


def problem_of(schema: object) -> str | None:
    """Return why the LLM cannot have a JSON schema of arguments, None if it can."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return "is not that of an object"
    if not isinstance(schema.get("properties", {}), Mapping):
        return "has no properties"
    if _depth(schema, MAX_SCHEMA_DEPTH) > MAX_SCHEMA_DEPTH:
        return f"is nested deeper than {MAX_SCHEMA_DEPTH}"
    try:
        size = len(to_json(clean_data(dict(schema))))
    except (PydanticSerializationError, ValueError):
        return "is no JSON"
    return f"has {size} bytes, {MAX_SCHEMA_BYTES} are allowed" if size > MAX_SCHEMA_BYTES else None


def _schema_of(server: McpServer, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without what only tells of itself. Some LLM servers insist on `properties`."""
    cleaned: dict[str, Any] = clean_data({key: value for key, value in schema.items() if key not in ("$schema", "$id")})
    if server.secrets:
        cleaned = json.loads(server.without_secrets(json.dumps(cleaned)))
    return {"properties": {}, **cleaned}


def _depth(value: object, limit: int) -> int:
    """Return how deep a value is nested, no further than `limit` + 1."""
    if limit < 0:
        return 1
    match value:
        case Mapping():
            return 1 + max((_depth(each, limit - 1) for each in value.values()), default=0)
        case list():
            return 1 + max((_depth(each, limit - 1) for each in value), default=0)
    return 0


def _is_repeatable(listed: Listed) -> bool:
    """Return whether the server says that a repeated call changes nothing more."""
    hints = getattr(listed, "annotations", None)
    return bool(getattr(hints, "read_only_hint", False) or getattr(hints, "idempotent_hint", False))
