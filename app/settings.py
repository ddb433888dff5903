"""Every setting of the application, read once from the environment (and `.env`).

No other module reads a setting: `hosting/stack.py` hands the environment on to its children unread. A test checks the
table of settings in the documentation against this file.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import restate
from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import UsageError
from app.text import printable, shorten
from app.turns.modes import Mode

PositiveInt = Annotated[int, Field(gt=0)]
IntOrNone = Annotated[int, Field(ge=0)]  # 0 is none
Port = Annotated[int, Field(gt=0, lt=65536)]
Seconds = Annotated[float, Field(ge=0)]
SecondsOrNone = Annotated[Seconds | None, BeforeValidator(lambda value: None if value == "none" else value)]
Decade = Annotated[float, Field(gt=0, le=315_360_000)]
DecadeOrNone = Annotated[Decade | None, BeforeValidator(lambda value: None if value == "none" else value)]
PortOrNone = Annotated[Port | None, BeforeValidator(lambda value: None if value == "none" else value)]


def _identity_keys(value: object) -> object:
    """Return the keys of a comma-separated list, each of which the SDK must be able to read."""
    if not isinstance(value, str):
        return value
    keys = tuple(key for each in value.split(",") if (key := each.strip()))
    for key in keys:
        try:
            restate.app([], identity_keys=[key])
        except Exception as exc:  # the SDK's own type is private to its native part
            raise ValueError(f"{key!r} is no public key of a Restate server ({exc}): it logs its own at start") from exc
    return keys


def _names(value: object) -> object:
    """Return the names of a comma-separated list."""
    if not isinstance(value, str):
        return value
    return tuple(name for each in value.split(",") if (name := each.strip())) or None


IdentityKeys = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_identity_keys)]
Names = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_names)]


ENV_FILE = ".env"  # in the current folder


class Settings(BaseSettings):
    """The settings, frozen. Names are those of the environment variables in lower case. `_s` is seconds."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True)

    mode: Mode = Field(Mode.INTERRUPT, description="What a message does while the agent is busy, if nothing else says")
    instructions: str = Field(
        "You are a helpful assistant. Use the tools you have to do what the user asks, then answer.",
        description="The system prompt of the agent",
    )

    openai_api_key: SecretStr | None = Field(
        None, description="Key for the LLM server; without it and `OPENAI_BASE_URL` the offline model answers"
    )
    openai_base_url: str | None = Field(None, description="Base URL of an OpenAI-compatible LLM server")
    openai_api: Literal["chat", "responses"] = Field(
        "chat", description="How the LLM server is asked: by Chat Completions, or by the Responses API"
    )
    openai_model: str = Field("gpt-4o-mini", description="Model name sent to the LLM server")
    llm_timeout_s: float = Field(60, gt=0, description="Longest silence of the LLM server before a call is given up")
    llm_attempts: PositiveInt = Field(4, description="Attempts at an LLM call that meets 429, 5xx or a broken stream")
    llm_max_retry_after_s: Seconds = Field(
        60, description="Longest wait that the LLM server may ask for; beyond it the turn fails at once"
    )
    llm_max_connections: PositiveInt = Field(
        10_000, description="LLM calls at the same time; others wait for a place, for `LLM_TIMEOUT_S` at most"
    )
    llm_requests_per_min: IntOrNone = Field(0, description="LLM calls that may begin in a minute; 0 is no limit")
    llm_tokens_per_min: IntOrNone = Field(0, description="Tokens that they may take in a minute; 0 is no limit")

    host: str = Field("127.0.0.1", description="Address that the service listens on")
    port: Port = Field(9080, description="Port that the service listens on")
    server: Literal["hypercorn", "granian"] = Field(
        "hypercorn",
        description="The HTTP server of the service; `granian` has to be installed, see operations",
    )
    head_starts: bool = Field(
        False,
        description="Experimental: LLM calls begin ahead of their run, turns end ahead of the record of their answer",
    )
    workers: PositiveInt = Field(1, description="Processes of the service, which share `HOST` and `PORT`")
    redis_url: SecretStr | None = Field(
        None, description="A Redis or Valkey server by which several processes tell each other what runs, see live"
    )
    restate_identity_keys: IdentityKeys = Field(
        None,
        description="Public keys of the Restate servers that may call the service, with commas between",
    )
    allow_unsigned_requests: bool = Field(
        False,
        description="Let whoever reaches `HOST` call the service, where there are no `RESTATE_IDENTITY_KEYS`",
    )
    web_host: str = Field("127.0.0.1", description="Address that the gateway and its page listen on")
    web_port: PortOrNone = Field(8000, description="Port that the gateway listens on; `none` switches it off")
    web_allowed_hosts: Names = Field(
        None, description="Names by which browsers may call the gateway besides `localhost`, with commas between"
    )
    web_tokens: SecretStr | None = Field(
        None, description="Who may use the gateway: `user:token`, with commas between; a user may have several"
    )
    web_operators: Names = Field(
        None, description="Users who may see background agents, with commas between; without authentication all may"
    )
    oidc_issuer: str | None = Field(None, description="Issuer of the JSON Web Tokens that the gateway accepts")
    oidc_audience: str | None = Field(None, description="Audience that such a token must be for")
    oidc_user_claim: str = Field("sub", description="The claim of such a token that names the user")
    oidc_leeway_s: Seconds = Field(30, description="How wrong the clocks of issuer and gateway may be")
    web_max_body_bytes: PositiveInt = Field(4_194_304, description="Size of the body of a request (413 beyond)")
    web_max_header_bytes: PositiveInt = Field(16_384, description="Size of all headers of a request")
    web_rate: PositiveInt = Field(50, description="Requests a second of one user, or of one address (429 beyond)")
    web_burst: PositiveInt = Field(200, description="Requests that may come at once before `WEB_RATE` counts")
    web_max_streams: PositiveInt = Field(2000, description="Open streams of a process of the gateway (503 beyond)")
    web_max_streams_per_user: PositiveInt = Field(
        100, description="Open streams of one user, or of one address (429 beyond)"
    )
    max_chats_per_user: IntOrNone = Field(
        0, description="Chats that a user who has signed in may have (429 beyond); 0 is no limit"
    )
    web_request_timeout_s: float = Field(
        20, gt=0, description="How long a client may take to send the headers of a request, and then its body"
    )
    web_send_timeout_s: float = Field(30, gt=0, description="How long a client may not read before it is cut off")
    openai_stop_on_disconnect: bool = Field(
        False, description="Whether a client of the OpenAI-compatible endpoint that goes away stops its turn"
    )
    web_url: str | None = Field(
        None, description="The gateway that the terminal client calls; else the one at `WEB_HOST` and `WEB_PORT`"
    )
    web_token: SecretStr | None = Field(None, description="The token with which the terminal client calls the gateway")
    restate_ingress_url: str = Field("http://localhost:8080", description="Where clients reach Restate")
    restate_admin_url: str = Field("http://localhost:9070", description="Restate's admin API and UI")
    restate_server: str | None = Field(
        None, description="The `restate-server` that `up` starts; else the one in `.restate`, else the one on `PATH`"
    )
    restate_data: Path = Field(
        Path(".restate/data"), description="Where `up` keeps chats and the server's log; relative to the repository"
    )
    inactivity_timeout_s: SecondsOrNone = Field(
        3600, description="How long a turn may be silent before Restate suspends it; `none` leaves it to the server"
    )
    function_threads: PositiveInt = Field(
        200, description="Threads of functions, plain or blocking, at the same time; the next ones wait"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level of log lines that are written"
    )

    max_iterations: PositiveInt = Field(20, description="LLM calls in one turn before it ends as `limit_reached`")
    max_pending: PositiveInt = Field(32, description="Messages of one chat that may wait for the agent (429 beyond)")
    max_message_chars: PositiveInt = Field(32_000, description="Length of one message (413 beyond)")
    max_message_files: PositiveInt = Field(8, description="Files that one message may bring")
    max_file_bytes: PositiveInt = Field(10_000_000, description="Size of one file (413 beyond)")
    max_chat_file_bytes: PositiveInt = Field(200_000_000, description="Size of all files of one chat (413 beyond)")
    files_dir: Path | str | None = Field(
        None,
        description="Where files of messages are kept, a folder or `s3://bucket/prefix`, see files; "
        "else `chat-files` in `RESTATE_DATA`",
    )
    max_tool_result_chars: PositiveInt = Field(20_000, description="Length of one tool result; the rest is cut off")
    max_reply_chars: PositiveInt = Field(
        200_000, description="Length of one LLM reply; the rest is cut off and the turn ends as `limit_reached`"
    )
    max_turn_tokens: IntOrNone = Field(
        0, description="Tokens of one turn before it ends as `limit_reached`; 0 is no limit"
    )
    max_chat_tokens_per_day: IntOrNone = Field(
        0, description="Tokens of one chat on a day (UTC), after which it takes no message (429); 0 is no limit"
    )
    tool_concurrency: PositiveInt = Field(8, description="Tool calls of one iteration that run at the same time")
    tools_in_flight: IntOrNone = Field(
        0, description="Tool calls that work at the same time in this process, the next ones wait; 0 is no limit"
    )
    approval_timeout_s: DecadeOrNone = Field(
        259_200, description="How long a tool call waits to be approved before it is given up; `none` for ever"
    )
    chat_agents: Names = Field(
        None, description="Background agents that the LLM may start, with commas between, see chat-agents"
    )
    max_chat_agents: PositiveInt = Field(8, description="Background agents of one chat at the same time (429 beyond)")
    max_agent_messages: PositiveInt = Field(
        50, description="Messages a day that the background agents of a chat may send into it (429 beyond)"
    )
    example: Literal["trip"] | None = Field(None, description="Tools of a worked example that the LLM gets, see trip")
    context_tokens: PositiveInt = Field(24_000, description="Size of what the LLM sees of the chat, estimated")
    context_turns: PositiveInt = Field(50, description="Most turns of the chat that the LLM sees")
    context_summary_share: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Share of `CONTEXT_TOKENS` or `CONTEXT_TURNS` from which on older turns are summed up; 0 never",
    )

    max_event_chars: PositiveInt = Field(
        256_000, description="Size as JSON of what an event, a query or the start of a background agent brings (413)"
    )
    handler_grace_s: Seconds = Field(
        60, description="How long event handlers may go on when `run` has ended or starts afresh; then cancelled"
    )

    offline_pace_s: Seconds = Field(1.0, description="Duration of each LLM call and task of the offline model")
    offline_iterations: int = Field(3, ge=0, description="Iterations of the offline model before its answer")
    task_duration_s: Seconds = Field(1.0, description="How long the tool `execute_task` works")

    mcp_servers: Path | None = Field(
        None, description="A file that names MCP servers whose tools the LLM gets, see mcp"
    )
    mcp_start_s: Seconds = Field(
        10, description="How long an LLM call waits for MCP servers that start; their tools come later then"
    )
    mcp_timeout_s: float = Field(60, gt=0, description="Longest call of a tool of an MCP server")


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    Errors: pydantic.ValidationError names each variable with a wrong value. UsageError if `.env` cannot be read.
    """
    try:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(
            f"Cannot read {Path(ENV_FILE).absolute()}: {reason}. "
            "Make it a text in UTF-8 that you may read, or remove it."
        ) from error


def variable(name: str) -> str | None:
    """Return a variable that a file of the user's names: of the environment, else of `.env`. None if it is not set."""
    if name in os.environ:
        return os.environ[name]
    return dotenv_values(ENV_FILE).get(name) if Path(ENV_FILE).is_file() else None


def explain(error: ValidationError) -> list[str]:
    """Return one sentence for each setting that has a wrong value: the variable, its value and what it must be."""
    return [
        f"{str(problem['loc'][0]).upper()}={shorten(repr(problem['input']), 200)} cannot be used; "
        f"{printable(_cure(problem['msg']))}."
        for problem in error.errors(include_url=False)
    ]


def _cure(message: str) -> str:
    """Return pydantic's words as what to do: "Input should be 'A' or 'B'" becomes "it must be 'A' or 'B'"."""
    return message.removeprefix("Value error, ").replace("Input should be", "it must be")
