"""Images and files on the page, against the real stack: attached, removed, sent, shown, refused, kept as a draft."""

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import FilePayload, Page, expect

from tests.page.conftest import OpenPage
from tests.support.eventually import eventually
from tests.support.llm_server import LLMRequest, LLMServer, Plan
from tests.support.web_stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

DRAW = """async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 400 });
  const pen = canvas.getContext('2d');
  const sky = pen.createLinearGradient(0, 0, 0, 400);
  sky.addColorStop(0, '#fbb36b'); sky.addColorStop(1, '#d9667b');
  pen.fillStyle = sky; pen.fillRect(0, 0, 640, 400);
  pen.fillStyle = '#fff4d6'; pen.beginPath(); pen.arc(430, 200, 60, 0, 7); pen.fill();
  pen.fillStyle = '#2f3b52'; pen.beginPath(); pen.moveTo(0, 400); pen.lineTo(220, 190); pen.lineTo(470, 400);
  pen.fill();
  const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  return [...new Uint8Array(await blob.arrayBuffer())];
}"""
NOTES = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"Bring the tent.\n")
PASTE = """([bytes, event]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  const node = document.querySelector('#message');
  node.dispatchEvent(event === 'paste' ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent(event, { ...options, dataTransfer: data }));
}"""


FOLDERS: dict[str, Path] = {}  # of files, by the address of the stack


@pytest.fixture(scope="module")
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(restate_binary: str, llm: LLMServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for all tests of this file, with files of 100 kB at most; each has a chat of its own."""
    folder = tmp_path_factory.mktemp("stack")
    limits = {"FILES_DIR": str(folder / "files"), "MAX_FILE_BYTES": "100000"}
    async with running_stack(restate_binary, folder, llm, **limits) as stack:
        FOLDERS[stack.url] = folder / "files"
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def page(stack: Stack, open_page: OpenPage) -> Page:
    """A tab at a fresh chat, whose LLM has seen a mountain."""
    stack.llm.requests.clear()
    stack.llm.script = lambda _: Plan(text=["A mountain at sunset. "])
    page = await open_page(f"{stack.url}/#/test-{uuid.uuid4().hex[:12]}")
    await expect(page.locator("#mode-name")).not_to_have_text("…")
    return page


async def photo(page: Page, name: str = "mountain.png") -> FilePayload:
    return FilePayload(name=name, mimeType="image/png", buffer=bytes(await page.evaluate(DRAW)))


async def sent_parts(stack: Stack) -> list[str]:
    """Return the kinds of the parts of the last message that the LLM was sent."""

    def asked() -> LLMRequest:
        assert stack.llm.requests
        return stack.llm.requests[-1]

    content: Any = (await eventually(asked)).messages[-1]["content"]
    return [part["type"] for part in content]


async def test_chosen_and_sent(page: Page, stack: Stack) -> None:
    """Files are uploaded when they are chosen, shown with a picture, and go with the message; all tabs show them."""
    await page.set_input_files("#files", [await photo(page), NOTES])
    attached = page.locator("#attached li")
    await expect(attached).to_have_count(2)
    await expect(attached.first.get_by_role("img", name="mountain.png")).to_be_visible()
    await expect(page.locator("#attached progress:visible")).to_have_count(0)
    await page.fill("#message", "What is this?")
    await page.press("#message", "Enter")

    await expect(page.locator("#attached")).to_be_hidden()
    said = page.locator(".turn .said")
    await expect(said.locator(".bubble")).to_have_text("What is this?")
    await expect(said.get_by_role("img", name="mountain.png")).to_be_visible()
    await expect(said.locator(".file").last).to_contain_text("notes.txt")
    assert await sent_parts(stack) == ["text", "text", "image_url", "text"]

    await page.reload()
    await expect(said.get_by_role("img", name="mountain.png")).to_be_visible()
    assert await said.get_by_role("img").evaluate("(node) => [node.width, node.height]") == [480, 300]
    async with page.expect_download() as saved:
        await said.locator(".file").last.click()
    assert (await saved.value).suggested_filename == "notes.txt"


@pytest.mark.parametrize("event", ["paste", "drop"])
async def test_pasted_or_dropped(page: Page, stack: Stack, event: str) -> None:
    """An image that is pasted or dropped is attached; alone it is a message, too."""
    await expect(page.locator("#send")).to_be_disabled()
    await page.evaluate(PASTE, [list((await photo(page))["buffer"]), event])
    await expect(page.locator("#attached").get_by_role("img", name="image.png")).to_be_visible()
    await page.locator("#send").click()
    await expect(page.locator(".turn .said").get_by_role("img", name="image.png")).to_be_visible()
    await expect(page.locator(".turn .bubble")).to_be_hidden()
    assert await sent_parts(stack) == ["text", "image_url"]


async def test_removed(page: Page) -> None:
    """What is removed before the message is sent is not in it."""
    await page.set_input_files("#files", [await photo(page), NOTES])
    await page.get_by_role("button", name="Remove mountain.png").click()
    await expect(page.locator("#attached li")).to_have_count(1)
    await page.fill("#message", "and this?")
    await page.locator("#send").click()
    await expect(page.locator(".turn .file")).to_have_count(1)
    await expect(page.locator(".turn .file")).to_contain_text("notes.txt")


async def test_what_is_refused_is_said(page: Page) -> None:
    """A file that the server does not take is there with the reason, and the message goes without it."""
    exe = FilePayload(name="setup.exe", mimeType="application/x-msdownload", buffer=b"MZ\0\0")
    big = FilePayload(name="big.txt", mimeType="text/plain", buffer=b"x" * 200_000)
    await page.set_input_files("#files", [exe, big])
    states = page.locator("#attached .attached-state")
    await expect(states.first).to_contain_text("of no kind that is taken")
    await expect(states.last).to_contain_text("MAX_FILE_BYTES")
    await expect(page.locator("#send")).to_be_disabled()
    await page.fill("#message", "never mind")
    await page.locator("#send").click()
    await expect(page.locator(".turn .bubble")).to_have_text("never mind")
    await expect(page.locator(".turn .file")).to_have_count(0)


async def test_a_message_that_was_refused_gives_its_files_back(page: Page, stack: Stack) -> None:
    """A message whose file is gone is not sent, and says why; `Edit` takes text and files back, to send it without."""
    await page.set_input_files("#files", [NOTES])
    await page.fill("#message", "look")
    await expect(page.locator("#send")).to_be_enabled()
    shutil.rmtree(FOLDERS[stack.url])
    await page.locator("#send").click()
    await expect(page.locator(".trouble")).to_contain_text("upload it first")
    await page.get_by_role("button", name="Edit").click()
    await expect(page.locator("#message")).to_have_value("look")
    await page.get_by_role("button", name="Remove notes.txt").click()
    await page.locator("#send").click()
    await expect(page.locator(".turn .bubble")).to_have_text("look")


async def test_a_draft_keeps_its_files(page: Page) -> None:
    """After a reload the files of a draft are there, and can be sent."""
    await page.set_input_files("#files", [NOTES])
    await page.fill("#message", "later")
    await expect(page.locator("#send")).to_be_enabled()
    await page.reload()
    await expect(page.locator("#attached li")).to_contain_text("notes.txt")
    await page.locator("#send").click()
    await expect(page.locator(".turn .file")).to_contain_text("notes.txt")
    await expect(page.locator("#attached")).to_be_hidden()
