"""The file that names MCP servers, in the shape that other programs use: `{"mcpServers": {"name": {…}}}`.

Reads and checks it. Values that it takes from the environment are secrets: nothing here shows them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import UsageError
from app.mcp.names import SERVER_NAME
from app.settings import variable
from app.values import problems_of

HIDDEN = "•••"
MIN_SECRET_CHARS = 4  # what is shorter stands in any text
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class McpServer:
    """One server: a command that is started and spoken to by its stdin and stdout, or the URL of a running one.

    `tools` are patterns of the tools that are offered, `approval` of those that a person must approve. `secrets` are
    the texts that no log and no journal may hold.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tools: tuple[str, ...] | None = None
    approval: tuple[str, ...] = ()
    timeout_s: float | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def offers(self, tool: str) -> bool:
        """Return whether the file lets the LLM have this tool."""
        return self.tools is None or any(fnmatchcase(tool, pattern) for pattern in self.tools)

    def must_approve(self, tool: str) -> bool:
        """Return whether the file wants a person to approve each call of this tool."""
        return any(fnmatchcase(tool, pattern) for pattern in self.approval)

    def without_secrets(self, text: str) -> str:
        """Return `text` with the secrets of this server hidden in it."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text


class _Entry(BaseModel):
    """One server as the file has it. Unknown fields are refused: a misspelt `tools` would let all tools through."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp"] | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    url: Annotated[str | None, Field(pattern=r"^(https?://|\$\{)")] = None
    headers: dict[str, str] = {}
    tools: tuple[str, ...] | None = None
    approval: tuple[str, ...] = ()
    timeout_s: Annotated[float | None, Field(gt=0, le=3600)] = None
    disabled: bool = False

    @model_validator(mode="after")
    def _has_one_address(self) -> "_Entry":
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either a `command` or a `url`")
        if self.command is None and (self.args or self.env or self.cwd):
            raise ValueError("`args`, `env` and `cwd` belong to a `command`")
        if self.url is None and self.headers:
            raise ValueError("`headers` belong to a `url`")
        return self


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    mcpServers: dict[str, _Entry]  # noqa: N815 - the name that the file has in all programs


def read_servers(path: Path) -> tuple[McpServer, ...]:
    """Return the servers of the file, in its order, without those that are disabled.

    Errors: UsageError with what to do; values of the environment are not in it.
    """
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"Cannot read the file {str(path)!r} of MCP_SERVERS: {exc.strerror}.") from exc
    try:
        entries = _File.model_validate_json(text).mcpServers
    except ValidationError as exc:
        raise UsageError(f"MCP_SERVERS={path}: {_without_inputs(exc)}.") from exc
    return tuple(_server(path, name, entry) for name, entry in entries.items() if not entry.disabled)


def _without_inputs(exc: ValidationError) -> str:
    """Return what is wrong, without the values: people write secrets into this file itself."""
    return re.sub(r", got .*?(?=; |$)", "", problems_of(exc, whole="the file"))


def _server(path: Path, name: str, entry: _Entry) -> McpServer:
    if not SERVER_NAME.fullmatch(name):
        raise UsageError(
            f"MCP_SERVERS={path}: the server name {name[:80]!r} will not do. Use up to 24 letters and digits, a letter "
            "first, with single - or _ between them."
        )
    secrets: set[str] = set()

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda match: _value(match, path, name, secrets), text)

    fields: dict[str, Any] = {
        "command": None if entry.command is None else filled(entry.command),
        "args": tuple(map(filled, entry.args)),
        "env": {key: filled(value) for key, value in entry.env.items()},
        "cwd": None if entry.cwd is None else filled(entry.cwd),
        "url": None if entry.url is None else filled(entry.url),
        "headers": {key: filled(value) for key, value in entry.headers.items()},
    }
    return McpServer(
        name,
        **fields,
        tools=entry.tools,
        approval=entry.approval,
        timeout_s=entry.timeout_s,
        secrets=tuple(sorted(_spellings(secrets), key=len, reverse=True)),
    )


def _value(match: re.Match[str], path: Path, server: str, secrets: set[str]) -> str:
    name, default = match.groups()
    value = variable(name)
    if value is None:
        if default is None:
            raise UsageError(f"MCP_SERVERS={path}: the server {server!r} needs the variable {name}, which is not set.")
        return str(default)
    if len(value) >= MIN_SECRET_CHARS:
        secrets.add(value)
    return value


def _spellings(secrets: set[str]) -> Iterator[str]:
    """Yield each secret as it is, and as it stands in a JSON text."""
    for secret in secrets:
        yield secret
        if (escaped := secret.replace("\\", "\\\\").replace('"', '\\"')) != secret:
            yield escaped
