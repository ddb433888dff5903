"""`python -m tests.page.trip_pictures`: takes the pictures of the worked example for the documentation, into img/."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from app.hosting.local_server import find_restate_server
from app.hosting.stack import ROOT
from tests.page.conftest import CHROMIUM
from tests.page.screenshots import at_rest
from tests.page.test_trip import TRIP, at_chat, reminded, roll_back, until_asked
from tests.support.llm_server import LLMServer
from tests.support.web_stack import Stack, running_stack


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, LLMServer() as unused:
        binary = str(find_restate_server(None))
        async with running_stack(binary, Path(folder), unused, **TRIP) as stack, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            await asked(await opened(browser, stack, "lisbon"))
            await remembered(await opened(browser, stack, "oslo"))
            await rolled_back(await opened(browser, stack, "rome"))
            await browser.close()


async def opened(browser: Browser, stack: Stack, key: str) -> Page:
    page = await browser.new_page(viewport={"width": 1100, "height": 900})
    await page.goto(f"{stack.url}/#/{key}")
    return await at_chat(page)


async def asked(page: Page) -> None:
    """The card that asks before 320 euros are paid."""
    await until_asked(page, "/trip Lisbon")
    await taken(page, "trip")


async def remembered(page: Page) -> None:
    """The reminder, after the turn."""
    await until_asked(page, "/trip Oslo 1")
    await page.get_by_role("button", name="Approve").click()
    await reminded(page)
    await taken(page, "trip-reminder")


async def rolled_back(page: Page) -> None:
    """What was undone."""
    await until_asked(page, "/trip Rome")
    await roll_back(page)
    await taken(page, "trip-rollback")


async def taken(page: Page, name: str) -> None:
    await at_rest(page)
    path = ROOT / "img" / f"{name}.png"
    await page.screenshot(path=path, animations="disabled")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    asyncio.run(main())
