"""A model that thinks, by either API: what the chat keeps of it, what goes back to the LLM server, what it has used."""

import json
from typing import Any

from tests.support.chat import Chat
from tests.support.llm_server import Call, LLMRequest, Plan

WORK = Plan(
    text=["On it."],
    thoughts=["I need", " a tool."],
    sealed="gAAA",
    calls=[Call()],
    finish_reason="tool_calls",
    details=(3, 2),
)
DONE = Plan(text=["All done."], thoughts=["That was it."], sealed="gBBB", details=(4, 1))
DEMAND = {"error": {"message": "The `reasoning_content` in the thinking mode must be passed back to the API."}}


def demanding(request: LLMRequest) -> Plan:
    """A server that wants its thoughts back within a turn, as DeepSeek's; of the Responses API it gets them anyway."""
    asked = request.user_texts[-1] != "thanks"
    if not any("call" in json.dumps(message) for message in request.messages[1:]) and asked:
        return WORK
    replies = [each for each in request.messages if each.get("role") == "assistant" and each.get("tool_calls")]
    if any("reasoning_content" not in reply for reply in replies):
        return Plan(status=400, error=DEMAND)
    return DONE if asked else Plan(text=["You are welcome."])


def assistants(entries: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(entry["content"], entry.get("reasoning")) for entry in entries if entry["role"] == "assistant"]


def thought_again(request: LLMRequest) -> list[str]:
    """Return what the LLM server was given back of its thoughts."""
    if request.of_responses_api:
        return [item["encrypted_content"] for item in request.messages if item["type"] == "reasoning"]
    return [message["reasoning_content"] for message in request.messages if "reasoning_content" in message]


async def test_thoughts_are_kept_within_the_turn(thinker: Chat, api: str) -> None:
    """With tools, thoughts go back as the server demands; the next turn sees none of them, the history all."""
    thinker.script_by(demanding)
    await thinker.say("work")
    lines = await thinker.idle()
    assert [line[1] for line in lines] == ["work", "On it.", "The task is done: something", "All done."]
    answered = thinker.requests[-1]
    assert thought_again(answered) == (["gAAA"] if api == "responses" else ["I need a tool."])

    await thinker.say("thanks")
    assert (await thinker.idle())[-1][:2] == ("assistant", "You are welcome.")
    assert set(thought_again(thinker.requests[-1])) <= {" "}, "of an earlier turn nothing is left"

    entries = await thinker.entries()
    assert assistants(entries) == [
        ("On it.", "I need a tool."),
        ("All done.", "That was it."),
        ("You are welcome.", None),
    ]
    kept = json.dumps([await thinker.state("AgentSession"), await thinker.state()])
    assert "gAAA" not in kept
    assert "I need a tool" not in json.dumps(await thinker.state("AgentSession"))


async def test_usage_is_told_by_turn_and_chat(thinker: Chat) -> None:
    """Status and history say what each turn used and what the chat used, with cached and reasoning tokens."""
    thinker.script(WORK, DONE, Plan(text=["Fine."], usage=None))
    await thinker.say("work")
    await thinker.idle()
    used = {"calls": 2, "unmetered_calls": 0, "prompt_tokens": 20, "completion_tokens": 10}
    used |= {"cached_tokens": 7, "reasoning_tokens": 3}
    history = await thinker.call("get_chat_history")
    assert history["turns"] == [{"turn_id": 1, "usage": used}]
    assert history["usage"] == (await thinker.status())["usage"] == used

    await thinker.say("and?")
    await thinker.idle()
    unknown = {"calls": 1, "unmetered_calls": 1, "prompt_tokens": 0, "completion_tokens": 0}
    assert (await thinker.call("get_chat_history", limit=1))["turns"] == [{"turn_id": 2, "usage": unknown}]
    assert (await thinker.status())["usage"] == used | {"calls": 3, "unmetered_calls": 1}


async def test_interrupted_while_it_thinks(thinker: Chat, api: str) -> None:
    """A message in the middle of a thought ends the call at once; the thought stays in the history, marked partial."""
    request = await thinker.begin(Plan(thoughts=["Let me see"], hang_after=1 if api == "chat" else 3))
    await thinker.streaming(1)
    await thinker.say("second")
    await thinker.aborted(request)
    assert (await thinker.idle())[-1] == ("assistant", "answer to: first\n\nsecond", "completed")

    entries = await thinker.entries()
    assert assistants(entries) == [("", "Let me see"), ("answer to: first\n\nsecond", None)]
    assert (entries[1]["partial"], entries[1]["status"]) == (True, "interrupted")
    assert thought_again(thinker.requests[1]) == []
    unknown = {"calls": 1, "unmetered_calls": 1, "prompt_tokens": 0, "completion_tokens": 0}
    assert (await thinker.turn(1))["usage"] == unknown


async def test_steered_while_it_thinks(thinker: Chat, api: str) -> None:
    """STEER ends the thought and goes on in the same turn; what was thought stands where it was."""
    request = await thinker.begin(Plan(thoughts=["Let me see"], hang_after=1 if api == "chat" else 3))
    await thinker.streaming(1)
    await thinker.say("second", "STEER")
    await thinker.aborted(request)
    await thinker.idle()
    entries = await thinker.entries()
    assert [(entry["role"], entry["content"], entry["turn_id"]) for entry in entries] == [
        ("user", "first", 1),
        ("assistant", "", 1),
        ("user", "second", 1),
        ("assistant", "answer to: first\n\nsecond", 1),
    ]
