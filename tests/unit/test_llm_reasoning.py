"""Thoughts and tokens of Chat Completions, as servers send them, and what goes back to whom."""

import asyncio
from typing import Any

import pytest

from app.errors import LLMError
from app.llm import LLM, connect
from app.llm.chat_draft import ChatDraft
from app.turns.transcript import AssistantItem, Finish, Item, Thought, ToolCall, ToolItem, Usage
from tests.support.llm_client import HI, SPEC, ask, fail, settings_for
from tests.support.llm_server import Call, LLMRequest, LLMServer, Plan, delta

PASSED_BACK = {"error": {"message": "The `reasoning_content` in the thinking mode must be passed back to the API."}}
FORBIDDEN = {"detail": [{"loc": ["body", "messages", 2, "reasoning_content"], "msg": "Extra inputs are not permitted"}]}
WORK = Plan(text=(), thoughts=["I need", " a tool."], calls=[Call()], finish_reason="tool_calls")


def draft_of(*deltas: dict[str, Any]) -> tuple[ChatDraft, list[str]]:
    heard: list[str] = []
    draft = ChatDraft(on_thought=heard.append)
    for each in deltas:
        draft.add(delta(**each))
    draft.add(delta(finish_reason="stop"))
    return draft, heard


def after(reply: AssistantItem) -> list[Item]:
    """What the LLM sees when the tools that a reply asked for have run."""
    results = [ToolItem(call_id=call.call_id, name=call.name, content="done") for call in reply.tool_calls]
    return [*HI, reply, *results]


class TestThoughts:
    @pytest.mark.parametrize(
        "pieces",
        [
            [{"reasoning_content": "Hm", "content": None}, {"reasoning_content": "m.", "content": ""}],
            [{"reasoning": "Hm"}, {"reasoning": "m."}],
            [{"reasoning": "Hm", "reasoning_content": "Hm"}, {"reasoning": "m.", "reasoning_content": "m."}],
            [{"reasoning": "Hmm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hmm."}]}],
            [{"reasoning_details": [{"type": "reasoning.summary", "summary": "Hmm."}]}],
            [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}]}],
        ],
        ids=["deepseek", "vllm", "both", "openrouter", "details", "mistral"],
    )
    def test_they_are_apart_from_the_answer(self, pieces: list[dict[str, Any]]) -> None:
        """Whatever a server calls its thoughts, they are heard once, kept once, and no part of the answer."""
        draft, heard = draft_of(*pieces, {"content": "Yes."})
        item = draft.complete().item
        assert (item.content, item.thought) == ("Yes.", Thought(text="Hmm."))
        assert "".join(heard) == "Hmm."

    @pytest.mark.parametrize("odd", [None, "", 7, [], {}, [{}], False])
    def test_odd_ones_are_none(self, odd: object) -> None:
        """Null, numbers and empty lists in place of thoughts do no harm."""
        draft, heard = draft_of({"reasoning": odd, "reasoning_details": odd if isinstance(odd, list) else None})
        draft.add(delta(content="Yes."))
        assert draft.complete().item == AssistantItem(content="Yes.")
        assert not heard

    def test_half_a_character_waits(self) -> None:
        """An emoji whose halves come in two pieces of thought is one."""
        draft, heard = draft_of({"reasoning": "a \ud83d"}, {"reasoning": "\ude42"}, {"content": "Yes."})
        assert heard == ["a ", "🙂"]
        assert (draft.complete().item.thought or Thought()).text == "a 🙂"

    def test_their_length_has_an_end(self) -> None:
        """Of endless thoughts the beginning is kept, and the answer is not cut off for them."""
        draft = ChatDraft(max_thought_chars=5)
        for _ in range(3):
            draft.add(delta(reasoning="abc"))
        draft.add(delta(content="Yes.", finish_reason="stop"))
        assert draft.complete().item == AssistantItem(content="Yes.", thought=Thought(text="abcab"))

    async def test_interrupted_while_it_thinks(self, llm: LLM, server: LLMServer) -> None:
        """Who ends a call in its thoughts keeps those; the connection is closed and the usage is unknown."""
        server.script = lambda _: Plan(thoughts=["Let me", " see"], hang_after=2)
        heard = asyncio.Event()
        call = asyncio.create_task(llm.complete(HI, [SPEC], None, lambda text: heard.set() if "see" in text else None))
        await heard.wait()
        call.cancel()
        reply = await call
        assert reply.item == AssistantItem(finish=Finish.ABORTED, thought=Thought(text="Let me see"))
        assert reply.usage == Usage(calls=1, unmetered_calls=1)
        await server.until(lambda: server.requests[0].disconnected_at is not None)

    async def test_thoughts_alone_are_no_answer(self, llm: LLM, server: LLMServer) -> None:
        """A reply that only thinks is empty: it is tried again."""
        error = await fail(llm, server, Plan(text=(), thoughts=["Hm."]))
        assert "neither text nor tool calls" in error.message


class TestGivenBack:
    async def test_only_where_it_is_demanded(self, llm: LLM, server: LLMServer) -> None:
        """Thoughts go back when the server demands them, by one more request, and in each request from then on."""

        def deepseek(request: LLMRequest) -> Plan:
            replies = [message for message in request.messages if message["role"] == "assistant"]
            return (
                Plan() if all("reasoning_content" in each for each in replies) else Plan(status=400, error=PASSED_BACK)
            )

        reply = (await ask(llm, server, WORK)).item
        server.script = deepseek
        seen: list[Item] = [
            *after(reply),
            *after(AssistantItem(tool_calls=(ToolCall(call_id="c", name="x", arguments="{}"),))),
        ]
        assert (await llm.complete(seen)).item.content == "Hello there."
        assert (await llm.complete(seen)).item.content == "Hello there."
        _, refused, *taken = server.requests
        assert "reasoning_content" not in refused.messages[2]
        assert len(taken) == 2
        for request in taken:
            told = [each["reasoning_content"] for each in request.messages if each["role"] == "assistant"]
            assert told == ["I need a tool.", " "]

    async def test_never_to_who_refuses_it(self, llm: LLM, server: LLMServer) -> None:
        """A server that first demands thoughts and then refuses them gets none any more; the call goes on."""
        reply = (await ask(llm, server, WORK)).item
        plans = [Plan(status=400, error=PASSED_BACK), Plan(status=422, error=FORBIDDEN), Plan(), Plan()]
        server.script = lambda _: plans.pop(0)
        for _ in range(2):
            await llm.complete(after(reply))
        assert ["reasoning_content" in request.messages[2] for request in server.requests[1:]] == [
            False,
            True,
            False,
            False,
        ]

    async def test_a_server_that_wants_both_is_told_so(self, llm: LLM, server: LLMServer) -> None:
        """A server that demands what it refuses ends the call with what it says, after few requests."""
        reply = (await ask(llm, server, WORK)).item
        server.script = lambda _: Plan(status=400, error=PASSED_BACK)
        error = await fail_with(llm, after(reply))
        assert "must be passed back" in error
        assert len(server.requests) == 3

    async def test_details_go_back_as_they_came(self, llm: LLM, server: LLMServer) -> None:
        """`reasoning_details` and signatures of calls go back within the turn: joined pieces, nothing left out."""
        signed = {"type": "reasoning.text", "index": 0, "signature": "sig", "format": "x"}
        hidden = {"type": "reasoning.encrypted", "data": "abc", "index": 1}
        function = {"name": "execute_task", "arguments": "{}"}
        call = {"index": 0, "id": "c1", "function": function, "extra_content": {"google": {"thought_signature": "s"}}}
        deltas = [
            delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "I "}]),
            delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "see."}]),
            delta(reasoning_details=[signed, hidden]),
            delta(tool_calls=[call]),
            delta(finish_reason="tool_calls"),
        ]
        reply = (await ask(llm, server, Plan(raw=deltas))).item
        server.script = lambda _: Plan()
        await llm.complete(after(reply))
        message = server.requests[1].messages[2]
        assert message["reasoning_details"] == [{**signed, "text": "I see."}, hidden]
        assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}
        assert "calls" not in message

    async def test_not_to_another_model(self, llm: LLM, server: LLMServer) -> None:
        """What one model has sealed is not sent to another one, nor what was thought before an answer to any."""
        details = [{"type": "reasoning.encrypted", "data": "abc"}]
        raw = [delta(reasoning_details=details), delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "x"}}])]
        reply = (await ask(llm, server, Plan(raw=[*raw, delta(finish_reason="stop")]))).item
        answer = (await ask(llm, server, Plan(raw=[raw[0], delta(content="Yes.", finish_reason="stop")]))).item
        assert answer.thought is None
        other = connect(settings_for(server.url, openai_model="other"))
        server.script = lambda _: Plan()
        await other.complete(after(reply))
        await other.aclose()
        assert "reasoning_details" not in server.requests[-1].messages[2]


class TestUsage:
    @pytest.mark.parametrize(
        ("reported", "usage"),
        [
            ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(calls=1, prompt_tokens=9, completion_tokens=4)),
            (
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 4,
                    "prompt_tokens_details": {"cached_tokens": 3},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
                Usage(calls=1, prompt_tokens=9, completion_tokens=4, cached_tokens=3, reasoning_tokens=2),
            ),
            (
                {
                    "prompt_tokens": 9,
                    "completion_tokens": 4,
                    "prompt_cache_hit_tokens": 0,
                    "prompt_tokens_details": None,
                },
                Usage(calls=1, prompt_tokens=9, completion_tokens=4, cached_tokens=0),
            ),
            (
                {"prompt_tokens": "9", "completion_tokens": 4.0, "completion_tokens_details": {"reasoning_tokens": -1}},
                Usage(calls=1, prompt_tokens=9, completion_tokens=4),
            ),
            ({"prompt_tokens": None, "completion_tokens": -3}, Usage(calls=1, unmetered_calls=1)),
            ({"prompt_tokens": True, "completion_tokens": "many"}, Usage(calls=1, unmetered_calls=1)),
            ({}, Usage(calls=1, unmetered_calls=1)),
            ("none", Usage(calls=1, unmetered_calls=1)),
            (None, Usage(calls=1, unmetered_calls=1)),
        ],
    )
    def test_what_servers_report(self, reported: object, usage: Usage) -> None:
        """Tokens are counted where a number can be believed; what nobody reports is unknown, not 0."""
        draft, _ = draft_of({"content": "Yes."})
        draft.add({"choices": [], "usage": reported})
        assert draft.complete().usage == usage

    def test_sums(self) -> None:
        """A sum has the details that any part has, and none that no part has."""
        plain, rich = Usage(calls=1, prompt_tokens=1), Usage(calls=1, cached_tokens=2, reasoning_tokens=0)
        assert (plain + plain).cached_tokens is None
        assert (plain + rich + rich).cached_tokens == (rich + plain + rich).cached_tokens == 4
        assert (plain + rich).reasoning_tokens == 0
        assert "cached_tokens" not in plain.model_dump_json()

    @pytest.mark.parametrize("status", [400, 422])
    async def test_a_server_without_stream_options(self, llm: LLM, server: LLMServer, status: int) -> None:
        """Who refuses `stream_options` is asked without, at once and from then on."""
        refusal = Plan(status=status, error={"error": {"message": "Unknown field: stream_options"}})
        server.script = lambda request: refusal if "stream_options" in request.body else Plan(usage=None)
        for _ in range(2):
            reply = await llm.complete(HI)
            assert reply.usage == Usage(calls=1, unmetered_calls=1)
        assert ["stream_options" in request.body for request in server.requests] == [True, False, False]

    async def test_another_refusal_changes_nothing(self, llm: LLM, server: LLMServer) -> None:
        """A refusal that names none of what may be left out is final, after one request."""
        await fail(llm, server, Plan(status=400, error={"error": {"message": "messages[0] is too strange"}}))
        assert len(server.requests) == 1


async def fail_with(llm: LLM, items: list[Item]) -> str:
    """Return the sentence of the error that a call leads to."""
    with pytest.raises(LLMError) as caught:
        await llm.complete(items)
    return caught.value.message
