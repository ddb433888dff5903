"""What servers say of their tools, made fit for the LLM."""

from dataclasses import dataclass, field
from typing import Any

from app.mcp.config import McpServer
from app.mcp.offer import (
    MAX_DESCRIPTION_CHARS,
    MAX_OFFER_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_SCHEMA_DEPTH,
    MAX_TOOLS,
    offer_of,
    problem_of,
)

SERVER = McpServer("s", command="x", secrets=("sesame",))


@dataclass
class Listed:
    """A tool as a server lists it."""

    name: str = "look"
    description: str | None = "Look"
    input_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"in": schema}}
    return schema


def test_a_schema_passes_through() -> None:
    """A schema reaches the LLM as the server wrote it, without what only tells of itself."""
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"enum": [1]}},
    }
    ((offered,), refused) = offer_of(SERVER, [Listed(input_schema=schema)])
    assert offered.spec.parameters == {key: value for key, value in schema.items() if key != "$schema"}
    assert (offered.spec.name, offered.tool, refused) == ("s__look", "look", [])


def test_bad_schemas_are_left_out() -> None:
    """Schemas that are no object's, too deep, too large or no JSON are refused with the reason."""
    assert problem_of({"type": "array"}) == "is not that of an object"
    assert problem_of([]) == "is not that of an object"
    assert problem_of({"type": "object", "properties": []}) == "has no properties"
    assert problem_of(nested(100_000 // 100)) == f"is nested deeper than {MAX_SCHEMA_DEPTH}"
    assert str(MAX_SCHEMA_BYTES) in str(problem_of({"type": "object", "title": "x" * MAX_SCHEMA_BYTES}))
    assert problem_of({"type": "object", "x": object()}) == "is no JSON"
    assert problem_of({"type": "object", "title": "\ud800"}) is None
    assert problem_of(nested(5)) is None


def test_lists_have_limits() -> None:
    """Tools beyond the limit and tools listed twice are left out; a long description is cut, without secrets."""
    offered, refused = offer_of(SERVER, [Listed(f"t{n}") for n in range(MAX_TOOLS + 1)])
    assert (len(offered), len(refused)) == (MAX_TOOLS, 1)
    offered, refused = offer_of(SERVER, [Listed(), Listed()])
    assert (len(offered), refused) == (1, ["'look' is listed twice"])
    ((one,), _) = offer_of(SERVER, [Listed(description="sesame " + "x" * 10_000)])
    assert one.spec.description.startswith("•••")
    assert len(one.spec.description) < MAX_DESCRIPTION_CHARS + 50


def test_all_schemas_together_have_a_limit() -> None:
    """The LLM reads all schemas with every call: a server's end where together they are too large."""
    schema = {"type": "object", "title": "x" * 30_000}
    offered, refused = offer_of(SERVER, [Listed(f"t{n}", input_schema=schema) for n in range(20)])
    assert len(offered) == 6
    assert refused == [f"with 't6' the schemas have more than {MAX_OFFER_BYTES} bytes"]


def test_the_allow_list_decides() -> None:
    """Only the tools that the file names are offered."""
    server = McpServer("s", command="x", tools=("get_*", "list"))
    offered, refused = offer_of(server, [Listed("get_a"), Listed("list"), Listed("listing"), Listed("put_a")])
    assert [each.tool for each in offered] == ["get_a", "list"]
    assert refused == []
