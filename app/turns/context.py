"""What the LLM sees of a chat: pairing repair and the context window.

Pure: no I/O, no Restate. It chooses and orders items; how they look on the wire is in `llm/wire.py`.
"""

from collections.abc import Sequence
from itertools import chain

from app.turns.compaction.fitting import cut_big, estimate_tokens, fitted
from app.turns.compaction.summary import Summary
from app.turns.transcript import AssistantItem, Item, ToolCall, ToolItem, ToolOutcome, UserItem

_NO_RESULT = {
    ToolOutcome.SKIPPED: "This tool call never started: it was skipped, and nothing was done.",
    ToolOutcome.UNKNOWN: "This tool call was ended before its result was known: it may have run, in part or in full.",
}


def synthetic_result(call: ToolCall, outcome: ToolOutcome = ToolOutcome.UNKNOWN) -> ToolItem:
    """Return the honest result of a `call` that gave none: SKIPPED never started, UNKNOWN may have run.

    Errors: KeyError for an outcome of a call that did give a result.
    """
    return ToolItem(call_id=call.call_id, name=call.name, content=_NO_RESULT[outcome], outcome=outcome)


def repair(items: Sequence[Item]) -> list[Item]:
    """Return `items` with every tool call directly followed by its one result, in the order of the calls.

    A call without a result gets a synthetic one; a result without a call, or a second one, is dropped; what stood
    between a call and its result follows the result. User texts are all kept, in their order. Idempotent, O(n).
    """
    results = _pair(items)
    repaired: list[Item] = []
    for position, item in enumerate(items):
        match item:
            case UserItem():
                repaired.append(item)
            case AssistantItem():
                calls = _distinct(item.tool_calls)
                repaired.append(item if calls == item.tool_calls else item.changed(tool_calls=calls))
                repaired.extend(results.get((position, call.call_id)) or synthetic_result(call) for call in calls)
    return repaired


def window(
    history: Sequence[Sequence[Item]],
    current: Sequence[Item],
    *,
    budget_tokens: int,
    summary: Summary | None = None,
) -> list[Item]:
    """Return what the LLM is to see: the `summary`, and the newest items that fit `budget_tokens`, well formed. O(n).

    Of the earlier turns (`history`, oldest first, after the summary) it takes whole ones, without a gap. The current
    turn goes first, with all that the user says in it; if it outgrows the window its older steps are shortened and at
    last left out, never a call without its results, before the newest quarter of what was said earlier goes.
    An item that alone would take more than half of the budget is cut, rather than all that came before it.
    """
    notes = [] if summary is None else [summary.as_seen()]
    earlier = [*map(repair, history)]
    mine = cut_big(repair(current), budget_tokens, room=budget_tokens, spared=UserItem)
    room = budget_tokens - estimate_tokens(mine) - estimate_tokens(notes)
    if room < budget_tokens // 4:
        kept_back = min(sum(map(estimate_tokens, earlier)), budget_tokens // 4) + estimate_tokens(notes)
        mine = fitted(mine, budget_tokens - min(kept_back, budget_tokens // 2))
        room = budget_tokens - estimate_tokens(mine) - estimate_tokens(notes)
    if room < 0:
        return mine
    return [*notes, *chain.from_iterable(newest_turns(earlier, room=room, budget_tokens=budget_tokens)), *mine]


def newest_turns(history: Sequence[Sequence[Item]], *, room: int, budget_tokens: int) -> list[Sequence[Item]]:
    """Return the newest turns of `history` that fit `room`, without a gap, oldest first.

    A turn that does not fit has the items cut that would take more than half of `budget_tokens`. The newest one has its
    steps shortened as well: what was done last is not forgotten because it was much.
    """
    kept: list[Sequence[Item]] = []
    for whole in reversed(history):
        turn = whole if estimate_tokens(whole) <= room else cut_big(whole, budget_tokens, room=room)
        if not kept and estimate_tokens(turn) > room:
            turn = fitted(repair(turn), room)
        room -= estimate_tokens(turn)
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _pair(items: Sequence[Item]) -> dict[tuple[int, str], ToolItem]:
    """Map the position of an assistant item and a call id to the first result of that call.

    Ids are only unique within an assistant item (some servers count from 0 in each reply), so a result belongs to the
    nearest earlier call of its id that has none.
    """
    unanswered: dict[str, int] = {}
    results: dict[tuple[int, str], ToolItem] = {}
    for position, item in enumerate(items):
        match item:
            case AssistantItem():
                unanswered.update({call.call_id: position for call in item.tool_calls})
            case ToolItem() if item.call_id in unanswered:
                results[unanswered.pop(item.call_id), item.call_id] = item
    return results


def _distinct(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Drop calls that repeat an id: no server could tell their results apart."""
    return tuple({call.call_id: call for call in reversed(calls)}.values())[::-1]
