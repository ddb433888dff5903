"""`app/web/guard.py` and `origin.py`: which requests reach a route at all."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.settings import Settings
from app.web.app import build_gateway
from tests.support.gateway import ALICE, TOKENS, FakeIngress, bearer, gateway

MESSAGE = {"role": "user", "content": "hello"}


@pytest.fixture
def restate() -> FakeIngress:
    return FakeIngress()


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
)
async def test_loopback_is_let_in(host: str) -> None:
    """A request for localhost, or a loopback address, is served, with any port."""
    async with gateway() as http:
        assert (await http.get("/me", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["localhost:1", "chat.example:443", "CHAT.example", "[fd00::1]:8000"])
async def test_names_of_ours_are_let_in(host: str) -> None:
    """A request for an allowed name is served, with any port, whatever the setting says of ports."""
    async with gateway(web_allowed_hosts="Chat.example:8443, fd00::1", web_tokens=TOKENS) as http:
        assert (await http.get("/me", headers={"host": host} | bearer(ALICE))).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8000",
        "localhost@evil.example",
        "localhost:8000:1",
        "[::1]:8000:evil.example",
        "[::1",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "localhost ",
        "localhost/",
        "localhost,evil.example",
        "",
        "xn--localhost",
        "localhost.",
    ],
)
async def test_other_names_are_refused(host: str) -> None:
    """A page whose name was made to point here (DNS rebinding) reaches nothing, not even the page."""
    async with gateway() as http:
        for path in ("/me", "/", "/static/app.js"):
            assert (await http.get(path, headers={"host": host})).status_code == 421


async def test_two_hosts_are_refused() -> None:
    """A request with two Host headers, of which two parts of a server could believe one each, is refused."""
    async with gateway() as http:
        request = http.build_request("GET", "/me", headers=[("host", "localhost"), ("host", "evil.example")])
        assert (await http.send(request)).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://localhost"},
        {"origin": "http://localhost:8000.evil.example"},
        {"origin": "http://localhost:8000/"},
        {"origin": "http://evil.example@localhost:8000"},
        {"origin": "file://localhost:8000"},
        {"origin": ""},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "anything"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"origin": "http://localhost:8000", "sec-fetch-site": "cross-site"},
    ],
)
async def test_pages_of_others_are_refused(headers: dict[str, str], restate: FakeIngress) -> None:
    """What a page of another origin sends, by fetch, by a form or as an image, reaches no handler."""
    async with gateway(restate) as http:
        for path in ("/chats/ellie/messages", "/chats/ellie/forget"):
            assert (await http.post(path, json=MESSAGE, headers=headers)).status_code == 403
        assert (await http.get("/chats/ellie", headers=headers)).status_code == 403
    assert restate.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000"},
        {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    ],
)
async def test_our_page_and_other_clients_are_let_in(headers: dict[str, str], restate: FakeIngress) -> None:
    """Our own page, an address that a person typed, and clients that are no browsers are served."""
    async with gateway(restate) as http:
        assert (await http.get("/chats/ellie", headers=headers)).status_code == 200
        assert (await http.post("/chats/ellie/messages", json=MESSAGE, headers=headers)).status_code == 200


async def test_behind_a_proxy_that_ends_tls_our_page_is_let_in() -> None:
    """The origin of the page is https, the port left out: it is the host that the proxy passes on."""
    async with gateway(web_allowed_hosts="chat.example", web_tokens=TOKENS) as http:
        for host in ("chat.example", "chat.example:443"):
            headers = {"host": host, "origin": "https://chat.example"} | bearer(ALICE)
            assert (await http.get("/me", headers=headers)).status_code == 200


async def test_a_link_to_the_page_is_followed() -> None:
    """A link on another site opens the page, and nothing else."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with gateway() as http:
        assert (await http.get("/", headers=headers)).status_code == 200
        assert (await http.get("/", headers=headers | {"sec-fetch-mode": "no-cors"})).status_code == 403


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain; application/json",
        "",
    ],
)
async def test_a_form_is_refused(content_type: str | None, restate: FakeIngress) -> None:
    """A body that a page may send without asking first is refused, although it is good JSON."""
    headers = {} if content_type is None else {"content-type": content_type}
    async with gateway(restate) as http:
        answer = await http.post("/chats/ellie/forget", content=b"{}", headers=headers)
    assert (answer.status_code, restate.calls) == (415, [])


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b'"stop"', b"NaN"])
async def test_a_change_needs_an_object(body: bytes, restate: FakeIngress) -> None:
    """`forget` and `stop` want a JSON object: an empty POST changes nothing."""
    async with gateway(restate) as http:
        for handler in ("forget", "stop", "messages"):
            answer = await http.post(
                f"/chats/ellie/{handler}", content=body, headers={"content-type": "application/json"}
            )
            assert (answer.status_code, restate.calls) == (400, [])


@pytest.mark.parametrize(
    "value", [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 10_000 + b"]" * 10_000, b"01", b"'a'"]
)
async def test_what_json_cannot_carry_is_refused(value: bytes, restate: FakeIngress) -> None:
    """Values that one reader of JSON takes and another does not are 400, not a bug."""
    headers = {"content-type": "application/json"}
    async with gateway(restate) as http:
        answer = await http.post("/chats/ellie/messages", content=b'{"content": ' + value + b"}", headers=headers)
    assert (answer.status_code, restate.calls) == (400, [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
async def test_only_post_changes_anything(method: str, restate: FakeIngress) -> None:
    """No other method reaches a handler that changes a chat, and no answer lets another origin try."""
    async with gateway(restate) as http:
        for handler in ("forget", "stop", "messages", "set_mode"):
            answer = await http.request(method, f"/chats/ellie/{handler}")
            assert answer.status_code == 405
            assert not [name for name in answer.headers if name.startswith("access-control")]
    assert restate.calls == []


@pytest.mark.parametrize("path", ["/", "/me", "/nothing", "/chats/%zz", "/static/nothing.js"])
async def test_every_answer_has_the_headers(path: str) -> None:
    """Errors too say what a browser must not do with them."""
    async with gateway() as http:
        answer = await http.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] in ("no-store", "no-cache")


async def test_a_body_that_is_too_large_is_refused(restate: FakeIngress) -> None:
    """A body over the limit is refused, whether its length is announced or not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    headers = {"content-type": "application/json"}
    async with gateway(restate, web_max_body_bytes=1000) as http:
        for content in (b" " * 1001, pieces()):
            assert (await http.post("/chats/a/messages", content=content, headers=headers)).status_code == 413
        for length in ("-1", "1e9", "9" * 30, "0x10"):
            wrong = await http.post("/chats/a/messages", content=b"{}", headers=headers | {"content-length": length})
            assert wrong.status_code == 413
        assert (await http.post("/chats/a/messages", content=b"{}" + b" " * 998, headers=headers)).status_code == 200
    assert len(restate.calls) == 1


async def test_a_body_that_comes_too_slowly_is_refused() -> None:
    """A client that sends a body byte by byte gets 408 when its time is over."""
    app = build_gateway(Settings(_env_file=None, web_request_timeout_s=0.05))
    sent = []

    async def never() -> dict[str, object]:
        import asyncio

        await asyncio.Event().wait()
        return {}

    async def send(event: dict[str, object]) -> None:
        sent.append(event)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"10")]
    scope = {
        "type": "http", "method": "POST", "path": "/chats/a/stop", "raw_path": b"/chats/a/stop", "http_version": "1.1",
        "headers": headers, "client": ("127.0.0.1", 1), "query_string": b"",
    }  # fmt: skip
    await app(scope, never, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408


async def test_too_many_requests_are_refused_with_a_time() -> None:
    """Beyond the burst a user gets 429 and when to come again, and other users notice nothing."""
    async with gateway(web_tokens=TOKENS, web_burst=3, web_rate=1) as http:
        answers = [(await http.get("/me", headers=bearer(ALICE))) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["retry-after"] == "1"
        assert (await http.get("/me", headers=bearer("bob-token-0123456789"))).status_code == 200
        assert (await http.get("/")).status_code == 200


async def test_http2_is_not_spoken() -> None:
    """A request by HTTP/2, in which the host can be said twice, is refused."""
    app = build_gateway(Settings(_env_file=None))
    sent = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, object]) -> None:
        sent.append(event)

    scope = {
        "type": "http", "method": "GET", "path": "/me", "raw_path": b"/me", "http_version": "2", "query_string": b"",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 505


async def test_a_bug_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is one line in the log and 500, without its words in the answer."""

    def broken(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("the secret of the house")

    async with gateway(broken) as http:
        answer = await http.get("/chats/ellie", headers=bearer("hidden-token"))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "the secret of the house" in caplog.text
    assert "hidden-token" not in caplog.text
