"""Stop and undo: what the page shows before anything is undone, against a stub of the gateway."""

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.page.conftest import OpenPage
from tests.page.stub_gateway import StubGateway, assistant, tool, turn, user
from tests.page.test_page import joined
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNDO = {"queue": "hold", "turn_id": 1, "rollback": True}


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"call_id": call_id, "name": name, "arguments": arguments}


@pytest_asyncio.fixture(loop_scope="session")
async def page(stub: StubGateway, open_page: OpenPage) -> Page:
    """A tab in which a turn works that has reserved a flight and sent a mail."""
    page = await joined(await open_page(stub.url), stub.chat())
    await expect(page.locator("#undo")).to_be_hidden()
    calls = [call("c-1", "reserve_flight", '{"to": "<b>Rome</b>"}'), call("c-2", "send_mail", "{}")]
    results = [tool("reserved", "c-1", 2), tool("sent", "c-2", 3)]
    stub.chat().put(
        turn(1, user("go", message_id="m-1"), assistant("", 1, tool_calls=calls), *results, status="running")
    )
    stub.chat().preview = {
        "turn_id": 1,
        "undone": [{"call_id": "c-1", "name": "reserve_flight"}],
        "irreversible": [{"call_id": "c-2", "name": "send_mail"}],
    }
    await expect(page.locator("#undo")).to_be_visible()
    return page


async def test_what_would_be_undone_is_shown_first(page: Page, stub: StubGateway) -> None:
    """The dialog names what will be undone and what cannot, as text; the turn is stopped only by its button."""
    await page.click("#undo")
    dialog = page.get_by_role("dialog", name="Stop and undo?")
    await expect(dialog.get_by_role("region", name="Will be undone")).to_contain_text(
        'reserve_flight {"to": "<b>Rome</b>"}'
    )
    await expect(dialog.get_by_role("region", name="Cannot be undone")).to_contain_text("send_mail")
    assert stub.posted("stop") == []
    await dialog.get_by_role("button", name="Stop and undo").click()
    await eventually(lambda: stub.posted("stop") == [UNDO])
    await expect(page.locator("#status")).to_have_text("Stopping…")


async def test_by_keyboard(page: Page, stub: StubGateway) -> None:
    """The button opens the dialog; Esc and Enter on the first button go on and stop nothing; focus comes back."""
    for leave in ("Escape", "Enter"):
        await page.focus("#undo")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Go on")).to_be_focused()
        await page.keyboard.press(leave)
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator("#undo")).to_be_focused()
    assert stub.posted("stop") == []
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Go on")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await eventually(lambda: stub.posted("stop") == [UNDO])


async def test_a_turn_that_is_over_is_not_undone(page: Page, stub: StubGateway) -> None:
    """A turn that ends while the person reads is named as over; another one is never stopped for it."""
    await page.click("#undo")
    stub.taken = True
    await page.get_by_role("button", name="Stop and undo", exact=True).last.click()
    await expect(page.locator("#notices")).to_contain_text("Nothing was undone")
    stub.chat().preview = {"turn_id": None, "undone": [], "irreversible": []}
    await page.click("#undo")
    await expect(page.locator("#notices")).to_contain_text("Nothing runs that could be undone")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_before_any_call_has_ended(page: Page, stub: StubGateway) -> None:
    """A turn without results says that there are none, and can be stopped so all the same."""
    stub.chat().preview = {"turn_id": 1, "undone": [], "irreversible": []}
    await page.click("#undo")
    await expect(page.get_by_role("dialog")).to_contain_text("No call of this turn has a result yet.")
    await expect(page.get_by_role("heading", name="Cannot be undone")).to_have_count(0)


async def test_on_a_phone(page: Page) -> None:
    """The button and its dialog fit on a phone, beside a message that is typed."""
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.fill("#message", "something")
    await page.click("#undo")
    out = await page.evaluate(
        """() => [...document.querySelectorAll(".composer *, dialog[open], dialog[open] *")]
          .filter((each) => [each.getBoundingClientRect()].some((box) => box.right > innerWidth + 1 || box.left < -1))
          .map((each) => each.className || each.tagName)"""
    )
    assert out == []
