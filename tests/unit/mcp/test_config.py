"""The settings file: the shape that other programs use, secrets from the environment, sentences that name the cure."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import UsageError
from app.mcp.config import HIDDEN, read_servers


def write(folder: Path, servers: dict[str, Any]) -> Path:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def test_the_shape_that_people_know(tmp_path: Path) -> None:
    """A command with its arguments, or a URL with its headers, is a server; a disabled one is none."""
    local, remote = read_servers(
        write(
            tmp_path,
            {
                "files": {
                    "type": "stdio",
                    "command": "npx",
                    "args": ["-y", "x"],
                    "env": {"A": "b"},
                    "tools": ["read_*"],
                },
                "off": {"command": "x", "disabled": True},
                "remote": {"type": "http", "url": "https://example.com/mcp", "headers": {"X": "y"}, "approval": ["*"]},
            },
        )
    )
    assert (local.name, local.command, local.args, dict(local.env)) == ("files", "npx", ("-y", "x"), {"A": "b"})
    assert (local.offers("read_file"), local.offers("write_file")) == (True, False)
    assert (remote.url, dict(remote.headers), remote.approval) == ("https://example.com/mcp", {"X": "y"}, ("*",))
    assert remote.offers("anything")


def test_values_of_the_environment_are_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` is replaced everywhere, `${NAME:-else}` has a default; nothing shows the value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", 'se"same')
    (tmp_path / ".env").write_text("PLACE=from-dotenv\n")
    entry = {
        "url": "https://${PLACE}/mcp",
        "headers": {"Authorization": "Bearer ${TOKEN}", "X-Else": "${NOT_SET:-else}"},
    }
    (server,) = read_servers(write(tmp_path, {"remote": entry}))
    assert server.url == "https://from-dotenv/mcp"
    assert dict(server.headers) == {"Authorization": 'Bearer se"same', "X-Else": "else"}
    assert server.without_secrets('it is se"same, or "se\\"same"') == f'it is {HIDDEN}, or "{HIDDEN}"'
    assert "same" not in repr(server)
    assert "from-dotenv" not in repr(server)


@pytest.mark.parametrize(
    ("servers", "sentence"),
    [
        ({"a": {"command": "x", "tool": ["y"]}}, "mcpServers.a.tool: Extra inputs are not permitted"),
        ({"a": {}}, "either a `command` or a `url`"),
        ({"a": {"command": "x", "url": "http://y"}}, "either a `command` or a `url`"),
        ({"a": {"url": "file:///etc/passwd"}}, "mcpServers.a.url"),
        ({"a": {"type": "sse", "url": "http://y"}}, "mcpServers.a.type"),
        ({"a": {"url": "http://y", "args": ["b"]}}, "belong to a `command`"),
        ({"a": {"command": "x", "headers": {"b": "c"}}}, "belong to a `url`"),
        ({"a__b": {"command": "x"}}, "the server name 'a__b' will not do"),
        ({"a" * 25: {"command": "x"}}, "will not do"),
        ({"a": {"command": "x", "args": ["${NOT_SET_ANYWHERE}"]}}, "needs the variable NOT_SET_ANYWHERE"),
        ({"a": {"command": "x", "env": {"TOKEN": 12345678}}}, "mcpServers.a.env.TOKEN"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, servers: dict[str, Any], sentence: str) -> None:
    """A file that cannot be used is refused with the place and the cure, and without the values in it."""
    with pytest.raises(UsageError) as refused:
        read_servers(write(tmp_path, servers))
    assert sentence in refused.value.message
    assert "12345678" not in refused.value.message


def test_no_file_and_no_json(tmp_path: Path) -> None:
    """A file that is not there, or is no JSON, is named."""
    with pytest.raises(UsageError, match="No such file"):
        read_servers(tmp_path / "none.json")
    (tmp_path / "mcp.json").write_text("{'mcpServers'")
    with pytest.raises(UsageError, match="the file: Invalid JSON"):
        read_servers(tmp_path / "mcp.json")
