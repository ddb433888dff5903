import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.llm import LLM, Reply, ToolSpec, connect
from app.settings import Settings
from app.transcript import AssistantItem, Finish, Item, ToolItem, UserItem

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
