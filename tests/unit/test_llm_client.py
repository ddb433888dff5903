import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.errors import FilesUnavailable, LLMRejected, LLMUnavailable
from app.llm import LLM, connect
from app.turns.transcript import AssistantItem, Attachment, Finish, Thought, ToolCall, Usage, UserItem
from tests.support.llm_client import HI, KEY, SPEC, ask, fail, settings_for
from tests.support.llm_server import FOR_EVER, Call, Gate, LLMServer, Plan, check_well_formed, delta

SHOWN = [
    UserItem(
        message_id="m",
        content="look",
        attachments=(Attachment(file_id="f", name="a.png", media_type="image/png", bytes=3),),
    )
]


class TestRequest:
    async def test_it_is_streamed_and_well_formed(self, llm: LLM, server: LLMServer) -> None:
        """A request asks for a stream with usage, and carries model, messages, tools and the key."""
        await ask(llm, server, Plan())
        (request,) = server.requests
        check_well_formed(request.messages)
        assert request.messages[0] == {"role": "system", "content": "Be brief."}
        assert request.body["model"] == "tiny"
        assert request.body["stream"] is True
        assert request.body["stream_options"] == {"include_usage": True}
        assert request.tool_names == ["execute_task"]
        assert request.headers["authorization"] == f"Bearer {KEY}"

    async def test_without_tools_none_are_sent(self, llm: LLM, server: LLMServer) -> None:
        """An empty list of tools is left out."""
        server.script = lambda _: Plan()
        await llm.complete(HI, [])
        assert "tools" not in server.requests[0].body

    async def test_a_server_without_key(self, server: LLMServer) -> None:
        """With a base URL alone the key sent is `unused`."""
        llm = connect(settings_for(server.url, openai_api_key=None))
        await ask(llm, server, Plan())
        assert server.requests[0].headers["authorization"] == "Bearer unused"
        await llm.aclose()

    async def test_connections_are_kept(self, llm: LLM, server: LLMServer) -> None:
        """Requests in a row, after errors too, are each made once: the client does not retry."""
        await ask(llm, server, Plan())
        await fail(llm, server, Plan(status=500, error="oops"))
        await ask(llm, server, Plan())
        assert len(server.requests) == 3


class TestReply:
    async def test_text_and_usage(self, llm: LLM, server: LLMServer) -> None:
        """The pieces of text make one reply, each handed on as it arrives; usage and times are recorded."""
        server.script = lambda _: Plan(text=["Hel", "lo"], usage=(7, 2))
        pieces: list[str] = []
        before = time.time()
        reply = await llm.complete(HI, [], pieces.append)
        assert reply.item == AssistantItem(content="Hello", finish=Finish.STOP)
        assert pieces == ["Hel", "lo"]
        assert reply.usage == Usage(calls=1, prompt_tokens=7, completion_tokens=2)
        assert before <= reply.started_at <= reply.ended_at <= time.time()

    async def test_unreported_usage_is_not_zero(self, llm: LLM, server: LLMServer) -> None:
        """A reply without usage counts as unmetered."""
        assert (await ask(llm, server, Plan(usage=None))).usage == Usage(calls=1, unmetered_calls=1)

    async def test_tool_calls_in_fragments(self, llm: LLM, server: LLMServer) -> None:
        """Fragments of several calls are put together by their index."""
        fragments = [
            {"index": 0, "id": "a", "type": "function", "function": {"name": "one", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"x"'}},
            {"index": 1, "id": "b", "type": "function", "function": {"name": "two", "arguments": "{"}},
            {"index": 0, "function": {"arguments": ": 1}"}},
            {"index": 1, "function": {"arguments": "}"}},
        ]
        raw = [*(delta(tool_calls=[fragment]) for fragment in fragments), delta(finish_reason="tool_calls")]
        reply = await ask(llm, server, Plan(raw=raw))
        assert reply.item == AssistantItem(
            tool_calls=(
                ToolCall(call_id="a", name="one", arguments='{"x": 1}'),
                ToolCall(call_id="b", name="two", arguments="{}"),
            ),
            finish=Finish.TOOL_CALLS,
        )

    async def test_finish_stop_with_tool_calls(self, llm: LLM, server: LLMServer) -> None:
        """A server that says "stop" after a tool call, sent in one piece, means tool calls."""
        reply = await ask(llm, server, Plan(text=["Let me see"], calls=[Call(call_id="c")], finish_reason="stop"))
        assert reply.item.finish is Finish.TOOL_CALLS
        assert [call.call_id for call in reply.item.tool_calls] == ["c"]

    async def test_the_reply_was_cut_at_the_length_limit(self, llm: LLM, server: LLMServer) -> None:
        """At the length limit the last call is kept as it came; the tools deal with broken arguments."""
        reply = await ask(llm, server, Plan(text=[], calls=[Call(arguments='{"task": "so')], finish_reason="length"))
        assert reply.item.finish is Finish.LENGTH
        assert reply.item.tool_calls[0].arguments == '{"task": "so'

    @pytest.mark.parametrize("call_id", [None, "", "same"])
    async def test_call_ids_are_made_unique(self, llm: LLM, server: LLMServer, call_id: str | None) -> None:
        """Missing and repeated call ids are replaced by different ones, the same in each replay."""
        plan = Plan(text=[], calls=[Call(call_id=call_id)] * 3)
        replies = [await ask(llm, server, plan) for _ in range(2)]
        assert len({call.call_id for call in replies[0].item.tool_calls} - {""}) == 3
        assert replies[0].item == replies[1].item

    @pytest.mark.parametrize("ids", [("a", "b"), (None, None)])
    async def test_whole_calls_without_an_index(self, llm: LLM, server: LLMServer, ids: tuple[str | None, ...]) -> None:
        """Servers that send whole calls and no index are understood."""
        raw = [delta(tool_calls=[{"id": i, "function": {"name": "work", "arguments": "{}"}}]) for i in ids]
        reply = await ask(llm, server, Plan(raw=[*raw, delta(finish_reason="stop")]))
        assert [(call.name, call.arguments) for call in reply.item.tool_calls] == [("work", "{}")] * 2

    async def test_odd_chunks_are_understood(self, llm: LLM, server: LLMServer) -> None:
        """Null deltas, null content, null usage, chunks without choices and unknown fields do no harm."""
        raw = [
            {"choices": []},
            {"choices": None, "usage": None},
            {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None, "reasoning": "?"}}], "x": 1},
            delta(content="ok", tool_calls=None),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "eos"}]},
            {"usage": {"prompt_tokens": 3, "completion_tokens": None}},
        ]
        reply = await ask(llm, server, Plan(raw=raw))
        assert reply.item == AssistantItem(content="ok", thought=Thought(text="?"))
        assert reply.usage == Usage(calls=1, prompt_tokens=3)

    async def test_a_refusal_is_an_answer(self, llm: LLM, server: LLMServer) -> None:
        """What the model says in refusing is its text."""
        reply = await ask(llm, server, Plan(raw=[delta(refusal="I won't."), delta(finish_reason="stop")]))
        assert reply.item.content == "I won't."

    async def test_done_marker_is_not_needed(self, llm: LLM, server: LLMServer) -> None:
        """A stream that ends after its finish_reason is complete, with or without [DONE]."""
        assert (await ask(llm, server, Plan(done=False))).item.content == "Hello there."

    async def test_a_complete_reply_survives_a_broken_end(self, llm: LLM, server: LLMServer) -> None:
        """When the connection breaks after the finish_reason, the reply is kept."""
        reply = await ask(llm, server, Plan(break_after=3))
        assert reply.item == AssistantItem(content="Hello there.")
        assert reply.usage.unmetered_calls == 1


async def test_files_that_cannot_be_read_now(llm: LLM, server: LLMServer) -> None:
    """Where the store of files is away the call fails in passing: no file is told to be gone."""

    async def away(_file_id: str) -> None:
        raise FilesUnavailable

    llm._read_file = away
    with pytest.raises(LLMUnavailable, match="The store of files does not answer; try again"):
        await llm.complete(SHOWN)
    assert server.requests == []


class TestAbort:
    async def test_before_the_first_byte(self, llm: LLM, server: LLMServer) -> None:
        """Cancelling while the LLM thinks gives an empty aborted reply, and the server sees the disconnect at once."""
        await ask(llm, server, Plan())  # the first call of a process also loads code
        server.script = lambda _: Plan(delay_s=FOR_EVER)
        call = asyncio.create_task(llm.complete(HI, [SPEC]))
        await server.until(lambda: len(server.requests) == 2)
        aborted_at = time.monotonic()
        call.cancel()
        reply = await call
        assert reply.item == AssistantItem(finish=Finish.ABORTED)
        assert reply.usage == Usage(calls=1, unmetered_calls=1)
        await server.until(lambda: server.requests[1].disconnected_at is not None)
        assert (server.requests[1].disconnected_at or 0) - aborted_at < 0.05

    async def test_in_the_middle_of_the_stream(self, llm: LLM, server: LLMServer) -> None:
        """Cancelling keeps the text so far, drops calls that had begun, and closes the connection."""
        server.script = lambda _: Plan(text=["Hello", " there."], calls=[Call()], hang_after=3, usage=None)
        heard = asyncio.Event()
        call = asyncio.create_task(llm.complete(HI, [SPEC], lambda text: heard.set() if "there" in text else None))
        await heard.wait()
        call.cancel()
        assert (await call).item == AssistantItem(content="Hello there.", finish=Finish.ABORTED)
        await server.until(lambda: server.requests[0].disconnected_at is not None)
        assert server.requests[0].bytes_sent > 0

    async def test_a_complete_reply_wins(self, llm: LLM, server: LLMServer) -> None:
        """Cancelling after the finish_reason, while usage is still due, keeps the full reply."""
        server.script = lambda _: Plan(raw=[{**delta(content="All", finish_reason="stop")}, "{}"], hang_after=1)
        heard = asyncio.Event()
        call = asyncio.create_task(llm.complete(HI, [SPEC], lambda _: heard.set()))
        await heard.wait()
        call.cancel()
        assert (await call).item == AssistantItem(content="All", finish=Finish.STOP)

    async def test_usage_that_had_arrived_is_kept(self, llm: LLM, server: LLMServer) -> None:
        """Servers that report usage all along make an aborted call a metered one."""
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        server.script = lambda _: Plan(raw=[{**delta(content="Hel"), "usage": usage}, "{}"], hang_after=1)
        heard = asyncio.Event()
        call = asyncio.create_task(llm.complete(HI, [SPEC], lambda _: heard.set()))
        await heard.wait()
        call.cancel()
        assert (await call).usage == Usage(calls=1, prompt_tokens=9, completion_tokens=1)

    async def test_while_files_are_read(self, llm: LLM, server: LLMServer) -> None:
        """A store of files that does not answer keeps nobody from cancelling; the LLM is not asked."""
        llm._read_file = lambda _: asyncio.Event().wait()  # type: ignore[assignment, return-value]
        call = asyncio.create_task(llm.complete(SHOWN))
        await asyncio.sleep(0)  # it reads
        call.cancel()
        assert (await call).item == AssistantItem(finish=Finish.ABORTED)
        assert server.requests == []

    async def test_the_cancellation_stays_visible(self, llm: LLM, server: LLMServer) -> None:
        """Who runs the call can tell from its task that it was cancelled; a timeout around it is not confused."""
        server.script = lambda _: Plan(delay_s=FOR_EVER)
        async with asyncio.timeout(0.02) as timeout:
            reply = await llm.complete(HI, [SPEC])
        assert reply.item.finish is Finish.ABORTED
        assert timeout.expired()

    async def test_the_client_goes_on(self, llm: LLM, server: LLMServer) -> None:
        """After an abort the next call works."""
        gate = Gate()
        server.script = lambda _: Plan(gate=gate)
        call = asyncio.create_task(llm.complete(HI, [SPEC]))
        await server.until(lambda: len(server.requests) == 1)
        call.cancel()
        await call
        gate.open()
        assert (await llm.complete(HI, [SPEC])).item.content == "Hello there."


class TestPassingFaults:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
    async def test_busy_and_broken_servers(self, llm: LLM, server: LLMServer, status: int) -> None:
        """Overload, rate limits and server errors are worth another attempt; the message quotes the server."""
        error = await fail(llm, server, Plan(status=status, error={"error": {"message": f"busy with {KEY}"}}))
        assert isinstance(error, LLMUnavailable)
        assert "busy with" in error.message
        assert str(status) in error.message

    @pytest.mark.parametrize(
        ("headers", "retry_after_s"),
        [
            ({}, None),
            ({"Retry-After": "7"}, 7),
            ({"Retry-After": "0.5"}, 0.5),
            ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
            ({"Retry-After": "-3"}, 0),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "nan"}, None),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ],
    )
    async def test_retry_after(
        self, llm: LLM, server: LLMServer, headers: dict[str, str], retry_after_s: float | None
    ) -> None:
        """The wait that the server asks for is understood in each of its forms."""
        error = await fail(llm, server, Plan(status=429, headers=headers, error="slow down"))
        assert isinstance(error, LLMUnavailable)
        assert error.retry_after_s == retry_after_s

    async def test_retry_after_as_a_date(self, llm: LLM, server: LLMServer) -> None:
        """An HTTP date in the future is the wait until then."""
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        error = await fail(llm, server, Plan(status=503, headers={"Retry-After": date}, error="later"))
        assert isinstance(error, LLMUnavailable)
        assert 25 < (error.retry_after_s or 0) <= 30

    @pytest.mark.parametrize(
        ("plan", "words"),
        [
            (Plan(break_after=1), "broke in the middle of its answer (RemoteProtocolError)."),
            (Plan(break_after=0), "connection"),
            (Plan(finish_reason=None, done=False), "before it was finished"),
            (Plan(raw=[], done=False), "before it was finished"),
            (Plan(raw=[]), "empty answer"),
            (Plan(raw=[delta(content="He"), "{garbage"]), "cannot be understood (JSONDecodeError)."),
            (Plan(raw=["{garbage"]), "OPENAI_BASE_URL"),
            (Plan(raw=[delta(content="He"), {"choices": "garbage"}]), "cannot be understood"),
            (Plan(raw=[delta(content="He"), "[" * 100_000]), "cannot be understood"),
            (Plan(raw=[delta(content="He"), "3"]), "cannot be understood"),
            (Plan(text=[]), "empty answer"),
            (Plan(text=["", " \n"]), "empty answer"),
            (Plan(text=[], finish_reason="tool_calls"), "empty answer"),
            (Plan(raw=[delta(content="He"), {"error": {"message": "no GPU left", "code": 503}}]), "no GPU left"),
            (Plan(raw=[{"error": {"message": "slow down", "type": "rate_limit_exceeded"}}]), "429"),
            (Plan(raw=[{"error": "out of order"}]), "out of order"),
        ],
    )
    async def test_broken_streams(self, llm: LLM, server: LLMServer, plan: Plan, words: str) -> None:
        """A stream that is broken, cut off, undecodable, empty or reports an error is worth another attempt."""
        error = await fail(llm, server, plan)
        assert isinstance(error, LLMUnavailable)
        assert words in error.message

    @pytest.mark.parametrize("plan", [Plan(delay_s=FOR_EVER), Plan(hang_after=1)])
    async def test_silence(self, server: LLMServer, plan: Plan) -> None:
        """A server that falls silent for longer than LLM_TIMEOUT_S is given up, and sees the disconnect."""
        llm = connect(settings_for(server.url, llm_timeout_s=0.05))
        error = await fail(llm, server, plan)
        assert isinstance(error, LLMUnavailable)
        assert "LLM_TIMEOUT_S" in error.message
        await server.until(lambda: server.requests[0].disconnected_at is not None)
        await llm.aclose()

    async def test_no_server(self, caplog: pytest.LogCaptureFixture) -> None:
        """A server that is not there is worth another attempt; only the log names it, without its credentials."""
        with LLMServer() as server:
            url = server.url
        llm = connect(settings_for(url.replace("//", "//user:password@")))
        with pytest.raises(LLMUnavailable, match="OPENAI_BASE_URL") as caught:
            await llm.complete(HI)
        assert url in caplog.text
        assert "127.0.0.1" not in caught.value.message
        assert "password" not in caplog.text
        assert "password" not in caught.value.message
        await llm.aclose()


class TestLastingFaults:
    @pytest.mark.parametrize(
        ("status", "error", "cure"),
        [
            (400, {"error": {"message": "tools are not supported"}}, "tools are not supported"),
            (401, {"error": {"message": f"wrong key {KEY}"}}, "OPENAI_API_KEY"),
            (403, "forbidden", "OPENAI_API_KEY"),
            (404, {"error": {"message": "no such model"}}, "'tiny'"),
            (404, "not found", "OPENAI_BASE_URL"),
            (422, {"detail": "bad schema"}, "bad schema"),
            (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, "CONTEXT_TOKENS"),
            (400, {"error": {"message": "This model's maximum context length is 8192"}}, "CONTEXT_TOKENS"),
            (413, "too large", "CONTEXT_TOKENS"),
            (400, "x" * 5000, "xxx…"),
            (418, None, "418"),
        ],
    )
    async def test_refused_requests(self, llm: LLM, server: LLMServer, status: int, error: object, cure: str) -> None:
        """A refusal is not worth another attempt; its message names the cure and never the key."""
        failure = await fail(llm, server, Plan(status=status, error=error))
        assert isinstance(failure, LLMRejected)
        assert cure in failure.message
        assert len(failure.message) < 600

    async def test_a_refusal_within_the_stream(self, llm: LLM, server: LLMServer) -> None:
        """An error object in the stream can be a refusal too."""
        refusal = {"error": {"message": "too long", "code": "context_length_exceeded"}}
        failure = await fail(llm, server, Plan(raw=[refusal]))
        assert isinstance(failure, LLMRejected)
        assert "CONTEXT_TOKENS" in failure.message

    async def test_a_filtered_answer(self, llm: LLM, server: LLMServer) -> None:
        """An answer that a content filter emptied is not worth another attempt."""
        failure = await fail(llm, server, Plan(text=[], finish_reason="content_filter"))
        assert isinstance(failure, LLMRejected)
        assert "content filter" in failure.message
