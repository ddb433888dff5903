"""Answers as real servers send them: odd, but meant well; and those that say why there is no answer."""

import asyncio
import itertools
import json
import time
from typing import Any

import pytest

from app.errors import LLMRejected, LLMUnavailable, ReplyTooLong
from app.llm import LLM, Reply, connect
from app.turns.transcript import Finish
from tests.support.llm_client import HI, ask, fail, settings_for
from tests.support.llm_server import LLMServer, Plan, delta

STOP = delta(finish_reason="stop")


def answer(**message: object) -> dict[str, Any]:
    """Return a whole answer, as it comes when no stream was asked for."""
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def lines(*chunks: object, ending: str = "\n\n") -> list[bytes]:
    return [f"data: {json.dumps(chunk)}{ending}".encode() for chunk in chunks]


async def pieces_of(llm: LLM, server: LLMServer, plan: Plan) -> tuple[Reply, list[str]]:
    """Return the reply and the pieces of text that a listener was given."""
    server.script = lambda _: plan
    pieces: list[str] = []
    return await llm.complete(HI, [], pieces.append), pieces


class TestText:
    async def test_halves_of_an_emoji(self, llm: LLM, server: LLMServer) -> None:
        """Halves of a character in two deltas are joined, for a listener too; a lone half becomes U+FFFD."""
        parts = ["a \ud83d", "\ude42 b", "\ude42", "c\ud83d", "d", "\ud83d"]
        reply, pieces = await pieces_of(llm, server, Plan(text=parts))
        assert reply.item.content == "".join(pieces) == "a 🙂 b\ufffdc\ufffdd\ufffd"
        assert pieces[:2] == ["a ", "🙂 b"]

    async def test_an_aborted_half(self, llm: LLM, server: LLMServer) -> None:
        """What had arrived of a stream that breaks between two halves can be stored."""
        error = await fail(llm, server, Plan(text=["a \ud83d", "\ude42"], break_after=1))
        assert error.text == "a \ufffd"

    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "text", "text": "Hello"}],
            [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
            [{"type": "thinking", "thinking": "hm", "text": "hm"}, {"type": "output_text", "text": "Hello"}],
            {"type": "text", "text": "Hello"},
            ["Hel", "lo"],
            [{"type": "refusal", "refusal": "Hello"}],
        ],
    )
    async def test_content_as_parts(self, llm: LLM, server: LLMServer, content: object) -> None:
        """Content may be a list of parts; the model's thinking is none of its answer."""
        assert (await ask(llm, server, Plan(raw=[delta(content=content), STOP]))).item.content == "Hello"

    async def test_the_choice_with_index_0(self, llm: LLM, server: LLMServer) -> None:
        """Of several choices the one with index 0 is the reply, in whatever order they come."""
        other = {"index": 1, "delta": {"content": "No"}, "finish_reason": "length"}
        raw = [{"choices": [other, *chunk["choices"]]} for chunk in (delta(content="Yes"), STOP)]  # type: ignore[misc]
        reply = await ask(llm, server, Plan(raw=[{"choices": [other]}, *raw, {"choices": [other]}]))
        assert (reply.item.content, reply.item.finish) == ("Yes", Finish.STOP)

    async def test_invalid_utf8(self, llm: LLM, server: LLMServer) -> None:
        """Bytes that are no UTF-8 become U+FFFD."""
        body = [*lines(delta(content="a?b")), *lines(STOP)]
        reply = await ask(llm, server, Plan(body=[piece.replace(b"?", b"\xf0\x9f") for piece in body]))
        assert reply.item.content == "a\ufffdb"


class TestEnd:
    async def test_done_without_a_finish_reason(self, llm: LLM, server: LLMServer) -> None:
        """[DONE] alone ends an answer."""
        reply = await ask(llm, server, Plan(finish_reason=None))
        assert (reply.item.content, reply.item.finish) == ("Hello there.", Finish.STOP)

    async def test_a_finish_reason_in_every_chunk_that_is_empty(self, llm: LLM, server: LLMServer) -> None:
        """An empty finish_reason says nothing."""
        plan = Plan(raw=[delta(content="Half", finish_reason="")], done=False)
        assert "before it was finished" in (await fail(llm, server, plan)).message

    @pytest.mark.parametrize("ending", ["\n", "\r\n\r\n", "\r\r"])
    async def test_separators(self, llm: LLM, server: LLMServer, ending: str) -> None:
        """Events may be separated by other line ends, or by none but that of their line."""
        body = [*lines(delta(content="Hel"), delta(content="lo"), STOP, ending=ending), b"data: [DONE]"]
        assert (await ask(llm, server, Plan(body=body))).item.content == "Hello"

    async def test_last_event_without_a_blank_line(self, llm: LLM, server: LLMServer) -> None:
        """A last event that lacks its blank line counts."""
        body = [b"\xef\xbb\xbf", *lines(delta(content="Hello")), b"data:\n\n", *lines(STOP, ending="")]
        assert (await ask(llm, server, Plan(body=body))).item.content == "Hello"

    async def test_what_comes_after_done(self, llm: LLM, server: LLMServer) -> None:
        """Nothing that comes after [DONE] counts, and a server that does not hang up after it is not waited for."""
        body = [*lines(delta(content="Hello")), b"data: [DONE]\n\n", *lines(delta(content="?")) * 500]
        before = time.monotonic()
        assert (await ask(llm, server, Plan(body=body, gap_s=0.05))).item.content == "Hello"
        assert time.monotonic() - before < 5


class TestWholeAnswers:
    @pytest.mark.parametrize("indent", [None, 1])
    async def test_an_answer_that_is_no_stream(self, llm: LLM, server: LLMServer, indent: int | None) -> None:
        """A server that does not stream is understood, whatever its content type is."""
        body = json.dumps(answer(content="Hello"), indent=indent).encode()
        reply, pieces = await pieces_of(llm, server, Plan(body=[body[:20], body[20:]]))
        assert (reply.item.content, pieces, reply.item.finish) == ("Hello", ["Hello"], Finish.STOP)
        assert (reply.usage.prompt_tokens, reply.usage.unmetered_calls) == (3, 0)

    async def test_tool_calls_of_one(self, llm: LLM, server: LLMServer) -> None:
        """Its tool calls are those of the message, with arguments as an object too."""
        calls = [{"id": 1, "type": "function", "function": {"name": "work", "arguments": {"a": "é"}}}]
        reply = await ask(llm, server, Plan(body=[json.dumps(answer(content=None, tool_calls=calls)).encode()]))
        (call,) = reply.item.tool_calls
        assert (call.call_id, call.name, json.loads(call.arguments)) == ("1", "work", {"a": "é"})

    async def test_a_message_as_the_only_event(self, llm: LLM, server: LLMServer) -> None:
        """A whole answer may also come as one event of a stream."""
        assert (await ask(llm, server, Plan(raw=[answer(content="Hello")]))).item.content == "Hello"


class TestSaidOnce:
    """What the server says about a failure is quoted, and nothing is advised that has nothing to do with it."""

    @pytest.mark.parametrize(
        "report",
        [
            {"error": {"message": "no GPU left", "type": "server_error"}},
            {"error": {"error": {"message": "no GPU left"}}},
            {"error": "no GPU left"},
            {"object": "error", "message": "no GPU left", "type": "InternalServerError", "code": 50001},
            {"detail": [{"loc": ["body"], "msg": "no GPU left"}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "no GPU left"}}]},
        ],
    )
    async def test_an_error_object_with_status_200(self, llm: LLM, server: LLMServer, report: object) -> None:
        """An error object is quoted, as the whole answer and within a stream; the text before it is kept."""
        error = await fail(llm, server, Plan(body=[json.dumps(report).encode()]))
        assert "no GPU left." in error.message
        assert isinstance(error, LLMUnavailable)
        error = await fail(llm, server, Plan(raw=[delta(content="Half"), report]))
        assert "no GPU left." in error.message
        assert error.text == "Half"

    async def test_an_event_named_error(self, llm: LLM, server: LLMServer) -> None:
        """An event named error is one, whatever its data looks like."""
        error = await fail(llm, server, Plan(body=[b'event: error\ndata: {"reason": "no GPU left"}\n\n']))
        assert "no GPU left." in error.message

    async def test_a_lasting_error_object(self, llm: LLM, server: LLMServer) -> None:
        """An error object that says so is not worth another attempt."""
        report = {"object": "error", "message": "no such tool", "type": "BadRequestError", "code": 40303}
        error = await fail(llm, server, Plan(body=[json.dumps(report).encode()]))
        assert isinstance(error, LLMRejected)
        assert "(400): no such tool." in error.message

    @pytest.mark.parametrize("body", [b"<!doctype html><title>Hi</title>", b"\n <html></html>"])
    async def test_a_web_page(self, llm: LLM, server: LLMServer, body: bytes) -> None:
        """A page instead of an answer names OPENAI_BASE_URL, after one attempt."""
        error = await fail(llm, server, Plan(body=[body], headers={"content-type": "text/html"}))
        assert isinstance(error, LLMRejected)
        assert "answered with a web page" in error.message
        assert "OPENAI_BASE_URL" in error.message

    @pytest.mark.parametrize("body", [b'{"status": "ok"}', b"[]", b'"ok"'])
    async def test_json_that_is_no_answer(self, llm: LLM, server: LLMServer, body: bytes) -> None:
        """JSON without an answer says what is wrong."""
        error = await fail(llm, server, Plan(body=[body]))
        assert "OPENAI_BASE_URL" in error.message or "ended its answer" in error.message

    @pytest.mark.parametrize("status", [301, 302, 303])
    async def test_a_redirect(self, llm: LLM, server: LLMServer, status: int, caplog: pytest.LogCaptureFixture) -> None:
        """A redirect that would lose the request names OPENAI_BASE_URL; the log where it leads, without its secrets."""
        target = server.url.replace("//", "//user:pass@") + "/login?token=abc"
        error = await fail(llm, server, Plan(status=status, headers={"location": target}, error=""))
        assert isinstance(error, LLMRejected)
        assert f"a redirect ({status}) to another address" in error.message
        assert f"redirected to '{server.url}/login'" in caplog.text
        assert server.url not in error.message
        assert "OPENAI_BASE_URL" in error.message
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [307, 308])
    async def test_a_redirect_that_repeats_the_request(self, llm: LLM, server: LLMServer, status: int) -> None:
        """A redirect that keeps the request is followed."""
        plans = [Plan(status=status, headers={"location": f"{server.url}/other"}, error=""), Plan()]
        server.script = lambda _: plans.pop(0)
        assert (await llm.complete(HI)).item.content == "Hello there."

    async def test_the_token_limit_was_used_up(self, llm: LLM, server: LLMServer) -> None:
        """An empty answer that ended at its length says so, and is not worth another attempt."""
        error = await fail(llm, server, Plan(text=(), finish_reason="length"))
        assert isinstance(error, LLMRejected)
        assert "used its token limit up" in error.message

    async def test_finish_reason_error(self, llm: LLM, server: LLMServer) -> None:
        """A server that ends with the finish_reason "error" has not finished; the text is kept."""
        error = await fail(llm, server, Plan(text=["Half"], finish_reason="error"))
        assert isinstance(error, LLMUnavailable)
        assert error.text == "Half"

    @pytest.mark.parametrize(
        ("status", "error", "sentence"),
        [
            (402, {"error": {"message": "Pay first"}}, "has no credit left (402): Pay first."),
            (429, {"error": {"message": "Pay", "code": "insufficient_quota"}}, "has no credit left (429): Pay."),
            (422, {"detail": "bad field!"}, "The LLM server refused the request (422): bad field!"),
            (400, {"error": {"message": "bad top_p"}}, "The LLM server refused the request (400): bad top_p."),
            (451, {}, "The LLM server refused the request (451): it gave no reason."),
        ],
    )
    async def test_no_unrelated_advice(
        self, llm: LLM, server: LLMServer, status: int, error: object, sentence: str
    ) -> None:
        """The sentence ends with what the server said."""
        failure = await fail(llm, server, Plan(status=status, error=error))
        assert isinstance(failure, LLMRejected)
        assert failure.message.endswith(sentence)

    async def test_advice_about_tools(self, llm: LLM, server: LLMServer) -> None:
        """A server that complains of tools gets the advice that is about them."""
        failure = await fail(llm, server, Plan(status=400, error={"error": {"message": "tools are not supported"}}))
        assert "can stream and call tools" in failure.message

    async def test_a_page_with_an_error_status(self, llm: LLM, server: LLMServer) -> None:
        """Of a page only the title is quoted."""
        page = "<html><head><title>502 Bad Gateway</title></head><body>" + "x" * 1000
        failure = await fail(llm, server, Plan(status=502, error=page))
        assert failure.message.endswith("(502): a web page titled '502 Bad Gateway'.")

    async def test_a_short_key_is_a_word(self, server: LLMServer) -> None:
        """A key like "no" is not blotted out of other words."""
        llm = connect(settings_for(server.url, openai_api_key="no"))
        failure = await fail(llm, server, Plan(status=400, error={"error": {"message": "nothing is known"}}))
        assert "nothing is known" in failure.message
        await llm.aclose()

    @pytest.mark.parametrize("key", ["schlüssel", "a\x00b"])
    async def test_a_key_that_is_none(self, server: LLMServer, key: str) -> None:
        """A key that no header can carry is named, after one attempt."""
        llm = connect(settings_for(server.url, openai_api_key=key))
        failure = await fail(llm, server, Plan())
        assert isinstance(failure, LLMRejected)
        assert "OPENAI_API_KEY" in failure.message
        await llm.aclose()

    async def test_a_key_from_a_file(self, server: LLMServer) -> None:
        """The line feed behind a key is not part of it."""
        llm = connect(settings_for(server.url, openai_api_key="key\n"))
        await ask(llm, server, Plan())
        assert server.requests[0].headers["authorization"] == "Bearer key"
        await llm.aclose()

    async def test_an_address_without_a_scheme(self, server: LLMServer, caplog: pytest.LogCaptureFixture) -> None:
        """An address that lacks its http:// is said to, after one attempt; only the log names it."""
        llm = connect(settings_for("localhost:1/v1"))
        failure = await fail(llm, server, Plan())
        assert isinstance(failure, LLMRejected)
        assert "OPENAI_BASE_URL must begin with http" in failure.message
        assert "localhost:1" not in failure.message
        assert "'localhost:1/v1/'" in caplog.text
        await llm.aclose()

    @pytest.mark.parametrize("status", [200, 400, 429, 500])
    async def test_a_lone_surrogate_in_an_error(self, llm: LLM, server: LLMServer, status: int) -> None:
        """What an error says can be encoded, whatever the server has put into it."""
        report = {"error": {"message": "bad \ud800 thing", "code": "\udfff"}}
        plan = Plan(raw=[report]) if status == 200 else Plan(status=status, error=report)
        failure = await fail(llm, server, plan)
        assert "bad \ufffd thing" in failure.message
        failure.message.encode()


class TestRetryAfter:
    @pytest.mark.parametrize("asked", ["3600", "1e30", "61", "Fri, 31 Dec 9999 23:59:59 GMT"])
    async def test_a_wait_that_is_too_long(self, llm: LLM, server: LLMServer, asked: str) -> None:
        """A wait beyond LLM_MAX_RETRY_AFTER_S is not made: the sentence names it."""
        failure = await fail(llm, server, Plan(status=429, headers={"Retry-After": asked}, error="later"))
        assert isinstance(failure, LLMRejected)
        assert "asks to wait" in failure.message
        assert "LLM_MAX_RETRY_AFTER_S" in failure.message
        if asked.isdecimal():
            assert f"asks to wait {asked} s" in failure.message

    @pytest.mark.parametrize(
        "asked", ["inf", "-1e400", "soon", "Mon, 99 Foo 2015", "1" * 400, "Thu, 01 Jan 99999 00:00:00 GMT"]
    )
    async def test_a_wait_that_is_none(self, llm: LLM, server: LLMServer, asked: str) -> None:
        """What is no number of seconds and no date is passed over."""
        failure = await fail(llm, server, Plan(status=503, headers={"Retry-After": asked}, error="later"))
        assert isinstance(failure, LLMUnavailable)
        assert failure.retry_after_s is None


class TestLimits:
    @pytest.mark.parametrize(
        "chunk",
        [
            delta(content="x" * 30),
            delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "work", "arguments": "x" * 30}}]),
        ],
    )
    async def test_a_reply_without_end(self, server: LLMServer, chunk: object) -> None:
        """Beyond MAX_REPLY_CHARS of text and tool calls the request is aborted, and the text so far is kept."""
        llm = connect(settings_for(server.url, max_reply_chars=100))
        failure = await fail(llm, server, Plan(body=itertools.cycle(lines(delta(content="y" * 5), chunk))))
        assert isinstance(failure, ReplyTooLong)
        assert "100 characters (MAX_REPLY_CHARS)" in failure.message
        assert failure.text.startswith("yyyyy")
        assert len(failure.text) <= 100
        await server.until(lambda: server.requests[0].disconnected_at is not None)
        await llm.aclose()

    @pytest.mark.parametrize(
        "piece",
        [b": keep-alive\n\n" * 5000, b"data: " + b"x" * 50_000, b"data: {}\n\n" * 5000, b"{" * 50_000, b" " * 50_000],
        ids=["comments", "line", "chunks", "document", "blanks"],
    )
    async def test_bytes_without_text(self, server: LLMServer, piece: bytes) -> None:
        """A stream of bytes that never becomes text is given up."""
        llm = connect(settings_for(server.url, max_reply_chars=100))
        failure = await fail(llm, server, Plan(body=itertools.repeat(piece)))
        assert "cannot be understood" in failure.message
        await llm.aclose()

    async def test_comments_without_end(self, server: LLMServer) -> None:
        """A server that only keeps the connection alive is given up after ten silences."""
        llm = connect(settings_for(server.url, llm_timeout_s=0.05))
        failure = await fail(llm, server, Plan(body=itertools.repeat(b": wait\n\n"), gap_s=0.01))
        assert "LLM_TIMEOUT_S" in failure.message
        await llm.aclose()

    async def test_an_error_without_end(self, llm: LLM, server: LLMServer) -> None:
        """Only the beginning of an error's body is read."""
        failure = await fail(llm, server, Plan(status=500, body=itertools.repeat(b"oops " * 1000)))
        assert "(500): oops oops" in failure.message
        await server.until(lambda: server.requests[0].disconnected_at is not None)


class TestPlaces:
    async def test_a_call_waits_for_a_place(self, server: LLMServer) -> None:
        """Calls beyond LLM_MAX_CONNECTIONS wait until another has ended."""
        llm = connect(settings_for(server.url, llm_max_connections=2))
        server.script = lambda _: Plan(delay_s=0.1)
        replies = await gather(llm, 4)
        assert [reply.item.content for reply in replies] == ["Hello there."] * 4
        assert server.requests[2].arrived_at - server.requests[0].arrived_at > 0.09
        await llm.aclose()


async def gather(llm: LLM, count: int) -> list[Any]:
    """Return the replies or errors of calls at the same time."""
    return await asyncio.gather(*(llm.complete(HI) for _ in range(count)), return_exceptions=True)
