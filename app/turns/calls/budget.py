"""What one turn may use up: LLM calls, and tokens. Decides when it is over.

Pure: what it counts was recorded, so that a replay decides the same.
"""

from app.turns.protocol import Limits


class Budget:
    """The budget of one run.

    Calls are counted since the user last said something: every message gets an answer. Tokens are those of the whole
    turn, as the LLM server reports them: calls that were ended before it did count nothing.
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

    def renew_calls(self) -> None:
        """Count calls from here: the user has said something."""
        self._calls = 0

    @property
    def takes_messages(self) -> bool:
        """Whether the turn can still answer a message; else the next turn does."""
        return not 0 < self._max_tokens <= self._tokens

    @property
    def problem(self) -> str | None:
        """Why the turn ends without an answer, None while it goes on."""
        if not self.takes_messages:
            return (
                f"This turn has used {self._tokens} tokens, the limit is {self._max_tokens}. What it has done is kept: "
                "send a message to go on, or raise MAX_TURN_TOKENS."
            )
        if self._calls >= self._max_calls:
            return f"No answer after {self._max_calls} iterations: send a message to go on, or raise MAX_ITERATIONS."
        return None
