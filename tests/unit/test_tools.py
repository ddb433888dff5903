import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from app.errors import DefinitionError, UsageError
from app.tools import TOOLS, by_name, tool
from app.tools.registry import Tool


class Place(BaseModel):
    city: str


@tool
async def weather(place: Place, days: Annotated[int, Field(description="How many", ge=1)] = 1) -> str:
    """Forecast the weather."""
    return f"{place.city} {days}"


@tool
async def clock() -> str:
    """Tell the time."""
    return "noon"


def test_definition_holds_what_the_llm_is_told() -> None:
    """Name, docstring and parameters of the function become the spec."""
    assert weather.name == "weather"
    assert weather.spec.description == "Forecast the weather."
    assert weather.spec.parameters["required"] == ["place"]
    assert weather.spec.parameters["properties"]["days"]["description"] == "How many"
    assert weather.spec.parameters["additionalProperties"] is False


async def test_arguments_are_parsed() -> None:
    """The JSON text of the LLM becomes typed arguments, with defaults."""
    assert await weather.call('{"place": {"city": "Oslo"}}') == "Oslo 1"
    assert await weather.call('{"place": {"city": "Oslo"}, "days": 3}') == "Oslo 3"


@pytest.mark.parametrize("arguments", ["", "{}"])
async def test_no_arguments(arguments: str) -> None:
    """A tool without parameters takes an empty object or nothing."""
    assert await clock.call(arguments) == "noon"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ('{"place": ', "Invalid JSON"),
        ("[]", "object"),
        ("", "place: Field required"),
        ('{"place": {"city": 3}}', "place.city"),
        ('{"place": {"city": "Oslo"}, "days": 0}', "days"),
        ('{"place": {"city": "Oslo"}, "when": 0}', "when: Extra inputs"),
    ],
)
async def test_wrong_arguments_are_told_to_the_llm(arguments: str, fault: str) -> None:
    """Malformed JSON and wrong fields raise a UsageError with the fault, what was sent and what to send."""
    with pytest.raises(UsageError) as caught:
        await weather.call(arguments)
    assert fault in caught.value.message
    assert repr(arguments) in caught.value.message
    assert "send a JSON object with the fields 'place', 'days'." in caught.value.message


async def not_documented(a: int) -> str:
    return str(a)


async def not_annotated(a) -> str:  # type: ignore[no-untyped-def]
    """Has a parameter without annotation."""
    return str(a)


async def not_text(a: int) -> int:
    """Does not return text."""
    return a


async def variadic(*a: int) -> str:
    """Takes any number."""
    return str(a)


async def reserved(model_dump: int) -> str:
    """Has a parameter that pydantic has taken."""
    return str(model_dump)


async def unresolved(a: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821
    """Names a type that is not there."""
    return str(a)


async def not_json(a: asyncio.Event) -> str:
    """Takes what JSON cannot carry."""
    return str(a)


async def no_schema(a: Callable[[], None]) -> str:
    """Takes what a JSON schema cannot describe."""
    return str(a)


async def BadName() -> str:  # noqa: N802
    """Has a name that is not in snake case."""
    return ""


def not_async() -> str:
    """Would block the event loop."""
    return ""


@pytest.mark.parametrize(
    ("function", "cure"),
    [
        (not_async, "async def"),
        (not_documented, "no docstring"),
        (not_annotated, "'a'"),
        (not_text, "-> str"),
        (variadic, r"\*a"),
        (reserved, "rename"),
        (unresolved, "Nowhere"),
        (not_json, "JSON"),
        (no_schema, "JSON"),
        (BadName, "BadName"),
    ],
)
def test_a_wrong_definition_is_found_at_import_time(function: Callable[..., Awaitable[Any]], cure: str) -> None:
    """A function that cannot be a tool raises a DefinitionError that names the fault."""
    with pytest.raises(DefinitionError, match=cure):
        tool(function)


def test_names_are_unique() -> None:
    """Two tools of one name are refused."""
    with pytest.raises(DefinitionError, match="clock"):
        by_name(clock, clock)


def test_execute_task_is_offered() -> None:
    """The agent has the tool `execute_task`, which takes a task."""
    offered: Tool = TOOLS["execute_task"]
    assert list(offered.spec.parameters["properties"]) == ["task"]
    assert offered.spec.parameters["required"] == ["task"]
