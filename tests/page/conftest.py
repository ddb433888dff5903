"""A browser for the page, a stub of the gateway, and a page that is open at it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.page.stub_gateway import StubGateway
from tests.support.missing import missing

CHROMIUM = Path("/usr/bin/chromium")  # Debian's; Playwright's own browsers are not downloaded
HARMLESS = (
    "Failed to load resource",  # what a test has refused, or a server that it has killed
)

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without one the test is skipped on a laptop and fails in CI."""
    if not CHROMIUM.exists():
        missing(f"{CHROMIUM} is not there: apt-get install chromium")
    return str(CHROMIUM)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One browser for all tests; each test has contexts of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def watched_context(browser: Browser, **settings: Any) -> AsyncIterator[OpenPage]:
    """A browser profile: `await open_page(url)` opens a tab, and all tabs share what the page stores.

    At the end, none may have met an error or a breach of the content policy.
    """
    troubles: list[str] = []
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | settings)
    context.set_default_timeout(10_000)

    async def open_page(url: str) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: troubles.append(f"a script ran: {dialog.message}"))
        await page.goto(url)
        return page

    try:
        yield open_page
    finally:
        await context.close()
    assert [each for each in troubles if not each.startswith(HARMLESS)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens tabs of one browser profile of the test."""
    async with watched_context(browser) as open_page:
        yield open_page


@pytest_asyncio.fixture(loop_scope="session")
async def stub() -> AsyncIterator[StubGateway]:
    """A stub gateway of the test."""
    async with StubGateway().serving() as stub:
        yield stub
