"""Every setting of the application, read once from the environment (and `.env`).

The only reader of the environment. The README's table of settings is checked against this file by a test.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.modes import Mode

PositiveInt = Annotated[int, Field(gt=0)]
Port = Annotated[int, Field(gt=0, lt=65536)]
Seconds = Annotated[float, Field(ge=0)]
SecondsOrNone = Annotated[Seconds | None, BeforeValidator(lambda value: None if value == "none" else value)]


class Settings(BaseSettings):
    """The settings, frozen. Names are those of the environment variables in lower case; `_s` is seconds."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    mode: Mode = Field(Mode.INTERRUPT, description="What a message does while the agent is busy, if nothing else says")
    instructions: str = Field(
        "You are a helpful assistant. Use the tools you have to do what the user asks, then answer.",
        description="The system prompt of the agent",
    )

    openai_api_key: SecretStr | None = Field(
        None, description="Key for the LLM server; without it and `OPENAI_BASE_URL` the offline model answers"
    )
    openai_base_url: str | None = Field(None, description="Base URL of an OpenAI-compatible LLM server")
    openai_model: str = Field("gpt-4o-mini", description="Model name sent to the LLM server")
    llm_timeout_s: float = Field(60, gt=0, description="Longest silence of the LLM server before a call is given up")
    llm_attempts: PositiveInt = Field(4, description="Attempts at an LLM call that meets 429, 5xx or a broken stream")

    host: str = Field("127.0.0.1", description="Address that the service listens on")
    port: Port = Field(9080, description="Port that the service listens on")
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level of log lines that are written"
    )

    max_iterations: PositiveInt = Field(20, description="LLM calls in one turn before it ends as `limit_reached`")
    max_pending: PositiveInt = Field(32, description="Messages of one chat that may wait for the agent (429 beyond)")
    max_message_chars: PositiveInt = Field(32_000, description="Length of one message (413 beyond)")
    max_tool_result_chars: PositiveInt = Field(20_000, description="Length of one tool result; the rest is cut off")
    tool_concurrency: PositiveInt = Field(8, description="Tool calls of one iteration that run at the same time")
    context_tokens: PositiveInt = Field(24_000, description="Size of what the LLM sees of the chat, estimated")
    context_turns: PositiveInt = Field(50, description="Most turns of the chat that the LLM sees")

    offline_pace_s: Seconds = Field(1.0, description="Duration of each LLM call and task of the offline model")
    offline_iterations: int = Field(3, ge=0, description="Iterations of the offline model before its answer")
    task_duration_s: Seconds = Field(1.0, description="How long the tool `execute_task` works")


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    Errors: pydantic.ValidationError names each variable with a wrong value.
    """
    return Settings()


def explain(error: ValidationError) -> list[str]:
    """Return one sentence for each setting that has a wrong value: the variable, its value and what it must be."""
    return [
        f"{str(problem['loc'][0]).upper()}={problem['input']!r} cannot be used; {_cure(problem['msg'])}."
        for problem in error.errors(include_url=False)
    ]


def _cure(message: str) -> str:
    """Turn pydantic's words into what to do: "Input should be 'A' or 'B'" becomes "it must be 'A' or 'B'"."""
    return message.replace("Input should be", "it must be")
