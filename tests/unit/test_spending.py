"""What a turn and a day of a chat may use up."""

import pytest

from app.errors import SpentForToday
from app.turns.calls.budget import Budget
from app.turns.control import Session
from app.turns.protocol import Limits
from app.turns.transcript import TurnStatus, Usage
from tests.support.fake_chat import FakeChat, said

DAY_S = 86_400.0
NOON = 20_000 * DAY_S + DAY_S / 2


def limits(**values: int) -> Limits:
    return Limits(max_iterations=2, tool_concurrency=1, max_tool_result_chars=1, llm_attempts=1, **values)


def test_a_turn_ends_after_its_tokens() -> None:
    """A turn that has used its tokens makes no further call; it says what to do."""
    budget = Budget(limits(max_turn_tokens=100))
    budget.spend_tokens(99)
    assert budget.problem is None
    budget.spend_tokens(1)
    assert budget.problem == (
        "No answer after 100 tokens, the limit is 100. What was done is kept: send a message to go on, or raise "
        "MAX_TURN_TOKENS."
    )


def test_a_message_renews_the_budget() -> None:
    """Calls and tokens are counted since the user said something: every message gets an answer."""
    budget = Budget(limits(max_turn_tokens=100))
    budget.spend_tokens(100)
    budget.renew()
    assert budget.problem is None
    budget.spend_call()
    budget.spend_call()
    assert budget.problem == "No answer after 2 iterations: send a message to go on, or raise MAX_ITERATIONS."
    budget.renew()
    assert budget.problem is None


def test_without_a_limit_tokens_do_not_count() -> None:
    """Without the setting a turn may use any number of tokens."""
    budget = Budget(limits())
    budget.spend_tokens(10**9)
    assert budget.problem is None


def test_a_limit_that_is_not_set_is_not_in_the_input_of_a_run() -> None:
    """Without MAX_TURN_TOKENS the journal of a run is what it was."""
    assert "max_turn_tokens" not in limits().model_dump_json()
    assert Limits.model_validate_json(limits(max_turn_tokens=5).model_dump_json()).max_turn_tokens == 5


def use(chat: FakeChat, tokens: int) -> None:
    """Have a turn that uses so many tokens."""
    receipt = chat.say()
    chat.record(receipt.turn_id, said("x"), usage=Usage(calls=1, prompt_tokens=tokens - 1, completion_tokens=1))
    chat.end(receipt.turn_id, TurnStatus.COMPLETED, offset=1)


def may(chat: FakeChat, now: float, limit: int = 100) -> None:
    chat.change(lambda c: c.require_tokens(now, limit))


def test_a_chat_takes_no_message_after_its_tokens() -> None:
    """A chat that has used its tokens of a day refuses a message and says when it takes one, and is as it was."""
    chat = FakeChat()
    may(chat, NOON)
    use(chat, 99)
    may(chat, NOON)
    use(chat, 1)
    before = chat.session
    with pytest.raises(SpentForToday, match=r"used 100 tokens today, the limit is 100 .* after 2024-10-05 00:00 UTC"):
        may(chat, NOON)
    assert chat.session == before


def test_a_day_begins_afresh() -> None:
    """What was used before the first message of a day counts no more, nor what was used before there was a limit."""
    chat = FakeChat()
    use(chat, 500)
    may(chat, NOON)
    use(chat, 100)
    with pytest.raises(SpentForToday):
        may(chat, NOON + DAY_S / 2 - 1)
    may(chat, NOON + DAY_S / 2)


def test_without_a_limit_no_day_is_stored() -> None:
    """A chat without such a limit has nothing of it in its state."""
    assert "today" not in Session(last_turn_id=3).model_dump_json()
