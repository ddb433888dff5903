"""`python -m tests.page.screenshots`: takes the pictures of the page that the documentation shows, into img/."""

import asyncio
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from app.hosting.stack import ROOT
from tests.page.conftest import CHROMIUM
from tests.page.stub_gateway import StubChat, StubGateway, assistant, tool, turn, user

FOUND = """The disk of `db-2` **filled up at 03:12**; all else follows from that:

1. The nightly backup kept its old copies, since its cleanup job had been renamed.
2. The API answered `503` until 03:40, when 12 GB were freed."""
FIXING = """The timer still calls the job by its old name. I change one line:

```ini
ExecStart=/usr/bin/cleanup-backups --keep 7
```

Then I will check that it"""
PICTURES = {
    "page-light": {"viewport": {"width": 1280, "height": 900}},
    "page-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}


def set_up(stub: StubGateway) -> StubChat:
    """Put a chat in the middle of its work into the stub."""
    chat = stub.chat()
    calls = [
        {"call_id": host, "name": "read_file", "arguments": f'{{"host": "{host}", "path": "/etc/cleanup.timer"}}'}
        for host in ("db-1", "db-2")
    ]
    chat.put(turn(1, user("Why was the API down last night?", message_id="m-1"), assistant(FOUND)))
    cut = assistant("# Incident report\n\nOn the night of the 20th, the", partial=True)
    chat.put(turn(2, user("Write the incident report", message_id="m-2"), cut, status="interrupted"))
    asked = assistant("I look at it on both hosts.", 1, tool_calls=calls)
    results = [tool("OnCalendar=daily", "db-1", 2), tool("no such file", "db-2", 3, "failed")]
    chat.put(turn(3, user("Fix the timer first", message_id="m-3"), asked, *results, status="running"))
    chat.waiting = [{"message_id": "w-1", "content": "Then post the report to the team", "mode": "QUEUE"}]
    for key, title in {"blog": "Move the blog to static pages", "invoice": "Translate the invoice"}.items():
        stub.chat(key).put(turn(1, user(title), assistant("ok")))
    return chat


async def take(browser: Browser, stub: StubGateway, chat: StubChat, name: str) -> Path:
    """Take one picture."""
    context = await browser.new_context(**PICTURES[name])  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(stub.url)
    await page.wait_for_selector('[data-turn="3"]')
    text = chat.start_text(3, 4)
    chat.text(text, FIXING)
    await page.fill("#message", "Use db-1 as the model")
    await page.wait_for_selector("text=Then I will check")
    await at_rest(page)
    path = ROOT / "img" / f"{name}.png"
    await page.screenshot(path=path, animations="disabled")
    await context.close()
    return path


async def at_rest(page: Page) -> None:
    """Wait for two frames: what has come is drawn then."""
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def main() -> None:
    async with StubGateway().serving() as stub, async_playwright() as playwright:
        chat = set_up(stub)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in PICTURES:
            path = await take(browser, stub, chat, name)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
