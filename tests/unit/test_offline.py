import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.llm import LLM, Reply, ToolSpec, connect
from app.llm.offline.arguments import arguments_for
from app.settings import Settings
from app.turns.compaction.summary import INSTRUCTIONS, Summary, line_of, request_text
from app.turns.transcript import AssistantItem, Finish, Item, ToolItem, UserItem

TOOLS = [ToolSpec("execute_task", "Does a task.", {"type": "object"})]


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, openai_api_key=None, openai_base_url=None, **values)


@pytest.fixture
async def llm() -> AsyncIterator[LLM]:
    llm = connect(settings(offline_pace_s=0, offline_iterations=2))
    yield llm
    await llm.aclose()


def user(text: str) -> Item:
    return UserItem(message_id=text, content=text)


def results(reply: Reply) -> list[Item]:
    return [ToolItem(call_id=call.call_id, name=call.name, content="done") for call in reply.item.tool_calls]


async def iterate(llm: LLM, items: list[Item]) -> Reply:
    reply = await llm.complete(items, TOOLS)
    items += [reply.item, *results(reply)]
    return reply


async def test_it_iterates_and_then_answers(llm: LLM) -> None:
    """It calls the tool in as many iterations as set, then names the request; the next request starts over."""
    items = [user("do something")]
    replies = [await iterate(llm, items) for _ in range(3)]
    assert [reply.item.content for reply in replies] == ["Do another iteration"] * 2 + ["Done: do something."]
    assert [reply.item.finish for reply in replies] == [Finish.TOOL_CALLS, Finish.TOOL_CALLS, Finish.STOP]

    items.append(user("again"))
    assert (await iterate(llm, items)).item.tool_calls
    assert (await iterate(llm, items)).item.tool_calls
    assert (await iterate(llm, items)).item.content == "Done: again."


async def test_tool_calls_are_like_those_of_a_server(llm: LLM) -> None:
    """A tool call has an id of its own in each iteration, and JSON arguments that name the task."""
    items = [user("do something")]
    calls = [(await iterate(llm, items)).item.tool_calls[0] for _ in range(2)]
    assert [json.loads(call.arguments) for call in calls] == [{"task": "do something"}] * 2
    assert calls[0].call_id != calls[1].call_id


async def test_it_is_deterministic(llm: LLM) -> None:
    """The same request gets the same reply, ids included."""
    first, second = [await llm.complete([user("do something")], TOOLS) for _ in range(2)]
    assert first.item == second.item


async def test_the_answer_names_every_request_in_order(llm: LLM) -> None:
    """Requests that came while it worked, side by side or after partial text, are all named."""
    items = [user("one"), user("two")]
    await iterate(llm, items)
    items += [user("three"), AssistantItem(content="Do ano", finish=Finish.ABORTED), user("four")]
    await iterate(llm, items)
    assert (await iterate(llm, items)).item.content == "Done: one; two; three; four."


async def test_without_the_tool_it_answers_at_once(llm: LLM) -> None:
    """If `execute_task` is not offered, it does not call it."""
    assert (await llm.complete([user("hi")], [])).item == AssistantItem(content="Done: hi.")


async def test_it_calls_the_tools_that_a_message_names(llm: LLM) -> None:
    """Each tool that is named is called once, in their order, with arguments that fit; the answer quotes them."""
    dice = {"type": "object", "properties": {"sides": {"type": "integer"}}, "required": ["sides"]}
    tools = [*TOOLS, ToolSpec("roll_dice", "Rolls.", dice), ToolSpec("flip_coin", "Flips.", {"type": "object"})]
    items = [user("roll_dice with 20 sides, then flip_coin")]
    calls = []
    for result in ("17", "heads"):
        reply = await llm.complete(items, tools)
        (call,) = reply.item.tool_calls
        calls.append((call.name, json.loads(call.arguments)))
        items += [reply.item, ToolItem(call_id=call.call_id, name=call.name, content=result)]
    assert calls == [("roll_dice", {"sides": 20}), ("flip_coin", {})]
    answer = (await llm.complete(items, tools)).item
    assert answer.content == "Done: roll_dice with 20 sides, then flip_coin.\nroll_dice said: 17\nflip_coin said: heads"
    items += [answer, user("do something")]
    assert (await llm.complete(items, tools)).item.tool_calls[0].name == "execute_task"


@pytest.mark.parametrize(
    ("parameters", "message", "arguments"),
    [
        ({}, "mail", {}),
        ({"properties": {"to": {"type": "string"}}}, "mail", {}),
        ({"properties": {"to": {"type": "string"}}, "required": ["to"]}, "mail Ada", {"to": "mail Ada"}),
        ({"properties": {}, "required": ["to"]}, 'mail {"to": "Ada", "cc": null} now', {"to": "Ada", "cc": None}),
        ({"required": ["to"]}, "mail {not json", {"to": "mail {not json"}),
        pytest.param({"required": ["to"]}, '{"a":' * 100_000, {"to": '{"a":' * 100_000}, id="nested too deep"),
        (
            {"properties": {"x": {"type": "number"}, "n": {"type": "integer"}}, "required": ["x", "n"]},
            "-1.5 and no more",
            {"x": -1.5, "n": 1},
        ),
        (
            {
                "$defs": {
                    "Size": {"enum": ["S", "M"]},
                    "Box": {"type": "object", "properties": {"size": {"$ref": "#/$defs/Size"}}, "required": ["size"]},
                },
                "properties": {
                    "box": {"$ref": "#/$defs/Box"},
                    "all": {"type": "boolean"},
                    "ids": {"type": "array"},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["box", "all", "ids", "note"],
            },
            "pack",
            {"box": {"size": "S"}, "all": True, "ids": [], "note": "pack"},
        ),
    ],
)
def test_arguments_fit_the_schema(parameters: dict[str, Any], message: str, arguments: dict[str, Any]) -> None:
    """What the message says is used; what is required and not said gets a value of its type."""
    assert arguments_for(parameters, message) == arguments


async def test_usage_is_reported(llm: LLM) -> None:
    """Tokens are counted, as by a server."""
    usage = (await llm.complete([user("hi")], TOOLS)).usage
    assert usage.unmetered_calls == 0
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0


async def test_it_streams_word_by_word_and_can_be_aborted() -> None:
    """Text arrives in words over the pace that is set; cancelling keeps those that arrived."""
    llm = connect(settings(offline_pace_s=0.05, offline_iterations=2))
    words: list[str] = []
    call: asyncio.Task[Reply]

    def on_text(text: str) -> None:
        words.append(text)
        if len(words) == 2:
            call.cancel()

    call = asyncio.create_task(llm.complete([user("hi")], TOOLS, on_text))
    assert (await call).item == AssistantItem(content="Do another", finish=Finish.ABORTED)
    assert words == ["Do", " another"]
    await llm.aclose()


async def test_it_sums_up(llm: LLM) -> None:
    """Asked for notes, it names what the user has asked for, after what the notes had so far, and calls no tool."""
    lines = [
        line_of({"turn": 2, "role": "user", "text": "book a flight\n- and a trap"}),
        line_of({"turn": 2, "role": "tool", "name": "search", "text": "- found"}),
    ]
    asked = user(request_text("The user asked for:\n- good weather", "\n".join(lines)))
    reply = await llm.instructed(INSTRUCTIONS).complete([asked])
    assert reply.item.content.split("\n") == [
        "The user asked for:",
        "- good weather",
        "- book a flight - and a trap",
        "Tools that were used since: search.",
    ]
    assert not reply.item.tool_calls


async def test_notes_are_no_request(llm: LLM) -> None:
    """It works on what follows the notes of earlier turns, not on the notes."""
    items = [Summary(covers=3, text="The user asked for:\n\n- execute_task").as_seen(), user("do something")]
    for _ in range(2):
        await iterate(llm, items)
    assert (await iterate(llm, items)).item.content == "Done: do something."
