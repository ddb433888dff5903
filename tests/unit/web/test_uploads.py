"""`app/web/uploads/routes.py`: files go in, and come out only to whom they belong."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway import ALICE, BOB, TOKENS, bearer, gateway
from tests.unit.files.test_kinds import PNG

NAMED = {"x-file-name": "a%20b%22%0D%0A.png", "content-type": "image/png"}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with two users, files of 1000 bytes and bodies of 500."""
    async with gateway(files_dir=tmp_path, max_file_bytes=1000, web_max_body_bytes=500, web_tokens=TOKENS) as http:
        yield http


async def uploaded(http: httpx.AsyncClient, content: bytes = PNG, **headers: str) -> httpx.Response:
    given = NAMED | bearer(ALICE) | {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/chats/alice%3Aa%2Fb/files", content=content, headers=given)


async def test_an_image(http: httpx.AsyncClient) -> None:
    """An image is shown to its owner as what it is, in a sandbox; its name drives no header."""
    answer = (await uploaded(http)).json()
    assert answer | {"file_id": ""} == {
        "file_id": "",
        "name": 'a b"\\r\\n.png',
        "media_type": "image/png",
        "bytes": len(PNG),
        "sha256": answer["sha256"],
    }

    shown = await http.get(f"/chats/alice%3Aa%2Fb/files/{answer['file_id']}", headers=bearer(ALICE))
    assert (shown.status_code, shown.content) == (200, PNG)
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["content-disposition"] == "inline; filename*=UTF-8''a%20b%22%5Cr%5Cn.png"
    assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert shown.headers["x-content-type-options"] == "nosniff"


async def test_a_web_page_is_text(http: httpx.AsyncClient) -> None:
    """HTML and PDF are saved, not shown, and HTML is plain text."""
    for content, kind in (
        (b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
        (b"%PDF-1.7", "application/pdf"),
    ):
        file_id = (await uploaded(http, content, content_type="text/html")).json()["file_id"]
        shown = await http.get(f"/chats/alice%3Aa%2Fb/files/{file_id}", headers=bearer(ALICE))
        assert shown.headers["content-type"] == kind
        assert shown.headers["content-disposition"].startswith("attachment;")


async def test_files_of_others(http: httpx.AsyncClient) -> None:
    """A file is not there for another user, nor in another chat of its owner, nor without a token."""
    file_id = (await uploaded(http)).json()["file_id"]
    assert (await http.get(f"/chats/bob/files/{file_id}", headers=bearer(BOB))).status_code == 404
    assert (await http.get(f"/chats/alice/files/{file_id}", headers=bearer(ALICE))).status_code == 404
    assert (await http.get(f"/chats/alice%3Aa%2Fb/files/{file_id}", headers=bearer(BOB))).status_code == 403
    assert (await http.get(f"/chats/alice%3Aa%2Fb/files/{file_id}")).status_code == 401
    assert (await http.post("/chats/alice/files", content=PNG, headers=NAMED | bearer(BOB))).status_code == 403
    for odd in ("..%2F..%2Fetc%2Fpasswd", "%00", "x", "..."):
        assert (await http.get(f"/chats/alice/files/{odd}", headers=bearer(ALICE))).status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (PNG + b"x" * 1000, {}, 413, "MAX_FILE_BYTES"),
        (PNG, {"content_length": "1001"}, 413, "MAX_FILE_BYTES"),
        (b"MZ\0", {}, 415, "send PNG, JPEG"),
        (b"", {}, 415, "is empty"),
        (PNG, {"origin": "https://evil.example"}, 403, "another site"),
        (PNG, {"sec_fetch_site": "cross-site"}, 403, "another site"),
    ],
)
async def test_what_is_refused(
    http: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    """What is too large, of no known kind, or comes from a page of another site is refused with a sentence."""
    answer = await uploaded(http, content, **headers)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


async def test_a_body_without_length(http: httpx.AsyncClient) -> None:
    """A file that says nothing of its length is taken as far as it may go."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield PNG * 10

    answer = await http.post("/chats/alice/files", content=endless(), headers=NAMED | bearer(ALICE))
    assert (answer.status_code, "MAX_FILE_BYTES" in answer.text) == (413, True)


async def test_a_name_is_needed(http: httpx.AsyncClient) -> None:
    """Without the header that pages of other sites cannot send nothing is taken."""
    answer = await http.post("/chats/alice/files", content=b"x", headers=bearer(ALICE) | {"content-type": "text/plain"})
    assert (answer.status_code, "x-file-name" in answer.text) == (400, True)


async def test_other_posts_are_json(http: httpx.AsyncClient) -> None:
    """Only the route of files takes what is no JSON, and more than WEB_MAX_BODY_BYTES."""
    for path in ("/chats/alice/messages", "/chats/alice/files/x", "/chats/alice/files/", "/chats//files"):
        answer = await http.post(path, content=PNG, headers=NAMED | bearer(ALICE))
        assert answer.status_code in (404, 415), path
