"""The Responses API: what is sent, what comes back, and all that can go wrong in between."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from app.errors import LLMError, LLMRejected, LLMUnavailable, ReplyTooLong
from app.llm import LLM, connect
from app.llm.response_draft import ResponseDraft
from app.settings import Settings
from app.turns.transcript import AssistantItem, Finish, Item, Thought, ToolItem, Usage, UserItem
from tests.support.llm_client import HI, SPEC, ask, fail, settings_for
from tests.support.llm_responses import response_events
from tests.support.llm_server import FOR_EVER, Call, LLMServer, Plan

WORK = Plan(text=["On", " it."], thoughts=["I need", " a tool."], sealed="gAAA", calls=[Call()], details=(3, 2))


@pytest_asyncio.fixture
async def llm(server: LLMServer) -> AsyncIterator[LLM]:
    """The client, set to the Responses API."""
    llm = connect(settings_for(server.url, openai_api="responses", llm_timeout_s=2, max_reply_chars=1000))
    yield llm
    await llm.aclose()


def after(reply: AssistantItem) -> list[Item]:
    """What the LLM sees when the tools that a reply asked for have run."""
    results = [ToolItem(call_id=call.call_id, name=call.name, content="done") for call in reply.tool_calls]
    return [*HI, reply, *results]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


class TestRequest:
    async def test_it_keeps_nothing_at_the_server(self, llm: LLM, server: LLMServer) -> None:
        """A request brings instructions, input and tools; it is streamed, and nothing of it is stored."""
        await ask(llm, server, Plan())
        (request,) = server.requests
        assert request.path == "/v1/responses"
        assert request.body == {
            "model": "tiny",
            "stream": True,
            "store": False,
            "instructions": "Be brief.",
            "input": [{"type": "message", "role": "user", "content": "hi"}],
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"summary": "auto"},
            "tools": [
                {
                    "type": "function",
                    "name": SPEC.name,
                    "description": SPEC.description,
                    "parameters": SPEC.parameters,
                    "strict": False,
                }
            ],
        }

    async def test_the_offline_model_does_not_mind(self) -> None:
        """Without a server the offline model answers, whichever API is set."""
        offline = connect(Settings(_env_file=None, openai_api="responses", offline_pace_s=0))
        assert (await offline.complete(HI)).item.content == "Done: hi."
        await offline.aclose()

    async def test_thoughts_stay_with_their_calls(self, llm: LLM, server: LLMServer) -> None:
        """Within a turn the reply goes back as it came: thought, text, call, each in its place, then the result."""
        reply = (await ask(llm, server, WORK)).item
        await llm.complete(after(reply))
        request = server.requests[1]
        request.check()
        summary = [{"type": "summary_text", "text": "I need a tool."}]
        arguments = '{"task": "something"}'
        assert request.messages[1:] == [
            {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAA"},
            {"type": "message", "role": "assistant", "content": "On it.", "phase": "commentary"},
            {"type": "function_call", "call_id": "call_1", "name": "execute_task", "arguments": arguments},
            {"type": "function_call_output", "call_id": "call_1", "output": "done"},
        ]

    async def test_what_was_cut_since_stays_well_formed(self, llm: LLM, server: LLMServer) -> None:
        """A reply whose text or calls were cut or dropped since then is sent without what does not fit any more."""
        reply = (await ask(llm, server, WORK)).item
        for changed in (reply.changed(content="On…"), reply.changed(content="", tool_calls=())):
            await llm.complete([*after(changed), UserItem(message_id="m2", content="and?")])
            server.requests[-1].check()

    async def test_interrupted_texts_go_back_without_thoughts(self, llm: LLM, server: LLMServer) -> None:
        """The text of an interrupted reply goes back with its mark; a thought that led nowhere does not."""
        aborted = AssistantItem(content="Let", finish=Finish.ABORTED, thought=Thought(text="Hm"))
        silent = AssistantItem(finish=Finish.ABORTED, thought=Thought(text="Hm"))
        server.script = lambda _: Plan()
        await llm.complete([*HI, aborted, UserItem(message_id="m2", content="no"), silent, *HI])
        server.requests[0].check()
        texts = [message["content"] for message in server.requests[0].messages]
        assert texts == ["hi", "Let\n[interrupted by the user before this was finished]", "no\n\nhi"]

    @pytest.mark.parametrize(
        ("message", "without"),
        [
            ("Encrypted content is not supported with this model.", "include"),
            ("Unsupported parameter: 'reasoning.summary' is not supported with this model.", "reasoning"),
            ("Your organization must be verified to generate reasoning summaries.", "reasoning"),
        ],
    )
    async def test_what_a_model_refuses_is_left_out(
        self, llm: LLM, server: LLMServer, message: str, without: str
    ) -> None:
        """A model that does not think, or not for us, is asked without that, at once and from then on."""
        refusal = Plan(status=400, error={"error": {"message": message, "type": "invalid_request_error"}})
        server.script = lambda request: refusal if without in request.body else Plan()
        for _ in range(2):
            await llm.complete(HI)
        assert [without in request.body for request in server.requests] == [True, False, False]
        assert {"include", "reasoning"} - {without} <= set(server.requests[-1].body)

    async def test_thoughts_that_cannot_be_read_are_left_out(self, llm: LLM, server: LLMServer) -> None:
        """Where the server cannot decrypt what it has sealed, the turn goes on without it."""
        reply = (await ask(llm, server, WORK)).item
        refusal = {
            "error": {"code": "invalid_encrypted_content", "message": "The encrypted content could not be verified"}
        }
        plans = [Plan(status=400, error=refusal), Plan()]
        server.script = lambda _: plans.pop(0)
        assert (await llm.complete(after(reply))).item.content == "Hello there."
        assert [item["type"] for item in server.requests[-1].messages][1:3] == ["message", "function_call"]


class TestReply:
    async def test_text_thoughts_calls_and_usage(self, llm: LLM, server: LLMServer) -> None:
        """Texts and thoughts are heard as they come; calls, usage and its details are read from the stream."""
        server.script = lambda _: WORK
        texts, thoughts = list[str](), list[str]()
        reply = await llm.complete(HI, [SPEC], texts.append, thoughts.append)
        assert (texts, thoughts) == (["On", " it."], ["I need", " a tool."])
        assert (reply.item.content, reply.item.finish) == ("On it.", Finish.TOOL_CALLS)
        assert (reply.item.thought or Thought()).text == "I need a tool."
        (call,) = reply.item.tool_calls
        assert (call.call_id, call.name, call.arguments) == ("call_1", "execute_task", '{"task": "something"}')
        assert reply.usage == Usage(calls=1, prompt_tokens=10, completion_tokens=5, cached_tokens=3, reasoning_tokens=2)

    async def test_a_server_that_does_not_stream(self, llm: LLM, server: LLMServer) -> None:
        """A whole response in place of a stream is a reply, too."""
        document = WORK.document().encode()
        reply = await ask(llm, server, Plan(body=[document]))
        assert reply.item.content == "On it."
        assert reply.item.tool_calls[0].name == "execute_task"

    async def test_a_refusal_is_the_answer(self, llm: LLM, server: LLMServer) -> None:
        """What a model says in place of an answer is shown as one."""
        raw = [
            event("refusal.delta", output_index=0, content_index=0, delta="I can"),
            event("refusal.done", output_index=0, content_index=0, refusal="I cannot."),
            event("completed", response={"status": "completed", "output": []}),
        ]
        reply = await ask(llm, server, Plan(raw=raw))
        assert reply.item == AssistantItem(content="I cannot.")
        assert reply.usage.unmetered_calls == 1

    @pytest.mark.parametrize(
        ("reason", "finish"), [("length", Finish.LENGTH), ("content_filter", Finish.CONTENT_FILTER)]
    )
    async def test_incomplete(self, llm: LLM, server: LLMServer, reason: str, finish: Finish) -> None:
        """A response that is incomplete keeps its text and says why."""
        reply = await ask(llm, server, Plan(finish_reason=reason, thoughts=["Hm"], sealed="x"))
        assert reply.item == AssistantItem(content="Hello there.", finish=finish, thought=Thought(text="Hm"))

    async def test_incomplete_before_a_word(self, llm: LLM, server: LLMServer) -> None:
        """A limit that was used up by thinking is final, and the sentence says so."""
        error = await fail(llm, server, Plan(text=(), thoughts=["Hm"], finish_reason="length"))
        assert isinstance(error, LLMRejected)
        assert "thinks less" in error.message

    async def test_too_long(self, llm: LLM, server: LLMServer) -> None:
        """What goes beyond MAX_REPLY_CHARS is cut off there."""
        error = await fail(llm, server, Plan(text=["x" * 600, "y" * 600]))
        assert isinstance(error, ReplyTooLong)
        assert len(error.text) == 1000


class TestFaults:
    @pytest.mark.parametrize(
        ("last", "kind", "says"),
        [
            (event("failed", response={"error": {"code": "server_error", "message": "oops"}}), LLMUnavailable, "oops"),
            (event("failed", response={"error": {"code": "invalid_prompt", "message": "no"}}), LLMRejected, "no"),
            (event("failed", response={"status": "failed", "error": None}), LLMUnavailable, "broke its answer off"),
            ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, LLMUnavailable, "slow"),
            (event("incomplete", response={"status": "incomplete"}), LLMUnavailable, "broke its answer off"),
            ("not JSON", LLMUnavailable, "cannot be understood"),
            (["a list"], LLMUnavailable, "cannot be understood"),
            (event("output_item.done", item="?"), LLMUnavailable, "cannot be understood"),
            (event("completed", response={"output": "?"}), LLMUnavailable, "cannot be understood"),
        ],
    )
    async def test_in_the_stream(
        self, llm: LLM, server: LLMServer, last: object, kind: type[LLMError], says: str
    ) -> None:
        """An error within the stream is of the class that it is with Chat Completions, and keeps the text."""
        text = event("output_text.delta", output_index=0, content_index=0, delta="Half")
        error = await fail(llm, server, Plan(raw=[text, last]))
        assert isinstance(error, kind)
        assert says in error.message
        assert error.text == "Half"

    async def test_cut_off(self, llm: LLM, server: LLMServer) -> None:
        """A stream that ends before its last event is broken, also when its connection just closes."""
        for plan in (Plan(break_after=3), Plan(raw=[*list(response_events(["Half"]))[:-1]])):
            assert isinstance(await fail(llm, server, plan), LLMUnavailable)

    @pytest.mark.parametrize("status", [401, 404, 429, 500])
    async def test_of_the_server(self, llm: LLM, server: LLMServer, status: int) -> None:
        """A status of the server means what it means with Chat Completions."""
        error = await fail(llm, server, Plan(status=status, error={"error": {"message": "no"}}))
        assert isinstance(error, LLMUnavailable if status in (429, 500) else LLMRejected)

    async def test_another_server(self, llm: LLM, server: LLMServer) -> None:
        """A web page, or the answer of another API, is told apart from an LLM server."""
        for body in (b"<html>", b'{"choices": []}'):
            assert isinstance(await fail(llm, server, Plan(body=[body])), LLMRejected)


class TestAbort:
    @pytest.mark.parametrize("plan", [Plan(delay_s=FOR_EVER), Plan(thoughts=["Let me"], hang_after=3)])
    async def test_within_milliseconds(self, llm: LLM, server: LLMServer, plan: Plan) -> None:
        """Cancelling closes the connection at once, before the first byte and in the middle of a thought."""
        await ask(llm, server, Plan())
        server.script = lambda _: plan
        heard = asyncio.Event()
        call = asyncio.create_task(llm.complete(HI, [SPEC], None, lambda _: heard.set()))
        await server.until(lambda: len(server.requests) == 2)
        if plan.thoughts:
            await heard.wait()
        begun = asyncio.get_running_loop().time()
        call.cancel()
        reply = await call
        await server.until(lambda: server.requests[1].disconnected_at is not None)
        assert asyncio.get_running_loop().time() - begun < 0.1
        assert reply.item.finish is Finish.ABORTED
        assert reply.usage == Usage(calls=1, unmetered_calls=1)


class TestEvents:
    def test_those_of_the_tests_are_openais(self) -> None:
        """What the stub sends are events of the SDK: fields and types are as OpenAI documents them."""
        events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
        call = {"name": "x", "arguments": "{}", "call_id": "c"}
        for number, each in enumerate(response_events(["a"], [call], (1, 1), thoughts=["t"], sealed="s")):
            lacking = {"sequence_number": number, "logprobs": [], "name": "x"}  # which no reader of ours needs
            checked = events.validate_python({**lacking, **each})
            assert checked.type == each["type"]

    @given(st.data())
    def test_pieces_and_wholes_give_the_same(self, data: st.DataObject) -> None:
        """However texts are cut, and whichever kinds of events a server leaves out, the reply is that of the last."""
        cut = st.lists(st.text(min_size=1, max_size=5), max_size=4)
        texts, thoughts = data.draw(cut), data.draw(cut)
        call = {"name": "tool", "arguments": json.dumps({"a": "".join(texts)}), "call_id": "c"}
        events = list(response_events(texts, [call], (5, 6), thoughts=thoughts, sealed="s"))
        whole = _reply_of(events)
        last = events[-1]
        left_out = data.draw(st.sets(st.sampled_from(sorted({each["type"] for each in events[:-1]}))))
        assert _reply_of([*(each for each in events[:-1] if each["type"] not in left_out), last]) == whole
        assert whole[0] == "".join(texts)
        assert whole[1] == ("tool", call["arguments"])


def _reply_of(events: list[dict[str, Any]]) -> tuple[str, tuple[str, str], Usage, str]:
    draft = ResponseDraft()
    heard = [draft.add(json.loads(json.dumps(each))) for each in events] + [draft.close()]
    reply = draft.complete()
    assert "".join(heard) == reply.item.content
    (call,) = reply.item.tool_calls
    thought = reply.item.thought or Thought()
    return reply.item.content, (call.name, call.arguments), reply.usage, thought.text
