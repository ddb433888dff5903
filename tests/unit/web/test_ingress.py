"""`app/web/ingress.py`: when a request is made again, and what the caller is told when it cannot be."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.web import ingress
from app.web.ingress import Ingress, encoded
from app.web.refusals import Refused

Answer = Callable[[httpx.Request], httpx.Response]
BY_INGRESS = {"x-restate-error-source": "ingress"}


class Script:
    """An ingress that answers requests with `answers`, one after the other, the last one for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def call(self, handler: str, body: Any = None, *, within_s: float = 20) -> Any:
        restate = Ingress("http://restate/", within_s=within_s, transport=httpx.MockTransport(self))
        try:
            return await restate.call("a", handler, body)
        finally:
            await restate.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time, and what is away for half a second stays away."""
    monkeypatch.setattr(ingress, "_PAUSES_S", (0.01,))
    monkeypatch.setattr(ingress, "AWAY_WITHIN_S", 0.2)


def said(status: int, message: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"message": message}, headers=headers)


OK = httpx.Response(200, json={"ok": 1})


@pytest.mark.parametrize(
    "first",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        said(404, "service not found") ,
        said(503, "starting"),
        said(500, "node is lost"),
    ],
)  # fmt: skip
async def test_what_the_ingress_could_not_do_is_done_again(first: httpx.Response | Exception) -> None:
    """A connection that breaks, and an error of the ingress itself, are no answer: the same request is sent again."""
    if isinstance(first, httpx.Response):
        first.headers.update(BY_INGRESS)
    for handler in ("get_status", "stop", "process_user_message"):
        script = Script(first, OK)
        assert await script.call(handler, {"content": "x"}) == {"ok": 1}
        one, other = script.requests
        assert one.content == other.content
        assert one.headers == other.headers


@pytest.mark.parametrize("status", [400, 404, 409, 413, 429, 500, 503])
async def test_what_a_handler_says_is_passed_on(status: int) -> None:
    """An error of a handler is the answer, with its status and its sentence; it is not asked again."""
    script = Script(said(status, "no, because"))
    with pytest.raises(Refused) as refused:
        await script.call("stop", {})
    assert (refused.value.status, refused.value.message, len(script.requests)) == (status, "no, because", 1)


async def test_what_the_ingress_cannot_carry_is_passed_on() -> None:
    """An error of the ingress that another attempt would meet again is passed on."""
    script = Script(said(400, "bad request", **BY_INGRESS))
    with pytest.raises(Refused) as refused:
        await script.call("stop", {})
    assert (refused.value.status, len(script.requests)) == (400, 1)


async def test_restate_away_is_a_sentence() -> None:
    """When nobody listens for a while the caller is told so, and when to come again."""
    with pytest.raises(Refused) as refused:
        await Script(httpx.ConnectError("refused")).call("get_status")
    assert refused.value.status == 503
    assert "Restate cannot be reached" in refused.value.message
    assert refused.value.headers == {"retry-after": "2"}


async def test_a_service_that_does_not_answer_is_a_sentence() -> None:
    """When the answer does not come in time the caller is told so."""

    async def never(_request: httpx.Request) -> httpx.Response:
        import asyncio

        await asyncio.Event().wait()
        raise AssertionError

    restate = Ingress("http://restate", within_s=0.05, transport=httpx.MockTransport(never))
    with pytest.raises(Refused) as refused:
        await restate.call("a", "get_status")
    await restate.close()
    assert refused.value.status == 503
    assert "does not answer in time" in refused.value.message


async def test_changes_take_effect_once() -> None:
    """Each change has an idempotency key of its own, and each message an id; what only reads needs neither."""
    script = Script(OK)
    for handler in ("stop", "stop", "process_user_message", "get_status"):
        await script.call(handler, {})
    first, second, message, read = script.requests
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert json.loads(message.content)["message_id"]
    assert "idempotency-key" not in read.headers


async def test_nothing_of_the_caller_but_key_and_body_is_sent() -> None:
    """Restate keeps headers in its journals: none of the caller's gets there."""
    script = Script(OK)
    await script.call("stop", {})
    (request,) = script.requests
    assert set(request.headers) <= {
        "host", "accept", "accept-encoding", "connection", "user-agent", "content-length", "content-type",
        "idempotency-key",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "path"),
    [("..", "%2E%2E"), (".", "%2E"), ("a/b", "a%2Fb"), ("%2F", "%252F"), ("a..b", "a..b"), ("é", "%C3%A9")],
)
async def test_keys_are_one_segment(key: str, path: str) -> None:
    """A key is one segment of the path, also after a client has tidied the path up."""
    assert encoded(key) == path
    script = Script(OK)
    restate = Ingress("http://restate", transport=httpx.MockTransport(script))
    await restate.call(key, "get_status")
    await restate.close()
    assert script.requests[0].url.raw_path.decode() == f"/ChatService/{path}/get_status"
