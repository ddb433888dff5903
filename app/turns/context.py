"""What the LLM sees of a chat: pairing repair and the context window.

Pure: no I/O, no Restate. It chooses and orders items; how they look on the wire is in `llm/wire.py`.
"""

from collections.abc import Sequence

from app.turns.transcript import AssistantItem, Item, ToolCall, ToolItem, ToolOutcome, UserItem

CHARS_PER_TOKEN = 4  # the usual estimate for English; a tokenizer would tie the window to one model
MIN_CUT_CHARS = 4000  # smaller items are never cut, whatever the budget
TOKENS_PER_ITEM = 8  # role, ids and separators that an item costs on top of its text

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


def window(history: Sequence[Sequence[Item]], current: Sequence[Item], *, budget_tokens: int) -> list[Item]:
    """Return what the LLM is to see: the newest items that fit `budget_tokens`, well formed. O(n).

    Of the earlier turns (`history`, oldest first) it takes whole ones, without a gap. Of the current turn it takes the
    messages that started it and everything from its last assistant item on, whatever the budget; what is between goes
    from the oldest on, never a call without its results. An item that alone would take more than half of the budget is
    cut, rather than all that came before it; only what the user says in the current turn never is.
    """
    mine = _cut_big(repair(current), budget_tokens, room=budget_tokens, spared=UserItem)
    kept, budget = _fit_turn(mine, budget_tokens)
    turns = newest_turns([*map(repair, history)], room=budget, budget_tokens=budget_tokens)
    return [item for turn in (*turns, kept) for item in turn]


def newest_turns(history: Sequence[Sequence[Item]], *, room: int, budget_tokens: int) -> list[Sequence[Item]]:
    """Return the newest turns of `history` that fit `room`, without a gap, oldest first.

    A turn that does not fit has the items cut that would take more than half of `budget_tokens`.
    """
    kept: list[Sequence[Item]] = []
    for whole in reversed(history):
        turn = whole if estimate_tokens(whole) <= room else _cut_big(whole, budget_tokens, room=room)
        room -= estimate_tokens(turn)
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _cut_big(
    items: Sequence[Item], budget_tokens: int, *, room: int, spared: type[UserItem] | tuple[()] = ()
) -> list[Item]:
    """Return `items` with the big ones cut, so that together they take half of the `room`."""
    fair = max(budget_tokens * CHARS_PER_TOKEN // 2, MIN_CUT_CHARS)
    big = {i for i, item in enumerate(items) if _chars(item) > fair and not isinstance(item, spared)}
    limit = max(room * CHARS_PER_TOKEN // 2, MIN_CUT_CHARS) // max(1, len(big))
    return [_cut(item, limit) if i in big else item for i, item in enumerate(items)]


def _cut(item: Item, limit: int) -> Item:
    """Return `item` with at most about `limit` characters: its beginning and its end; arguments stay JSON."""
    if isinstance(item, AssistantItem):
        limit //= 1 + len(item.tool_calls)
        calls = tuple(
            call
            if len(call.arguments) <= limit
            else call.changed(arguments=f'{{"left_out": "{len(call.arguments)} characters"}}')
            for call in item.tool_calls
        )
        item = item.changed(tool_calls=calls)
    text, left_out = item.content, len(item.content) - limit
    if left_out <= 0:
        return item
    end = limit // 2
    shown = f"{text[: limit - end]}\n[… {left_out} characters are left out here …]\n{text[len(text) - end :]}"
    return item.changed(content=shown)


def _fit_turn(items: list[Item], budget: int) -> tuple[list[Item], int]:
    """Return what is kept of the current turn and the budget left for earlier turns, negative if there is none."""
    groups = _groups(items)
    users = [i for i, group in enumerate(groups) if isinstance(group[0], UserItem)]
    assistants = [i for i, group in enumerate(groups) if isinstance(group[0], AssistantItem)]
    kept = {*users[:1], *range(assistants[-1] if assistants else 0, len(groups))}
    budget -= sum(estimate_tokens(groups[i]) for i in kept)
    for i in reversed(range(len(groups))):
        if i in kept:
            continue
        budget -= estimate_tokens(groups[i])
        if budget < 0:
            break
        kept.add(i)
    return [item for i in sorted(kept) for item in groups[i]], budget


def _groups(items: list[Item]) -> list[list[Item]]:
    """Split repaired items where the window may cut: runs of user texts, assistant items with their results."""
    groups: list[list[Item]] = []
    for item in items:
        after_user = bool(groups) and isinstance(groups[-1][0], UserItem)
        if isinstance(item, AssistantItem) or (isinstance(item, UserItem) and not after_user):
            groups.append([item])
        else:
            groups[-1].append(item)
    return groups


def estimate_tokens(items: Sequence[Item]) -> int:
    """Estimate the tokens of `items`."""
    return sum(_chars(item) // CHARS_PER_TOKEN + TOKENS_PER_ITEM for item in items)


def _chars(item: Item) -> int:
    calls = item.tool_calls if isinstance(item, AssistantItem) else ()
    return len(item.content) + sum(len(call.name) + len(call.arguments) for call in calls)


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
