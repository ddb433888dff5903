"""The arguments with which the offline model calls a tool: read from the message, fitted to the tool's JSON schema.

Pure: no I/O. It understands a JSON object in the message, else numbers and the text itself, but no language.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_NOTHING: dict[str, Any] = {"boolean": True, "array": [], "object": {}, "null": None}

Schema = Mapping[str, Any]


def arguments_for(parameters: Schema, message: str) -> dict[str, Any]:
    """Return arguments for a tool with the JSON schema `parameters`, an object.

    Shapes: a JSON object in `message` is taken as it is. Otherwise each required parameter gets a value of its type:
    a number the next number of the message (1 without one), a text the whole message, an enum its first value.
    """
    written = _json_object_in(message)
    if written is not None:
        return written
    numbers = iter(_NUMBER.findall(message))
    definitions: Schema = parameters.get("$defs", {})
    properties: Mapping[str, Schema] = parameters.get("properties", {})
    return {
        name: _value(properties.get(name, {}), definitions, message, numbers) for name in parameters.get("required", ())
    }


def _value(schema: Schema, definitions: Schema, message: str, numbers: Iterator[str]) -> Any:
    if "$ref" in schema:
        return _value(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions, message, numbers)
    if alternatives := schema.get("anyOf"):
        return _value(alternatives[0], definitions, message, numbers)
    if schema.get("enum"):
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "integer":
            return int(float(next(numbers, "1")))
        case "number":
            return float(next(numbers, "1"))
        case "object" if schema.get("required"):
            inner = schema.get("properties", {})
            return {name: _value(inner.get(name, {}), definitions, message, numbers) for name in schema["required"]}
        case str(kind) if kind in _NOTHING:
            return _NOTHING[kind]
    return message


def _json_object_in(message: str) -> dict[str, Any] | None:
    """Return the first JSON object that stands in `message`, None without one."""
    start = message.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(message, start)
    except (ValueError, RecursionError):  # no JSON after all, or nested deeper than the parser goes
        return None
    return value if isinstance(value, dict) else None
