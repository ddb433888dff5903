"""Messages with images and files: what the LLM sees, what is kept where, what `forget` and a crash leave."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.files.names import folder_of
from tests.integration.conftest import SETTINGS
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Gate, LLMRequest, LLMServer, Plan
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
SENT = base64.b64encode(PNG).decode()
MARK = base64.b64encode(PNG[:300]).decode()[20:60]  # as it would stand in a journal
OK = Plan(text=["I see."])
BLIND = Plan(status=400, error={"error": {"message": "This model does not support image input."}})


class Uploads(Chat):
    """A chat with a gateway. `folder` is where its files are."""

    web: str
    service: Service
    folder: Path

    async def upload(self, content: bytes = PNG, name: str = "cat.png") -> str:
        answer = await self._http.post(
            f"{self.web}/chats/{self.key}/files", content=content, headers={"x-file-name": name}
        )
        assert answer.is_success, answer.text
        return str(answer.json()["file_id"])

    async def journals(self) -> bytes:
        """Return all that Restate keeps of what the invocations of this chat said."""
        ids = ", ".join(f"'{each}'" for each in await self.kept_invocations())
        rows = await self.server.query(f"SELECT raw FROM sys_journal WHERE id IN ({ids})")  # noqa: S608 - ids of ours
        return b"".join(bytes.fromhex(row["raw"]) for row in rows)

    async def show(self, content: str, *file_ids: str, mode: str | None = None, **fields: object) -> dict[str, Any]:
        return await self.say(content, mode, attachments=[{"file_id": each} for each in file_ids], **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filing(
    restate_server: RestateServer, llm_server: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, str, Path]]:
    """The application with a gateway and a folder for files."""
    folder, port = tmp_path_factory.mktemp("filing"), free_port()
    settings = SETTINGS | restate_server.settings | {"OPENAI_BASE_URL": llm_server.url}
    settings |= {"WEB_PORT": str(port), "FILES_DIR": str(folder / "files"), "MAX_MESSAGE_FILES": "2"}
    async with restate_server.serving(Service(folder, **settings)) as service:
        yield service, f"http://127.0.0.1:{port}", folder / "files"


@pytest_asyncio.fixture
async def chat(
    restate_server: RestateServer, filing: tuple[Service, str, Path], llm_server: LLMServer
) -> AsyncIterator[Uploads]:
    """A fresh chat of that application, whose LLM says that it sees."""
    await restate_server.keep_newest(filing[0].url)
    llm_server.script = lambda _: OK
    llm_server.faults.clear()
    async with local_http() as http:
        chat = Uploads(restate_server, llm_server, http, f"files-{uuid.uuid4().hex[:12]}")
        chat.service, chat.web, root = filing
        chat.folder = root / folder_of(chat.key)
        yield chat
        await chat.close()


def images(request: LLMRequest) -> list[str]:
    """Return the images of a request, without the beginning of their URL."""
    contents = (m["content"] for m in request.messages if isinstance(m.get("content"), list))
    urls = (p["image_url"]["url"] for parts in contents for p in parts if p["type"] == "image_url")
    return [url.removeprefix("data:image/png;base64,") for url in urls]


async def test_an_image_reaches_the_llm_and_no_journal(chat: Uploads) -> None:
    """The LLM gets the image in this turn and the next; history has its name, no state or journal has its bytes."""
    file_id = await chat.upload()
    await chat.show("look", file_id, message_id="m1")
    await chat.idle()
    await chat.say("again")
    assert [line[1] for line in await chat.idle()] == ["look", "I see.", "again", "I see."]

    assert [images(request) for request in chat.requests] == [[SENT], [SENT]]
    first = (await chat.entries())[0]
    assert first["attachments"] == [
        {"file_id": file_id, "name": "cat.png", "media_type": "image/png", "bytes": len(PNG)}
    ]
    state = json.dumps([await chat.state(), await chat.state("AgentSession")])
    assert file_id in state
    assert MARK not in state
    journals = await chat.journals()
    assert file_id.encode() in journals
    assert MARK.encode() not in journals
    assert PNG[40:80] not in journals


async def test_a_message_may_be_an_image_alone(chat: Uploads) -> None:
    """With a file the text may be empty; without one it may not, and the sentence is as before."""
    await chat.show("", await chat.upload(b"a,b\n1,2\n", "t.csv"))
    await chat.idle()
    assert chat.requests[0].user_texts == [
        "[The user has attached 't.csv' (text/plain, 8 bytes). It says:]\n> a,b\n> 1,2"
    ]
    answer = await chat.post("process_user_message", {"content": " "})
    assert (answer.status_code, "at least 1 character" in answer.text) == (400, True)


async def test_what_is_refused_leaves_nothing(chat: Uploads) -> None:
    """Files of another chat, unknown ones, too many, or one twice are refused with a sentence; no turn begins."""
    file_id = await chat.upload()
    others = f"{'0' * 32}-{'1' * 32}"
    for ids, status, words in (
        ([others], 404, "upload it first"),
        (["../../etc/passwd"], 404, "upload it first"),
        ([file_id, file_id], 400, "twice"),
        ([file_id, others, "x"], 400, "the limit is 2"),
    ):
        body = {"content": "look", "attachments": [{"file_id": each} for each in ids]}
        answer = await chat.post("process_user_message", body)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert (await chat.status())["last_turn_id"] == 0


async def test_sent_again(chat: Uploads) -> None:
    """The same message is taken once; the same id with other files is a conflict."""
    file_id = await chat.upload()
    first = await chat.show("look", file_id, message_id="m")
    assert await chat.show("look", file_id, message_id="m") == first
    answer = await chat.post("process_user_message", {"content": "look", "message_id": "m"})
    assert answer.status_code == 409
    await chat.idle()


async def test_forget_erases_the_files(chat: Uploads) -> None:
    """After `forget` the folder of the chat is gone, those of others are not, and the file is 404."""
    file_id = await chat.upload()
    await chat.show("look", file_id)
    await chat.idle()
    assert chat.folder.exists()
    await chat.call("forget")
    assert not chat.folder.exists()
    answer = await chat._http.get(f"{chat.web}/chats/{chat.key}/files/{file_id}")
    assert answer.status_code == 404


async def test_a_file_that_is_gone_is_named(chat: Uploads) -> None:
    """Where somebody has removed the files, the chat goes on, and the LLM is told."""
    await chat.show("look", await chat.upload())
    await chat.idle()
    for path in chat.folder.iterdir():
        path.unlink()
    await chat.say("again")
    await chat.idle()
    assert images(chat.requests[-1]) == []
    assert "cat.png' (image/png, 2056 bytes): it is gone]" in chat.requests[-1].user_texts[0]


async def test_a_server_that_refuses_images(chat: Uploads) -> None:
    """The turn fails with a sentence that names the file; the next message is answered without it."""
    chat.script_by(lambda request: BLIND if images(request) else OK)
    await chat.show("look", await chat.upload())
    role, sentence, status = (await chat.idle())[-1]
    assert (role, status) == ("system", "failed")
    assert "does not support image input" in sentence
    assert "it was sent 'cat.png'" in sentence

    await chat.say("never mind")
    assert (await chat.idle())[-1] == ("assistant", "I see.", "completed")
    assert "it is not shown, as the LLM server refuses it]" in json.dumps(chat.requests[-1].messages)


async def test_a_waiting_message_shows_its_files(chat: Uploads) -> None:
    """A message that waits shows its files, keeps them when it is edited, and the turn is given them."""
    gate = Gate()
    plans = [Plan(text=["one"], gate=gate)]
    chat.script_by(lambda _: plans.pop() if plans else OK)
    await chat.say("first")
    await chat.asked(1)
    receipt = await chat.show("look", await chat.upload(), mode="QUEUE")
    (waiting,) = (await chat.status())["open_turns"][1]["waiting"]
    assert waiting["attachments"][0]["name"] == "cat.png"
    assert (await chat.entries())[-1]["attachments"][0]["name"] == "cat.png"
    await chat.call("edit_queued_message", message_id=receipt["message_id"], content="look here")
    gate.open()
    await chat.idle()
    assert images(chat.requests[-1]) == [SENT]
    assert chat.requests[-1].messages[-1]["content"][0]["text"] == "look here"


async def test_killed_between_upload_and_message(chat: Uploads) -> None:
    """After kill -9 an uploaded file is there, and half of one is not."""
    file_id = await chat.upload()

    async def half() -> AsyncIterator[bytes]:
        yield PNG * 200
        await eventually(lambda: len(list(chat.folder.iterdir())) == 3)  # it has begun to arrive
        await chat.service.restart()
        yield PNG

    with pytest.raises(httpx.TransportError):
        await chat._http.post(f"{chat.web}/chats/{chat.key}/files", content=half(), headers={"x-file-name": "b.png"})
    await chat.service.process.answers(f"{chat.web}/health")
    await chat.show("look", file_id)
    assert (await chat.idle())[-1] == ("assistant", "I see.", "completed")
    assert images(chat.requests[-1]) == [SENT]
    assert sorted(path.suffix for path in chat.folder.iterdir()) == ["", ".part", ".used"]
