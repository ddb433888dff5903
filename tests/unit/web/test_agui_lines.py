"""The lines of a chat as AG-UI messages."""

from app.turns.reading.protocol import HistoryEntry
from app.turns.transcript import TurnStatus
from app.web.agui.lines import lines_of


def test_a_message_of_an_agent_has_its_name() -> None:
    """Clients of other makers see by `name` that a background agent says it; the user's own words have none."""
    said = HistoryEntry(role="user", content="Check in", turn_id=1, status=TurnStatus.COMPLETED, message_id="a")
    by_agent = said.changed(source="ChatReminder-1")
    names = [line.to_message().name for line in lines_of(1, [said, by_agent])]  # type: ignore[union-attr]
    assert names == [None, "ChatReminder-1"]
