"""`python -m tests.page.files_pictures`: takes the picture of images in a chat for the documentation, into img/."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from app.hosting.local_server import find_restate_server
from app.hosting.stack import ROOT
from tests.page.conftest import CHROMIUM
from tests.page.screenshots import at_rest
from tests.page.test_page_files import NOTES, photo
from tests.support.llm_server import LLMServer, Plan
from tests.support.web_stack import running_stack

ANSWER = "A mountain with the sun low behind it. Take the **tent**, as your notes say: it will be a clear, cold night."


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, LLMServer(lambda _: Plan(text=[ANSWER])) as llm:
        binary = str(find_restate_server(None))
        files = {"FILES_DIR": f"{folder}/files"}
        async with running_stack(binary, Path(folder), llm, **files) as stack, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = await browser.new_page(viewport={"width": 1100, "height": 780})
            await page.goto(f"{stack.url}/#/hike")
            await expect(page.locator("#mode-name")).not_to_have_text("…")
            await page.set_input_files("#files", [await photo(page), NOTES])
            await page.fill("#message", "Can we sleep there tonight?")
            await expect(page.locator("#send")).to_be_enabled()
            await page.locator("#send").click()
            await expect(page.locator(".turn .markdown")).to_contain_text("cold night")
            await page.set_input_files("#files", [await photo(page, "second-try.png")])
            await page.fill("#message", "And here?")
            await expect(page.locator("#attached").get_by_role("img")).to_be_visible()
            await at_rest(page)
            path = ROOT / "img" / "page-files.png"
            await page.screenshot(path=path, animations="disabled")
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
