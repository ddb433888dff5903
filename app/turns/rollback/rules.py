"""What becomes of the tool calls of a turn that is rolled back: which are undone, and what the chat is told of it.

Pure: no I/O, no Restate.
"""

from collections.abc import Callable, Iterable, Sequence

from app.turns.transcript import Item, ToolItem, ToolOutcome, Undone
from app.values import Stored


class CallRef(Stored):
    """Names a tool call to a person."""

    call_id: str
    name: str


class RollbackPreview(Stored):
    """What a rollback of the turn would do to its calls as far as they are recorded, the last one first.

    Those of the iteration that runs are not yet recorded. Without an open turn `turn_id` is null.
    """

    turn_id: int | None
    undone: list[CallRef]
    irreversible: list[CallRef]


def preview_of(turn_id: int | None, items: Sequence[Item], has_compensation: Callable[[str], bool]) -> RollbackPreview:
    """Return what a rollback would undo, and what it could not."""
    calls = _took_place(items)[::-1]
    undone = [_ref(call) for call in calls if call.outcome is ToolOutcome.OK and has_compensation(call.name)]
    rest = [_ref(call) for call in calls if call.outcome is not ToolOutcome.OK or not has_compensation(call.name)]
    return RollbackPreview(turn_id=turn_id, undone=undone, irreversible=rest)


def rollback_note(items: Sequence[Item], undone: Iterable[Undone]) -> str | None:
    """Return what the chat is told about the calls of a turn that was rolled back, None if there were none."""
    left = list(undone)
    said: dict[str, list[str]] = {"Undone": [], "Not undone": []}
    for call in _took_place(items):
        known = next((each for each in left if (each.call_id, each.name) == (call.call_id, call.name)), None)
        if known is not None:
            left.remove(known)
        said["Undone" if known is not None and known.error is None else "Not undone"].append(_line(call, known))
    parts = [f"{title}: {'; '.join(reversed(lines))}." for title, lines in said.items() if lines]
    return " ".join(("This turn was rolled back.", *parts)) if parts else None


def _line(call: ToolItem, undone: Undone | None) -> str:
    if undone is not None:
        return call.name if undone.error is None else f"{call.name} (its compensation failed: {undone.error})"
    may = "it may have run in part, " if call.outcome is ToolOutcome.UNKNOWN else ""
    return f"{call.name} ({may}no compensation was made)"


def _took_place(items: Sequence[Item]) -> list[ToolItem]:
    """Return the calls that did something, or may have."""
    did = (ToolOutcome.OK, ToolOutcome.UNKNOWN)
    return [item for item in items if isinstance(item, ToolItem) and item.outcome in did]


def _ref(call: ToolItem) -> CallRef:
    return CallRef(call_id=call.call_id, name=call.name)
