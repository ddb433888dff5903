"""The worked example on the page, against the real stack and the offline model: docs/trip.md, as a person sees it."""

import re
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.page.conftest import OpenPage
from tests.support.llm_server import LLMServer
from tests.support.web_stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

# No LLM server: the offline model.
TRIP = {
    "EXAMPLE": "trip",
    "OPENAI_API_KEY": "",
    "OPENAI_BASE_URL": "",
    "OFFLINE_PACE_S": "0.05",
    "OFFLINE_ITERATIONS": "0",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(restate_binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for all tests of this file; each has a chat of its own."""
    with LLMServer() as unused:
        async with running_stack(restate_binary, tmp_path_factory.mktemp("trip"), unused, **TRIP) as stack:
            yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def page(stack: Stack, open_page: OpenPage) -> Page:
    """A tab at a fresh chat."""
    return await at_chat(await open_page(f"{stack.url}/#/trip-{uuid.uuid4().hex[:12]}"))


async def at_chat(page: Page) -> Page:
    await expect(page.locator("#mode-name")).not_to_have_text("…")
    return page


async def until_asked(page: Page, text: str) -> None:
    """Send a message, and wait for the card that asks for an approval."""
    await page.fill("#message", text)
    await page.press("#message", "Enter")
    await expect(page.locator(".approval strong")).to_have_text("pay")


async def reminded(page: Page) -> None:
    """Wait for the reminder, and for the answer to it."""
    await expect(page.locator(".said.by-agent .bubble")).to_contain_text("Reminder: check in for your flight")
    await expect(page.locator(".answer").last).to_have_text(re.compile("^I pass it on: Reminder: check in"))


async def roll_back(page: Page) -> None:
    """Send the next message as ROLLBACK, and wait until the chat tells what was undone."""
    await page.fill("#message", "Stop, I stay at home")
    await page.click("#mode")
    await page.get_by_role("menuitem", name="Send this message only as: Roll back").click()
    await expect(page.locator(".turn").first).to_contain_text("Undone: reserve_hotel; reserve_flight")


async def test_a_trip_is_booked_paid_and_remembered(page: Page, stack: Stack) -> None:
    """The page asks before it pays; the answer comes when that is approved, and the reminder after the turn."""
    await until_asked(page, "/trip lisbon 1")
    await expect(page.locator(".approval-arguments")).to_have_value(
        '{\n  "amount": 320,\n  "to": "the travel agency"\n}'
    )
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".answer").filter(has_text="Your trip to Lisbon is booked")).to_be_visible()
    await reminded(page)
    await expect(page.locator(".said-by")).to_contain_text("ChatReminder-")
    assert not stack.llm.requests


async def test_a_trip_is_undone_by_a_button(page: Page) -> None:
    """While the card asks, "Stop and undo" names the reservations, the last first, and takes them back."""
    await until_asked(page, "/trip rome 1")
    await page.click("#undo")
    done = page.get_by_role("region", name="Will be undone").get_by_role("listitem")
    await expect(done).to_have_text([re.compile("^reserve_hotel .*Rome"), re.compile("^reserve_flight ")])
    await page.get_by_role("dialog").get_by_role("button", name="Stop and undo").click()
    await expect(page.locator(".turn").first).to_contain_text("Undone: reserve_hotel; reserve_flight")
    await expect(page.locator(".approval")).to_have_count(0)
    await expect(page.locator("#undo")).to_be_hidden()


async def test_a_trip_that_is_not_paid(page: Page) -> None:
    """A rejected payment ends the trip there, with the reason; nothing is remembered."""
    await until_asked(page, "/trip oslo")
    await page.fill(".approval-reason", "too dear")
    await page.get_by_role("button", name="Reject").click()
    await expect(page.locator(".answer").last).to_contain_text("I stop here, pay said")
    await expect(page.locator(".answer").last).to_contain_text("too dear")


async def test_a_trip_is_rolled_back(page: Page) -> None:
    """ROLLBACK while the card asks undoes both reservations, and the card is gone."""
    await until_asked(page, "/trip rome")
    await roll_back(page)
    await expect(page.locator(".approval")).to_have_count(0)
