import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from app.durable import RetryPolicy
from app.errors import AgentError, DefinitionError, StepFailed, ToolTimedOut, UsageError
from app.tools import TOOLS, by_name, tool
from app.tools.context import ToolContext
from app.tools.pay import pay
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


async def not_json_result() -> asyncio.Event:
    """Returns what JSON cannot carry."""
    return asyncio.Event()


async def no_result(a: int):  # type: ignore[no-untyped-def]
    """Does not say what it returns."""
    return a


async def two_contexts(a: ToolContext, b: ToolContext) -> str:
    """Asks for its context twice."""
    return f"{a} {b}"


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
        (not_json_result, "-> str"),
        (no_result, "-> str"),
        (two_contexts, "one of them"),
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


async def test_the_example_asks_before_it_pays_much() -> None:
    """The example `pay` is not offered by itself; it asks for more than 10."""
    assert "pay" not in TOOLS
    assert [pay.asks(f'{{"amount": {n}, "to": "Tom"}}') for n in (10, 11)] == [False, True]


def test_execute_task_is_offered() -> None:
    """The agent has the tool `execute_task`, which takes a task."""
    offered: Tool = TOOLS["execute_task"]
    assert list(offered.spec.parameters["properties"]) == ["task"]
    assert offered.spec.parameters["required"] == ["task"]


# Options


@pytest.mark.parametrize("options", [{"timeout": 3}, {"timeout": timedelta(0)}, {"retry": 3}])
def test_wrong_options_are_found_at_import_time(options: dict[str, Any]) -> None:
    """An option of another type raises a DefinitionError that says what to give."""
    with pytest.raises(DefinitionError, match="give it a"):
        tool(**options)(clock.run)


async def test_a_tool_that_takes_too_long_is_ended() -> None:
    """After its timeout a tool is cancelled, and the error says that it may have run."""
    ended = asyncio.Event()

    @tool(timeout=timedelta(milliseconds=20))
    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    with pytest.raises(ToolTimedOut, match=r"no result within 0\.02 s .* may have run"):
        await slow.call("")
    assert ended.is_set()


async def test_a_timeout_of_the_tool_itself_is_its_own() -> None:
    """A TimeoutError that the tool raises in time is a failure like any other."""

    @tool(timeout=timedelta(minutes=1))
    async def impatient() -> str:
        """Give up."""
        raise TimeoutError("the shop does not answer")

    with pytest.raises(TimeoutError, match="the shop"):
        await impatient.call("")


async def test_what_was_done_by_the_timeout_is_kept() -> None:
    """A tool that answers although it was cancelled has its result kept."""

    @tool(timeout=timedelta(milliseconds=20))
    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    assert await slow.call("") == "done all the same"


@pytest.mark.parametrize(
    ("raises", "attempts"),
    [(lambda: ValueError("odd"), 3), (lambda: UsageError("say it otherwise"), 1), (lambda: StepFailed("lasting"), 1)],
)
async def test_a_failed_call_is_tried_again(raises: Callable[[], Exception], attempts: int) -> None:
    """`retry` runs a call again when that may help, as often as it says; then the last error is that of the call."""
    tried: list[None] = []

    @tool(retry=RetryPolicy(max_attempts=3, initial_interval=timedelta(0)))
    async def flaky() -> str:
        """Fail."""
        tried.append(None)
        raise raises()

    with pytest.raises(type(raises())):
        await flaky.call("")
    assert len(tried) == attempts


# Results


def returning(annotation: Any, value: object) -> Tool:
    async def give() -> str:
        """Give it."""
        return value  # type: ignore[return-value]

    give.__annotations__["return"] = annotation
    return tool(give)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, "as <b>it</b> is", "as <b>it</b> is"),
        (int, 3, "3"),
        (dict[str, Any], {"a": [1, None]}, '{"a":[1,null]}'),
        (Place, Place(city="Århus"), '{"city":"Århus"}'),
        (list[Place], [Place(city="a")], '[{"city":"a"}]'),
        (None, None, "null"),
        (dict[str, str], {"a": "\ud83d"}, '{"a":"\ufffd"}'),
    ],
)
async def test_a_result_is_text_or_json(annotation: Any, value: object, text: str) -> None:
    """Text is given as it is, any other JSON value or model as JSON; lone surrogates become U+FFFD."""
    assert await returning(annotation, value).call("") == text


@pytest.mark.parametrize(
    ("annotation", "value"), [(str, 3), (int, {"a": 1}), (Any, object()), (Any, nested(100_000)), (Any, b"\xff")]
)
async def test_a_result_that_does_not_fit_is_told(annotation: Any, value: object) -> None:
    """What does not fit the declaration or JSON is an error that says that the tool has run."""
    with pytest.raises(AgentError, match="has run"):
        await returning(annotation, value).call("")


async def test_a_huge_result_is_given() -> None:
    """A result of 10 MB is given; the caller cuts it."""
    assert len(await returning(Any, ["x" * 1000] * 10_000).call("")) > 10_000_000


# Arguments


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"place": {"city": "x" * 10_000_000}, "days": "no"}),
        '{"place": ' + "[" * 100_000,
        '{"place": {"city": "\\ud83d"}}',
        '{"place": {"city": "\ud83d"}}',
        '{"place": {"city": "\x00"}}',
        "9" * 10_000,
    ],
)
async def test_hostile_arguments_are_told_in_a_short_sentence(arguments: str) -> None:
    """Huge, deep and malformed arguments are refused with a sentence, of which none is long, and nothing runs."""
    with pytest.raises(UsageError) as caught:
        await weather.call(arguments)
    assert len(caught.value.message) < 2000


# The context


async def test_a_tool_that_asks_for_its_context_gets_it() -> None:
    """A parameter of type ToolContext is filled in, whatever its name, and is none of the LLM's."""

    @tool
    async def where(place: str, call: ToolContext) -> str:
        """Tell where it is."""
        return f"{place} {call.chat_key} {call.turn_id} {call.call_id}"

    assert list(where.spec.parameters["properties"]) == ["place"]
    assert await where.call('{"place": "here"}', ToolContext("sara", 3, "c1")) == "here sara 3 c1"
    with pytest.raises(UsageError, match="call: Extra inputs"):
        await where.call('{"place": "here", "call": {"chat_key": "tom"}}')
