"""Our own MCP server, driven by the official clients of npm: that of the protocol of 2026, and that of those before."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from app.hosting.stack import ROOT
from tests.integration.mcp.test_published import installed
from tests.protocols.conftest import Site
from tests.protocols.test_access import ALICE, BOB, StartGateway, start_gateway
from tests.support.chat import Chat
from tests.support.llm_server import Call, Plan

__all__ = ["start_gateway"]

SDK, CLIENT = "@modelcontextprotocol/sdk", "@modelcontextprotocol/client"
PACKAGES = pytest.mark.parametrize("package", [SDK, CLIENT])


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that drives the clients, beside their packages."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm here")
    folder = Path(os.environ.get("MCP_NPM_CLIENTS") or tmp_path_factory.mktemp("npm"))
    if not (folder / "node_modules").exists():
        installed(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", SDK, CLIENT], folder)
    return Path(shutil.copy(ROOT / "tests" / "clients" / "mcp.mjs", folder))


async def drive(driver: Path, package: str, url: str, tool: str, *, token: str = "", **arguments: object) -> Any:
    """Return what came of one tool call. Errors: AssertionError with what node says."""
    pipe = asyncio.subprocess.PIPE
    program = ("node", str(driver), package, f"{url}/mcp", token, tool, json.dumps(arguments))
    node = await asyncio.create_subprocess_exec(*program, stdout=pipe, stderr=pipe)
    try:
        said, complained = await asyncio.wait_for(node.communicate(), 90)
    finally:
        if node.returncode is None:
            node.kill()
    assert node.returncode == 0, complained.decode()
    return json.loads(said)


@PACKAGES
async def test_a_message_is_sent_and_answered(driver: Path, site: Site, chat: Chat, package: str) -> None:
    """The client sends a message, hears how far the agent is, and gets the reply; half an emoji does not stop it."""
    work = Plan(text=(), calls=[Call("execute_task", '{"task": "x"}', "c")], finish_reason="tool_calls")
    chat.script(work, Plan(text=["Done."]))
    came = await drive(driver, package, site.url, "send_message", chat=chat.key, content="half \ud83d", wait_s=30)
    assert [line["content"] for line in came["result"]["structuredContent"]["reply"]][-1] == "Done."
    assert "the agent calls execute_task" in came["told"]
    assert came["tools"][0] == "send_message"
    assert (await chat.entries())[0]["content"] == "half \ufffd"
    assert (came["version"] == "2026-07-28") is (package == CLIENT)


@PACKAGES
async def test_sign_in_holds(driver: Path, start_gateway: StartGateway, package: str) -> None:
    """With a token the client reaches the chats of its user and no other; without one, nothing."""
    url, _ = await start_gateway(WEB_TOKENS=f"alice:{ALICE},bob:{BOB}")
    mine = await drive(driver, package, url, "get_status", token=ALICE, chat="alice")
    assert mine["result"]["structuredContent"]["busy"] is False
    others = await drive(driver, package, url, "get_status", token=BOB, chat="alice")
    assert (others["result"]["isError"], others["result"]["content"][0]["text"]) == (True, "This is not allowed.")
    with pytest.raises(AssertionError, match=r"401|nauthorized"):
        await drive(driver, package, url, "get_status", chat="alice")
