"""What a run used, in the words of AG-UI.

Pure: no I/O.
"""

from ag_ui.core import TokenUsage

from app.turns.transcript import Usage


def tokens_of(usage: Usage) -> list[TokenUsage] | None:
    """Return the tokens of a run, None if the LLM counted none: unknown is not 0."""
    if usage.calls <= usage.unmetered_calls:
        return None
    return [
        TokenUsage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
            cached_input_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )
    ]
