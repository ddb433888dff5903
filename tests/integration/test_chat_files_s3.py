"""Messages with images that are kept in a bucket: what the LLM sees, what `forget` leaves, a bucket that is away."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.files.names import folder_of
from tests.integration.conftest import SETTINGS
from tests.integration.test_chat_files import OK, PNG, SENT, Uploads, images
from tests.support.llm_server import LLMServer
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.s3_server import BUCKET, ID, SECRET, S3Server
from tests.support.service import Service


@pytest_asyncio.fixture(loop_scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        await server.start()
        yield server
    finally:
        server.kill9()


@pytest_asyncio.fixture
async def chat(
    restate_server: RestateServer, llm_server: LLMServer, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Uploads]:
    """A fresh chat of an application with a bucket, whose LLM says that it sees."""
    llm_server.script = lambda _: OK
    llm_server.faults.clear()
    folder, port = tmp_path_factory.mktemp("filing"), free_port()
    settings = SETTINGS | restate_server.settings | {"OPENAI_BASE_URL": llm_server.url, "WEB_PORT": str(port)}
    settings |= s3.settings | {"FILES_DIR": f"s3://{BUCKET}/of/chats"}
    async with restate_server.serving(Service(folder, **settings)) as service, local_http() as http:
        chat = Uploads(restate_server, llm_server, http, f"files-{uuid.uuid4().hex[:12]}")
        chat.service, chat.web = service, f"http://127.0.0.1:{port}"
        yield chat
        await chat.close()
        assert [line for line in service.log_lines() if ID in line or SECRET in line] == []


async def test_an_image_in_a_bucket(chat: Uploads, s3: S3Server) -> None:
    """The LLM gets the image; `forget` leaves nothing of the chat in the bucket, and the file is 404."""
    file_id = await chat.upload()
    await chat.show("look", file_id)
    assert (await chat.idle())[-1] == ("assistant", "I see.", "completed")
    assert images(chat.requests[0]) == [SENT]
    url = f"{chat.web}/chats/{chat.key}/files/{file_id}"
    assert (await chat._http.get(url)).content == PNG
    assert len(s3.paths(f"of/chats/{folder_of(chat.key)}")) == 3
    await chat.call("forget")
    assert s3.paths() == []
    assert (await chat._http.get(url)).status_code == 404


async def test_a_bucket_that_is_away(chat: Uploads, s3: S3Server) -> None:
    """A turn fails with a sentence that says to try again, and never tells the LLM that the file is gone."""
    await chat.show("look", await chat.upload())
    await chat.idle()
    s3.kill9()
    await chat.say("again")
    role, sentence, status = (await chat.idle(timeout_s=60))[-1]
    assert (role, status) == ("system", "failed")
    assert "The store of files does not answer; try again" in sentence
    assert len(chat.requests) == 1

    answer = await chat._http.post(f"{chat.web}/chats/{chat.key}/files", content=PNG, headers={"x-file-name": "a.png"})
    assert answer.status_code == 503
    refused = await chat.post(
        "process_user_message", {"content": "x", "attachments": [{"file_id": f"{folder_of(chat.key)}-{'1' * 32}"}]}
    )
    assert (refused.status_code, "does not answer" in refused.text) == (503, True)
    refused = await chat.post("forget", {})
    assert (refused.status_code, "does not answer" in refused.text) == (500, True), refused.text
    await s3.start()
