"""What clients of AG-UI and of Chat Completions ask for is checked before anything is stored."""

from typing import Any

import pytest

from app.errors import UsageError
from app.turns.modes import Mode
from app.web.agui.request import message_of, read_input
from app.web.openai.request import as_items, last_said, read_asked, read_body

HI = {"id": "m-1", "role": "user", "content": "hi"}


def run_input(**fields: Any) -> dict[str, Any]:
    return {"threadId": "chat", "runId": "run", "messages": [HI], **fields}


def refused(**fields: Any) -> str:
    with pytest.raises(UsageError) as exc:
        message_of(read_input(run_input(**fields)))
    return exc.value.message


def test_the_last_message_is_taken() -> None:
    """The last message of the user, with its id; the ones before it are the chat's own."""
    message = message_of(read_input(run_input(messages=[{"id": "0", "role": "assistant", "content": "x"}, HI])))
    assert message.to_body() == {"content": "hi", "message_id": "m-1"}


def test_parts_are_joined() -> None:
    """Parts of text become one text, a line each."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert message_of(read_input(run_input(messages=[{**HI, "content": parts}]))).content == "a\nb"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"messages": []}, "no messages"),
        ({"messages": [{**HI, "role": "tool"}]}, "'tool'"),
        ({"messages": [{**HI, "id": "x" * 129}]}, "128 characters"),
        ({"messages": [{**HI, "id": ""}]}, "128 characters"),
        ({"messages": [{**HI, "content": [{"type": "image", "source": {}}]}]}, "nothing is fetched"),
        ({"messages": [{**HI, "content": None}]}, "text or a list"),
        ({"messages": "hi"}, "messages"),
        ({"threadId": 5}, "threadId"),
        ({"runId": "x" * 129}, "runId"),
        ({"forwardedProps": {"mode": "shout"}}, "INTERRUPT, ROLLBACK"),
        ({"forwardedProps": {"mode": 5}}, "INTERRUPT, ROLLBACK"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], why: str) -> None:
    """A sentence says what is wrong."""
    assert why in refused(**fields)


@pytest.mark.parametrize(
    ("version", "speaks"),
    [("1.0", True), ("1.7", True), ("2.0", True), ("0.9", False), (None, False), ("one", False), (1.0, False)],
)
def test_who_speaks_1_0(version: object, speaks: bool) -> None:
    """Only a client that declares a version from 1.0 on gets what is new in it."""
    assert read_input(run_input(protocolVersion=version)).client.speaks_1_0 is speaks


def test_what_is_ignored_is_named() -> None:
    """Tools, context and state of the client change nothing, and the client is told which it sent."""
    sent = read_input(run_input(tools=[{"name": "x"}], context=[], state={"a": 1}))
    assert sent.ignored == ["tools", "state"]


def test_a_mode_in_any_case() -> None:
    """Modes are read as they are written by people."""
    assert message_of(read_input(run_input(forwardedProps={"mode": "Steer"}))).mode is Mode.STEER


def test_headers_count_before_metadata() -> None:
    """A header that is filled in wins; a template that the client has left as it is counts for nothing."""
    asked = read_asked(
        {"x-chat-id": "{{CHAT_ID}}", "x-message-id": "m-1", "x-task": ""}, {"chat_id": "c", "message_id": "m-2"}
    )
    assert (asked.task, asked.chat_id, asked.message_id, asked.mode) == (None, "c", "m-1", None)


def test_a_task_needs_no_chat() -> None:
    """What is for the LLM itself names no chat, or may name one in vain."""
    assert read_asked({"x-task": "title_generation"}, None).task == "title_generation"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "X-Chat-Id"),
        ({"x-chat-id": "c", "x-message-id": "m" * 129}, "128"),
        ({"x-chat-id": "c", "x-mode": "x"}, "QUEUE"),
    ],
)
def test_what_a_completion_must_say(headers: dict[str, str], why: str) -> None:
    """A sentence says what is missing or wrong."""
    with pytest.raises(UsageError, match=why):
        read_asked(headers, None)


def test_the_last_user_message_of_a_completion() -> None:
    """It is taken wherever it stands: some clients put a system message behind it."""
    body = read_body({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]})
    assert last_said(body).text == "a"


def test_the_messages_of_a_task() -> None:
    """A task is passed on as it is: its system messages are the instructions."""
    said = [("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    body = read_body({"messages": [{"role": role, "content": content} for role, content in said]})
    instructions, items = as_items(body)
    assert instructions == "be brief"
    assert [(item.kind, item.content) for item in items] == [("user", "a"), ("assistant", "b"), ("user", "c")]
