"""What one turn may use up before it has answered: LLM calls, and tokens.

Pure: what it counts was recorded, so that a replay decides the same.
"""

from app.turns.protocol import Limits


class Budget:
    """The budget of one run, since the user last said something: every message gets an answer.

    Tokens are those that the LLM server reports: calls that were ended before it did count none.
    """

    def __init__(self, limits: Limits) -> None:
        self._max_calls = limits.max_iterations
        self._max_tokens = limits.max_turn_tokens
        self._calls = 0
        self._tokens = 0

    def spend_call(self) -> None:
        self._calls += 1

    def spend_tokens(self, tokens: int) -> None:
        self._tokens += tokens

    def renew(self) -> None:
        """Count from here: the user has said something."""
        self._calls = 0
        self._tokens = 0

    @property
    def problem(self) -> str | None:
        """Why the turn ends without an answer, None while it goes on."""
        if 0 < self._max_tokens <= self._tokens:
            return (
                f"No answer after {self._tokens} tokens, the limit is {self._max_tokens}. What was done is kept: send "
                "a message to go on, or raise MAX_TURN_TOKENS."
            )
        if self._calls >= self._max_calls:
            return f"No answer after {self._max_calls} iterations: send a message to go on, or raise MAX_ITERATIONS."
        return None
