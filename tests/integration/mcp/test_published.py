"""Servers that others have published, on npm and PyPI: both protocol eras, as users run them.

They are installed once, into a folder of the test run. Where a registry cannot be reached, the tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from app.mcp.servers import McpServers
from tests.support.mcp_servers import call, connected, settings_file
from tests.support.missing import missing

NPM = ("@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-filesystem")
PYPI = ("mcp-server-time", "mcp-server-fetch")
INSTALL_S = 240


def installed(command: list[str], folder: Path) -> None:
    """Run an installer; if it fails, the test is as `missing` says, with the last thing that it said."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        missing(f"{command[0]} was not done within {INSTALL_S} s")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        missing(f"{' '.join(command[-2:])} cannot be installed here: {said}")


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packages from npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm here")
    if kept := os.environ.get("MCP_NPM_SERVERS"):
        return Path(kept) / "node_modules"
    folder = tmp_path_factory.mktemp("npm")
    installed(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *NPM], folder)
    return folder / "node_modules"


@pytest.fixture(scope="module")
def pypi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs from PyPI, in an environment of their own."""
    if kept := os.environ.get("MCP_PYPI_SERVERS"):
        return Path(kept) / "bin"
    folder = tmp_path_factory.mktemp("pypi")
    installed([sys.executable, "-m", "venv", str(folder)], folder)
    installed([str(folder / "bin" / "pip"), "install", "--quiet", *PYPI], folder)
    return folder / "bin"


def node(npm: Path, package: str, *arguments: str, **fields: object) -> dict[str, Any]:
    program = npm / package / "dist" / "index.js"
    return {"command": "node", "args": [str(program), *arguments], **fields}


@pytest_asyncio.fixture
async def everything(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[McpServers]:
    monkeypatch.setenv("SESAME", "open-sesame")
    entry = node(npm, NPM[0], "stdio", env={"TOKEN": "${SESAME}"})
    async with connected(settings_file(tmp_path, all=entry), timeout_s=15) as servers:
        assert len(await servers.offered()) > 10
        yield servers


async def test_everything(everything: McpServers) -> None:
    """The protocol's own test server: text, data, images, resources, progress, an environment without its secret."""
    assert (await call(everything, "all__echo", message="hi")).content == "Echo: hi"
    assert (await call(everything, "all__get-sum", a=1, b=2)).content == "The sum of 1 and 2 is 3."
    assert "[image, image/png, 4035 bytes" in (await call(everything, "all__get-tiny-image")).content
    weather = await call(everything, "all__get-structured-content", location="Chicago")
    assert json.loads(weather.content)["conditions"]
    assert "[resource " in (await call(everything, "all__get-resource-links", count=2)).content
    environment = json.loads((await call(everything, "all__get-env")).content)
    assert environment["TOKEN"] == "•••"  # noqa: S105 - it is hidden
    assert "MCP_SERVERS" not in environment

    heard: list[str] = []
    long = "all__trigger-long-running-operation"
    answer = await everything.call(long, {"duration": 1, "steps": 2}, again=False, progress=heard.append)
    assert not answer.failed
    assert heard == ["1 of 2", "2 of 2"]


async def test_wrong_arguments_are_told(everything: McpServers) -> None:
    """What the server says of wrong arguments is a failed result, for the LLM to do better."""
    answer = await call(everything, "all__get-sum", a="one")
    assert answer.failed
    assert "get-sum" in answer.content


async def test_filesystem(npm: Path, tmp_path: Path) -> None:
    """The file server reads what it may, and only the tools of the allow-list can be called."""
    (tmp_path / "note.txt").write_text("hello")
    entry = node(npm, NPM[1], str(tmp_path), tools=["read_text_*", "list_directory"])
    async with connected(settings_file(tmp_path, files=entry), timeout_s=15) as servers:
        assert [spec.name for spec in await servers.offered()] == ["files__list_directory", "files__read_text_file"]
        assert (await call(servers, "files__read_text_file", path=str(tmp_path / "note.txt"))).content == "hello"
        assert (await call(servers, "files__read_text_file", path="/etc/passwd")).failed
        written = await call(servers, "files__write_file", path=str(tmp_path / "new.txt"), content="x")
        assert "There is no tool 'files__write_file'" in written.content
    assert not (tmp_path / "new.txt").exists()


async def test_time(pypi: Path, tmp_path: Path) -> None:
    """The time server from PyPI tells the time, and what is wrong with a time zone."""
    entry = {"command": str(pypi / PYPI[0])}
    async with connected(settings_file(tmp_path, time=entry), timeout_s=15) as servers:
        said = await call(servers, "time__get_current_time", timezone="Europe/Berlin")
        assert json.loads(said.content)["timezone"] == "Europe/Berlin"
        wrong = await call(servers, "time__get_current_time", timezone="Nowhere")
        assert wrong.failed
        assert "Nowhere" in wrong.content


async def test_fetch(pypi: Path, tmp_path: Path) -> None:
    """The fetch server from PyPI, which refuses a private address by itself, is quoted with its reason."""
    entry = {"command": str(pypi / PYPI[1])}
    async with connected(settings_file(tmp_path, fetch=entry), timeout_s=15) as servers:
        refused = await call(servers, "fetch__fetch", url="http://127.0.0.1:1/")
        assert refused.failed
        assert "127.0.0.1" in refused.content
