"""How many tokens a chat may use on a day: beyond that it takes no message. Turns that are open go on to their end.

Pure: no I/O, no Restate.
"""

from datetime import UTC, datetime, timedelta

from app.errors import SpentForToday
from app.turns.control import Day
from app.turns.moves import Moves

_DAY_S = 86_400


class Spends(Moves):
    """The part of a conversation that counts tokens. A day begins with its first message, at midnight UTC or later."""

    def require_tokens(self, now: float, limit: int) -> None:
        """Check that the chat may take a message. Errors: SpentForToday, with nothing changed."""
        used = self.session.usage.tokens
        day = int(now // _DAY_S)
        today = self.session.today
        if today is None or today.day != day:
            self._set(today=Day(day=day, tokens_before=used))
        elif (spent := used - today.tokens_before) >= limit:
            again = datetime.fromtimestamp(0, UTC) + timedelta(days=day + 1)
            raise SpentForToday(
                f"This chat has used {spent} tokens today, the limit is {limit} (MAX_CHAT_TOKENS_PER_DAY). This "
                f"message was not stored: send it again after {again:%Y-%m-%d %H:%M} UTC"
            )
