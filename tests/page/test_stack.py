"""The page against the real stack: what a person sees when the agent is talked to while it works."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.page.conftest import OpenPage
from tests.support.llm_server import Call, Gate, LLMServer, Plan
from tests.support.web_stack import Held, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(restate_binary: str, llm: LLMServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for all tests of this file; each has a chat of its own."""
    async with running_stack(restate_binary, tmp_path_factory.mktemp("stack"), llm) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def own_stack(
    restate_binary: str, llm: LLMServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A stack that the test may kill."""
    async with running_stack(restate_binary, tmp_path_factory.mktemp("own"), llm) as stack:
        yield stack


@pytest.fixture
def key() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


async def at_chat(open_page: OpenPage, stack: Stack, key: str) -> Page:
    page = await open_page(f"{stack.url}/#/{key}")
    await expect(page.locator("#mode-name")).not_to_have_text("…")
    return page


async def say(page: Page, text: str, mode: str | None = None) -> None:
    """Send a message, in a mode of its own if one is given."""
    await page.fill("#message", text)
    if mode is None:
        await page.press("#message", "Enter")
        return
    await page.click("#mode")
    await page.get_by_role("menuitem", name=f"Send this message only as: {mode}").click()


def turn(page: Page, number: int) -> Locator:
    return page.locator(f'[data-turn="{number}"]')


async def working(page: Page) -> None:
    await expect(page.locator("#stop")).to_contain_text("Stop")


async def test_send_and_stream(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A message goes out, the answer is seen while it is written, and the message is read before that."""
    held = Held(["Hello ", "**dear"], [" friend**."])
    stack.script(held.plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "hi")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Hello dear")
    await expect(turn(page, 1).locator(".mark")).to_have_text("Read")
    await working(page)
    held.let_go()
    await expect(turn(page, 1).locator(".markdown strong")).to_have_text("dear friend")
    await expect(page.locator("#stop")).to_be_hidden()
    await expect(page.locator("#outbox .said")).to_have_count(0)
    await expect(page.locator(".chat-link[aria-current]")).to_have_text("hi")


async def test_tools(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A tool call is seen while it runs, and its result when it is there."""
    stack.script(Plan(text=["I do it."], calls=[Call(arguments='{"task": "tidy up"}')]), Plan(text=["Done."]))
    page = await at_chat(open_page, stack, key)
    await say(page, "tidy up")
    step = turn(page, 1).locator(".step")
    await expect(step).to_have_attribute("data-state", "running")
    await expect(step.locator(".step-brief")).to_have_text("tidy up")
    await expect(step).to_have_attribute("data-state", "ok")
    await expect(turn(page, 1).locator(".markdown")).to_have_text(["I do it.", "Done."])


@pytest.mark.parametrize("mode", ["Interrupt", "Roll back"])
async def test_modes_that_end_the_turn(stack: Stack, open_page: OpenPage, key: str, mode: str) -> None:
    """The open turn ends, marked, with the text that was there; the message is answered in one of its own."""
    stack.script(Held(["Once upon"], []).plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    await say(page, "second", mode)
    ending = {"Interrupt": "Interrupted", "Roll back": "Rolled back: the agent does not see this turn any more"}
    await expect(turn(page, 1).locator(".ending")).to_have_text(ending[mode])
    await expect(turn(page, 1).locator(".cut")).to_be_visible()
    await expect(turn(page, 2).locator(".bubble")).to_have_text("second")
    await expect(turn(page, 2).locator(".markdown")).to_contain_text("answer to:")


@pytest.mark.parametrize("mode", ["Steer", "Incorporate"])
async def test_modes_that_join_the_turn(stack: Stack, open_page: OpenPage, key: str, mode: str) -> None:
    """The same turn goes on with the message, behind what it had said."""
    held = Held(["Once upon"], [" a time."])
    stack.script(held.plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    await say(page, "second", mode)
    if mode == "Incorporate":
        await expect(page.locator(".chip-text")).to_have_text("second")
        held.let_go()
    await expect(turn(page, 1).locator(".bubble")).to_have_text(["first", "second"])
    said = "Once upon" if mode == "Steer" else "Once upon a time."
    await expect(turn(page, 1).locator(".markdown")).to_have_text([said, "answer to: first; second"])
    await expect(page.locator("#waiting")).to_be_hidden()
    order = await turn(page, 1).locator("article").evaluate_all("(all) => all.map((each) => each.className)")
    assert order == ["said", "answer", "said", "answer"]


async def test_queue(stack: Stack, open_page: OpenPage, key: str) -> None:
    """What is queued waits as a chip, is changed there, put in front, taken back; what is left is answered in order."""
    gate = Gate()
    stack.script(Plan(text=["answer 1"], gate=gate))
    page = await at_chat(open_page, stack, key)
    await page.click("#mode")
    await page.get_by_role("menuitemradio", name="Queue").click()
    await expect(page.locator("#mode-name")).to_have_text("Queue")
    await say(page, "first")
    await working(page)
    for text in ("second", "third", "never mind"):
        await say(page, text)
        await expect(page.locator(".chip-text", has_text=text)).to_be_visible()
    await page.locator(".chip-text", has_text="second").click()
    await page.locator(".chip-editor").fill("second, changed")
    await page.keyboard.press("Enter")
    await expect(page.locator(".chip-text").first).to_have_text("second, changed")
    await page.locator(".chip", has_text="never mind").get_by_role("button", name="Withdraw").click()
    await expect(page.locator(".chip")).to_have_count(2)
    gate.open()
    await expect(turn(page, 2).locator(".markdown")).to_contain_text("second, changed")
    await expect(turn(page, 3).locator(".bubble")).to_have_text("third")
    await expect(page.locator("#waiting")).to_be_hidden()


async def test_send_now(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A message that waits is given to the agent at once, ahead of the others."""
    stack.script(Held(["Once upon"], []).plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    await working(page)
    await say(page, "later", "Queue")
    await say(page, "now", "Queue")
    await page.locator(".chip", has_text="now").get_by_role("button", name="Send now").click()
    await expect(turn(page, 1).locator(".bubble")).to_have_text(["first", "now"])
    await expect(turn(page, 2).locator(".bubble")).to_have_text("later")


async def test_refuse(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A refused message stays, with the reason; once the agent is done it is sent again."""
    held = Held(["Once"], [" only."])
    stack.script(held.plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once")
    await say(page, "second", "Reject")
    await expect(page.locator(".trouble")).to_contain_text("Turn 1 is open")
    held.let_go()
    await expect(page.locator("#stop")).to_be_hidden()
    await page.get_by_role("button", name="Send again").click()
    await expect(turn(page, 2).locator(".bubble")).to_have_text("second")


async def test_stop_hold_resume(stack: Stack, open_page: OpenPage, key: str) -> None:
    """Esc ends the turn and holds what waits, over a reload too; one is resumed, Esc again sends the rest in order."""
    stack.script(Held(["Once upon"], []).plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    for text in ("one", "two", "three"):
        await say(page, text, "Queue")
        await expect(page.locator(".chip-text", has_text=text)).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".tray-held .chip-text")).to_have_text(["one", "two", "three"])
    await expect(turn(page, 1).locator(".ending")).to_have_text("Interrupted")
    await page.reload()
    held = page.locator(".tray-held .chip")
    await expect(held).to_have_count(3)
    await held.filter(has_text="two").get_by_role("button", name="Resume").click()
    await expect(page.locator(".tray-held .chip-text")).to_have_text(["one", "three"])
    await expect(page.locator(".answer", has_text="two").last).to_be_visible()
    await expect(page.locator("#stop")).to_be_hidden()  # while the turn is open, Esc would stop it
    await expect(page.locator(".tray-held .tray-head button")).to_contain_text("Send all")
    await page.keyboard.press("Escape")
    await expect(page.locator("#waiting")).to_be_hidden()
    await expect(page.locator(".turn .bubble")).to_have_text(["first", "two", "one", "three"])


async def test_esc_twice_sends_what_waits(stack: Stack, open_page: OpenPage, key: str) -> None:
    """Esc, Esc: the turn ends, and what waited is answered at once."""
    stack.script(Held(["Once upon"], []).plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "first")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    await say(page, "second", "Queue")
    await expect(page.locator(".chip")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(turn(page, 1).locator(".ending")).to_have_text("Interrupted")
    await expect(page.locator(".answer", has_text="answer to:")).to_contain_text("second")
    await expect(page.locator("#waiting")).to_be_hidden()


async def test_reload_in_mid_answer(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A page that is opened in the middle has all so far, then the rest."""
    held = Held(["one ", "two "], ["three"])
    stack.script(held.plan)
    page = await at_chat(open_page, stack, key)
    await say(page, "count")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("one two")
    await page.reload()
    await expect(turn(page, 1).locator(".markdown")).to_have_text("one two")
    await working(page)
    held.let_go()
    await expect(turn(page, 1).locator(".markdown")).to_have_text("one two three")
    await expect(page.locator("#stop")).to_be_hidden()


async def test_two_tabs_in_step(stack: Stack, open_page: OpenPage, key: str) -> None:
    """What is done in one tab is seen in the other: messages, text, mode, queue, stop."""
    stack.script(Held(["Once upon"], []).plan)
    left, right = [await at_chat(open_page, stack, key) for _ in range(2)]
    await say(left, "first")
    for page in (left, right):
        await expect(turn(page, 1).locator(".bubble")).to_have_text("first")
        await expect(turn(page, 1).locator(".markdown")).to_have_text("Once upon")
    await say(right, "second", "Queue")
    await expect(left.locator(".chip-text")).to_have_text("second")
    await left.click("#mode")
    await left.get_by_role("menuitemradio", name="Steer").click()
    await expect(right.locator("#mode-name")).to_have_text("Steer")
    await right.click("#stop")
    for page in (left, right):
        await expect(turn(page, 1).locator(".ending")).to_have_text("Interrupted")
        await expect(page.locator(".tray-held .chip-text")).to_have_text("second")


async def test_a_failed_turn_says_what_to_do(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A turn that failed has its sentence; trying again sends the message anew."""
    stack.script(Plan(status=401, error={"error": {"message": "bad key"}}))
    page = await at_chat(open_page, stack, key)
    await say(page, "hello")
    await expect(turn(page, 1).locator(".failure-text")).to_contain_text("401")
    await page.get_by_role("button", name="Try again").click()
    await expect(turn(page, 2).locator(".markdown")).to_contain_text("answer to:")


async def test_forget(stack: Stack, open_page: OpenPage, key: str) -> None:
    """A chat is forgotten only after a question; then every tab is empty."""
    stack.script()
    left, right = [await at_chat(open_page, stack, key) for _ in range(2)]
    await say(left, "remember this")
    await expect(turn(right, 1).locator(".markdown")).to_contain_text("answer to:")
    await left.click("#forget")
    await left.keyboard.press("Escape")
    await expect(turn(left, 1)).to_be_visible()
    await left.click("#forget")
    await left.get_by_role("button", name="Forget", exact=True).click()
    for page in (left, right):
        await expect(page.locator("#empty")).to_be_visible()
        await expect(page.locator(".turn")).to_have_count(0)


async def test_what_the_model_says_never_runs(stack: Stack, open_page: OpenPage, key: str) -> None:
    """Markup of the model, of a tool's arguments and of a person is text, in a page whose policy is the gateway's."""
    evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>[x](javascript:alert(3))'
    call = Call(arguments='{"task": "<svg onload=alert(4)>"}')
    stack.script(Plan(text=[evil], calls=[call]), Plan(text=[evil]))
    page = await at_chat(open_page, stack, key)
    await say(page, evil)
    await expect(turn(page, 1).locator(".markdown").last).to_contain_text("alert(2)</script>x")
    await expect(turn(page, 1).locator(".bubble")).to_have_text(evil)
    await turn(page, 1).locator(".steps summary").click()
    await expect(turn(page, 1).locator(".step-body")).to_contain_text("<svg onload=alert(4)>")
    assert await page.locator("img, #app script, [onerror], a[href^=javascript]").count() == 0


@pytest.mark.parametrize("victim", ["service", "server"])
async def test_a_crash_in_mid_answer(own_stack: Stack, open_page: OpenPage, key: str, victim: str) -> None:
    """The service or the Restate server is killed while an answer is written: the page says so, comes back by itself,
    and has every text once. A message that was sent meanwhile arrives."""
    first, again = Held(["one "], ["two"]), Held(["one "], ["two"])
    own_stack.script(first.plan, again.plan)
    page = await at_chat(open_page, own_stack, key)
    await say(page, "count")
    await expect(turn(page, 1).locator(".markdown")).to_have_text("one")
    (own_stack.service if victim == "service" else own_stack.server).kill9()
    await expect(page.locator("#status")).to_have_attribute("data-kind", "bad", timeout=20_000)
    await say(page, "and then", "Queue")
    await (own_stack.service.start() if victim == "service" else own_stack.server.start())
    first.let_go()
    again.let_go()
    await expect(page.locator(".markdown").first).to_have_text("one two", timeout=60_000)
    await expect(page.locator(".bubble")).to_have_text(["count", "and then"], timeout=30_000)
    await expect(page.locator(".answer", has_text="answer to:")).to_contain_text("and then", timeout=30_000)
    await expect(page.locator("#status")).to_be_hidden(timeout=20_000)
    await page.reload()
    await expect(page.locator(".markdown").first).to_have_text("one two")
