"""The line behind the turns that are summed up, against a stub of the gateway."""

import pytest
from playwright.async_api import expect

from tests.page.conftest import OpenPage
from tests.page.stub_gateway import StubGateway, assistant, turn, user
from tests.page.test_page import joined

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_line_shows_where_it_stands(stub: StubGateway, open_page: OpenPage) -> None:
    """The line stands behind the last turn that is summed up, moves with it, and shows the text when it is opened."""
    chat = stub.chat()
    chat.turns = [turn(n, user(f"message {n}"), assistant(f"answer {n}")) for n in (1, 2, 3)]
    page = await joined(await open_page(stub.url), chat)
    await expect(page.locator("section.turn")).to_have_count(3)
    line = page.locator("#turns > details.summary")
    await expect(line).to_have_count(0)

    chat.summary = (1, "They met.")
    chat.tell_status()
    await expect(page.locator('section[data-turn="1"] + details.summary + section[data-turn="2"]')).to_have_count(1)
    chat.summary = (2, "They met, <b>twice</b>.\nThat was all.")
    chat.tell_status()
    await expect(page.locator('section[data-turn="2"] + details.summary + section[data-turn="3"]')).to_have_count(1)
    await expect(line).to_have_count(1)
    await line.locator("summary").click()
    await expect(line.locator(".summary-text")).to_have_text("They met, <b>twice</b>.\nThat was all.")
    await expect(page.locator(".failure")).to_have_count(0)  # it is no failure of its turn

    chat.summary = None
    chat.tell_status()
    await expect(line).to_have_count(0)


async def test_it_is_there_after_a_reload(stub: StubGateway, open_page: OpenPage) -> None:
    """A page that is opened later shows the line, and the turns in front of it as they are."""
    chat = stub.chat()
    chat.turns = [turn(n, user(f"message {n}"), assistant(f"answer {n}")) for n in (1, 2)]
    chat.summary = (1, "They met.")
    page = await joined(await open_page(stub.url), chat)
    await expect(page.locator("#turns > details.summary")).to_have_count(1)
    await expect(page.locator('section[data-turn="1"]')).to_contain_text("answer 1")
    await expect(page.locator('section[data-turn="1"]')).not_to_contain_text("They met.")
