"""The decision table: what each mode does on an idle and on a busy chat."""

import pytest

from app.turns.modes import Decision, Mode, decide


@pytest.mark.parametrize("mode", Mode)
def test_idle_chat_starts(mode: Mode) -> None:
    """On an idle chat every mode starts a turn, REJECT too."""
    assert decide(mode, turn_open=False) is Decision.STARTED


@pytest.mark.parametrize(
    ("mode", "decision"),
    [
        (Mode.INTERRUPT, Decision.INTERRUPTED),
        (Mode.ROLLBACK, Decision.ROLLED_BACK),
        (Mode.INCORPORATE, Decision.INCORPORATED),
        (Mode.STEER, Decision.STEERED),
        (Mode.QUEUE, Decision.QUEUED),
        (Mode.REJECT, Decision.REJECTED),
    ],
)
def test_open_turn_decides_by_mode(mode: Mode, decision: Decision) -> None:
    """While a turn is open each mode has a decision of its own."""
    assert decide(mode, turn_open=True) is decision


def test_modes_are_their_names() -> None:
    """The value of a mode is its name: it is what people set and what is stored."""
    assert [mode.value for mode in Mode] == [mode.name for mode in Mode]
    assert {mode.value for mode in Mode} == {"INTERRUPT", "ROLLBACK", "INCORPORATE", "STEER", "QUEUE", "REJECT"}
