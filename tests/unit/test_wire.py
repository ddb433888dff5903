import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.llm.wire import CONTINUE, INTERRUPTED, ToolSpec, WireMessage, to_messages, to_tools
from app.turns.transcript import AssistantItem, Finish, Item, ToolCall, ToolItem, UserItem
from tests.support.llm_server import check_well_formed
from tests.unit.test_context import any_items, calls, result, says, user

SYSTEM = {"role": "system", "content": "Be brief."}


def messages(*items: Item) -> list[WireMessage]:
    return to_messages(items, "Be brief.")


def test_the_system_prompt_comes_first() -> None:
    """A request starts with the instructions."""
    assert messages(user("hi")) == [SYSTEM, {"role": "user", "content": "hi"}]


def test_adjacent_user_texts_become_one_message() -> None:
    """User texts in a row are joined by a blank line, as roles must alternate."""
    assert messages(user("one"), user("two"))[1:] == [{"role": "user", "content": "one\n\ntwo"}]


def test_adjacent_assistant_texts_become_one_message() -> None:
    """Assistant texts in a row are joined, also with the text of a tool-calling one."""
    sent = messages(user("hi"), says("one"), says("two"), calls("a", text="three"), result("a"))
    assert sent[2]["content"] == "one\n\ntwo\n\nthree"
    assert [call["id"] for call in sent[2]["tool_calls"]] == ["a"]


def test_an_assistant_item_that_says_nothing_is_omitted() -> None:
    """An empty assistant item is not sent, and the user texts around it are joined."""
    aborted = AssistantItem(content=" \n", finish=Finish.ABORTED)
    assert messages(user("one"), aborted, user("two"))[1:] == [{"role": "user", "content": "one\n\ntwo"}]


def test_partial_text_is_marked() -> None:
    """The LLM is told that a text of its own was cut off by the user."""
    sent = messages(user("hi"), AssistantItem(content="I was ab", finish=Finish.ABORTED), user("stop"))
    assert sent[2] == {"role": "assistant", "content": f"I was ab\n{INTERRUPTED}"}


def test_calls_and_results_in_their_wire_form() -> None:
    """A tool call and its result are sent with the same id; no text is null."""
    call = ToolCall(call_id="c1", name="work", arguments='{"a": 1}')
    sent = messages(user("hi"), AssistantItem(tool_calls=(call,)), ToolItem(call_id="c1", name="work", content="done"))
    function = {"name": "work", "arguments": '{"a": 1}'}
    assert sent[2:] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]


@pytest.mark.parametrize("arguments", ["", "{", '{"a": ', "[]", "3", "null", '{"a": NaN}', "[" * 5000])
def test_malformed_arguments_are_sent_as_an_empty_object(arguments: str) -> None:
    """Arguments that are not a JSON object do not poison the history."""
    call = ToolCall(call_id="c1", name="work", arguments=arguments)
    assert messages(AssistantItem(tool_calls=(call,)))[1]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(("name", "sent"), [("a b/c", "a_b_c"), ("", "unknown"), ("x" * 70, "x" * 64)])
def test_malformed_tool_names_are_made_acceptable(name: str, sent: str) -> None:
    """A tool name that the LLM made up does not poison the history."""
    call = ToolCall(call_id="c1", name=name, arguments="{}")
    assert messages(AssistantItem(tool_calls=(call,)))[1]["tool_calls"][0]["function"]["name"] == sent


@pytest.mark.parametrize("items", [[], [user("hi"), says("hello")]])
def test_the_last_message_is_for_the_llm_to_answer(items: list[Item]) -> None:
    """If the last word is not a user's or a tool's, a short user text is added."""
    assert messages(*items)[-1] == {"role": "user", "content": CONTINUE}


def test_tools_in_their_wire_form() -> None:
    """A tool is described as a function."""
    function = {"name": "work", "description": "Works.", "parameters": {"type": "object"}}
    assert to_tools([ToolSpec("work", "Works.", {"type": "object"})]) == [{"type": "function", "function": function}]


@given(any_items, st.data())
def test_any_items_become_a_well_formed_request(items: list[Item], data: st.DataObject) -> None:
    """Whatever the items are, strict servers accept the request, and it holds every user text in order."""
    finish = data.draw(st.sampled_from(Finish))
    items = [item.model_copy(update={"finish": finish}) if isinstance(item, AssistantItem) else item for item in items]
    sent = to_messages(items, "Be brief.")
    check_well_formed(sent)
    said = "\n\n".join(message["content"] for message in sent if message["role"] == "user")
    texts = [item.content for item in items if isinstance(item, UserItem)]
    position = 0
    for text in texts:
        position = said.index(text, position) + len(text)
    json.dumps(sent)
