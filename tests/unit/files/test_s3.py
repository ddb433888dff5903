"""`app/files/s3.py`: what only a bucket has: a server that is away or refuses, and races without a rename."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from app.errors import FilesUnavailable, NotFound, UsageError
from app.files.chosen import files_of, require_files
from app.files.names import folder_of
from app.files.s3 import S3Files
from app.files.store import UNUSED_S, Files
from app.settings import Settings
from tests.support.gateway import gateway
from tests.support.s3_server import BUCKET, ID, SECRET, S3Server
from tests.unit.files.test_kinds import PNG
from tests.unit.files.test_stores import added, pieces

LATER = UNUSED_S + 60


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates, which this client wants for http, too, and no variables of another test."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def store(server: S3Server, prefix: str = "", bucket: str = BUCKET, **options: str) -> S3Files:
    given = {"endpoint": server.url, "access_key_id": ID, "secret_access_key": SECRET, "region": "us-east-1"}
    return S3Files(bucket, prefix, given | options, max_bytes=50_000_000, max_chat_bytes=100_000_000)


@asynccontextmanager
async def answering(status: int, body: str) -> AsyncIterator[str]:
    """Give the address of a server that answers all requests the same."""

    busy: set[asyncio.Task[Any] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            first = b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            writer.write(first % (status, len(body)) + body.encode())
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*(task for task in busy if task is not None))


async def faults(files: Files) -> set[str]:
    """Return the sentences of all that can be done where nothing can."""
    file_id = f"{folder_of('ellie')}-{'1' * 32}"
    said = set()
    for each in (added(files), files.read(file_id), files.find("ellie", file_id), files.erase("ellie"), files.sweep()):
        with pytest.raises(FilesUnavailable) as caught:
            await each
        said.add(caught.value.message)
        assert (caught.value.status, caught.value.__cause__, caught.value.__suppress_context__) == (503, None, True)
    with pytest.raises(FilesUnavailable) as caught:
        await asyncio.to_thread(files.erase_all)
    said.add(caught.value.message)
    return said


async def test_a_large_file(s3: S3Server, tmp_path: Path) -> None:
    """A file in several parts is there whole."""
    content = b"%PDF-" + bytes(range(256)) * 70_000
    files = store(s3, tmp_path.name)
    attachment, _ = await files.add("ellie", "a.pdf", "", pieces(content[:9_000_000], content[9_000_000:]))
    assert await files.read(attachment.file_id) == content


async def test_no_bucket(s3: S3Server) -> None:
    """A bucket that is not there is a sentence that names it, for reads too: no file is told to be gone."""
    said = await faults(store(s3, bucket="no-such-bucket"))
    assert said == {
        "The store of files has no bucket 'no-such-bucket': create it, or name another in FILES_DIR",
    }


async def test_a_server_that_is_away(s3: S3Server) -> None:
    """A server that does not answer is a sentence that says to try again."""
    said = await faults(store(s3, endpoint="http://127.0.0.1:1"))
    assert said == {"The store of files does not answer; try again in a moment"}


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (403, "<Error><Code>SignatureDoesNotMatch</Code><K>{id}</K><S>{secret}</S></Error>", "refuses the service"),
        (403, "<Error><Code>AccessDenied</Code></Error>", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (400, "<Error><Code>ExpiredToken</Code><Token>{secret}</Token></Error>", "refuses the service"),
        (400, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>", "set AWS_REGION"),
        (404, "<html>Not Found</html>", "does not answer as an S3-compatible server"),
        (405, "no", "does not answer as an S3-compatible server"),
        (503, "<Error><Code>SlowDown</Code></Error>", "try again in a moment"),
    ],
)
async def test_a_server_that_refuses(
    s3: S3Server, status: int, body: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server answers becomes a sentence with a cure; no key is in it, nor in the log."""
    caplog.set_level(logging.DEBUG)
    async with answering(status, body.format(id=ID, secret=SECRET)) as url:
        said = await faults(store(s3, endpoint=url))
    assert len(said) == 1
    assert sentence in said.pop()
    assert f"status {status}" in caplog.text
    for each in (ID, SECRET):
        assert each not in caplog.text + repr(said)


async def test_nothing_is_shown_of_a_store_that_is_away(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway answers 503 with the sentence, and says when to come again."""
    for name, value in (s3.settings | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    async with gateway(files_dir=f"s3://{BUCKET}") as http:
        answer = await http.post("/chats/a/files", content=PNG, headers={"x-file-name": "a.png"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "The store of files does not answer" in answer.text


async def test_taken_while_it_is_swept(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sweep and a message that takes the file, whoever comes first wins, and the file is whole or gone."""
    files = store(s3, tmp_path.name)
    kept, gone = await added(files, name="kept.png"), await added(files, name="gone.png")
    fates = {
        kept.file_id: b"used",
        gone.file_id: b"swept",
    }
    listed = files._by_file

    async def seen_before() -> AsyncIterator[Any]:
        found = [each async for each in listed()]  # the sweep has seen neither fate
        for file_id, fate in fates.items():
            s3.bucket(tmp_path.name).put(file_id.replace("-", "/") + ".fate", fate)
        for each in found:
            yield each

    monkeypatch.setattr(files, "_by_file", seen_before)
    assert await files.sweep(time.time() + LATER) == 0
    monkeypatch.undo()
    assert await files.use("ellie", [kept.file_id]) == [kept]
    with pytest.raises(NotFound):
        await files.use("ellie", [gone.file_id])
    assert await files.sweep(time.time() + LATER) == 1
    assert await files.read(kept.file_id) == PNG
    assert await files.read(gone.file_id) is None


@pytest.mark.parametrize(
    ("place", "endpoint", "words"),
    [
        ("s3://", None, "s3://bucket/prefix"),
        ("s3://key:secret@bucket/x", None, "s3://bucket/prefix"),
        ("gs://bucket", None, "s3://bucket/prefix"),
        ("s3://bucket/x", "localhost:9000", "http:// or https://"),
        ("s3://bucket/x", "http://key:secret@host", "http:// or https://"),
        ("s3://bucket/x", "http://host", "needs AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_settings(place: str, endpoint: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be used is refused at the start with a cure, and no password in it."""
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError) as caught:
        require_files(Settings(_env_file=None, files_dir=place))
    assert words in caught.value.message
    assert "secret" not in caught.value.message


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the start says which command installs it; a folder needs none."""
    monkeypatch.setattr(import_module("app.files.chosen"), "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install --require-hashes -r requirements-s3\.txt"):
        files_of(Settings(_env_file=None, files_dir="s3://bucket"))
    require_files(Settings(_env_file=None, files_dir="/tmp/files"))  # noqa: S108 - nothing is written
