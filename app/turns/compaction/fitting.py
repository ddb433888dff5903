"""How big items are, and how those of one turn are made to fit: what is cut, what is left out.

Pure: no I/O. The same items and the same room give the same, so that a replay sees what was seen.
"""

from collections.abc import Sequence

from app.turns.transcript import AssistantItem, Attachment, Item, ToolCall, UserItem

CHARS_PER_TOKEN = 4  # the usual estimate for English; a tokenizer would tie the window to one model
MIN_CUT_CHARS = 4000  # smaller items are never cut, whatever the budget, but to make a turn fit that is too big
TOKENS_PER_ITEM = 8  # role, ids and separators that an item costs on top of its text
STUB_CHARS = 200  # of what is left of an old step: its beginning and its end
IMAGE_TOKENS = 1000  # of a photo, for most models
PDF_TOKENS = 4000
MAX_INLINED_CHARS = 40_000  # of all text files of one message
LEFT_OUT = "left-out"  # in place of a message id


def estimate_tokens(items: Sequence[Item]) -> int:
    """Estimate the tokens of `items`."""
    return sum(chars_of(item) // CHARS_PER_TOKEN + TOKENS_PER_ITEM for item in items)


def chars_of(item: Item) -> int:
    """Return how much text an item has, its tool calls included, and what its files take."""
    if isinstance(item, UserItem) and item.attachments:
        return len(item.content) + sum(_chars_of_file(file, inlined(item.attachments)) for file in item.attachments)
    calls = item.tool_calls if isinstance(item, AssistantItem) else ()
    return len(item.content) + sum(len(call.name) + len(call.arguments) for call in calls)


def inlined(files: Sequence[Attachment]) -> int:
    """Return how many characters of each text file of a message the LLM is shown."""
    return MAX_INLINED_CHARS // max(1, sum(file.media_type.startswith("text/") for file in files))


def cut_big(
    items: Sequence[Item], budget_tokens: int, *, room: int, spared: type[UserItem] | tuple[()] = ()
) -> list[Item]:
    """Return `items` with those cut that take more than half of the budget: together they take half of `room` then."""
    fair = max(budget_tokens * CHARS_PER_TOKEN // 2, MIN_CUT_CHARS)
    big = {i for i, item in enumerate(items) if chars_of(item) > fair and not isinstance(item, spared)}
    limit = max(room * CHARS_PER_TOKEN // 2, MIN_CUT_CHARS) // max(1, len(big))
    return [_cut(item, limit) if i in big else item for i, item in enumerate(items)]


def fitted(items: Sequence[Item], room: int) -> list[Item]:
    """Return the repaired `items` of one turn in `room` tokens, well formed.

    What the user said is kept whole, so the turn may stay too big. The last step, an assistant item with its results,
    is cut only if it alone takes most of the room. Of steps before it only beginning and end of their texts are left,
    from the oldest on; if that is not enough, they are left out. What goes is said in its place.
    A turn that grows has its steps shortened in leaps: what stands before them stays the same, as LLM servers cache it.
    """
    if estimate_tokens(items) <= room:
        return list(items)
    groups = groups_of(items)
    steps = [i for i, group in enumerate(groups) if isinstance(group[0], AssistantItem)]
    if not steps:
        return list(items)
    free = max(room - sum(estimate_tokens(group) for i, group in enumerate(groups) if i not in steps), room // 4)
    groups[steps[-1]] = _shortened(groups[steps[-1]], free * 3 // 4)
    groups = _with_stubs(groups, steps, room)
    return [item for group in _without_oldest(groups, steps, room) for item in group]


def cut_text(item: Item, limit: int) -> Item:
    """Return `item` with at most about `limit` characters of text: its beginning and its end."""
    text, left_out = item.content, len(item.content) - limit
    if left_out <= 0:
        return item
    end = limit // 2
    shown = f"{text[: limit - end]}\n[… {left_out} characters are left out here …]\n{text[len(text) - end :]}"
    return item.changed(content=shown) if len(shown) < len(text) else item


def groups_of(items: Sequence[Item]) -> list[list[Item]]:
    """Split repaired items where they may be left out: runs of user texts, assistant items with their results."""
    groups: list[list[Item]] = []
    for item in items:
        after_user = bool(groups) and isinstance(groups[-1][0], UserItem)
        if isinstance(item, AssistantItem) or (isinstance(item, UserItem) and not after_user):
            groups.append([item])
        else:
            groups[-1].append(item)
    return groups


def _chars_of_file(file: Attachment, shown: int) -> int:
    """Estimate what a file takes: how it is counted differs from model to model."""
    if file.media_type.startswith("text/"):
        return min(file.bytes, shown)
    return CHARS_PER_TOKEN * (PDF_TOKENS if file.media_type == "application/pdf" else IMAGE_TOKENS)


def _with_stubs(groups: list[list[Item]], steps: list[int], room: int) -> list[list[Item]]:
    """Return `groups` with old steps as stubs. Walked as the turn grew: whenever it was full, a quarter was freed."""
    sizes = [estimate_tokens(group) for group in groups]
    shown = list(groups)
    total, done = 0, 0
    for i, size in enumerate(sizes):
        total += size
        if total <= room:
            continue
        while done < len(steps) - 1 and steps[done] < i and total > room * 3 // 4:
            oldest = steps[done]
            shown[oldest] = [*map(_stub, groups[oldest])]
            total -= sizes[oldest] - estimate_tokens(shown[oldest])
            done += 1
    return shown


def _without_oldest(groups: list[list[Item]], steps: list[int], room: int) -> list[list[Item]]:
    """Return `groups` without the oldest steps, as many as must go, and a word in place of them."""
    total = sum(estimate_tokens(group) for group in groups)
    if total <= room:
        return groups
    gone = 0
    total += estimate_tokens([_left_out(len(steps))])
    while total > room and gone < len(steps) - 1:
        total -= estimate_tokens(groups[steps[gone]])
        gone += 1
    if not gone:
        return groups
    left = [group for i, group in enumerate(groups) if i not in steps[:gone]]
    left.insert(steps[0], [_left_out(gone)])
    return left


def _left_out(steps: int) -> UserItem:
    return UserItem(message_id=LEFT_OUT, content=f"[… {steps} earlier steps of this turn are left out here …]")


def _stub(item: Item) -> Item:
    """Return what is left of an item of an old step; arguments stay JSON."""
    if isinstance(item, AssistantItem) and any(len(call.arguments) > STUB_CHARS for call in item.tool_calls):
        item = item.changed(tool_calls=tuple(_without_arguments(call, STUB_CHARS) for call in item.tool_calls))
    return cut_text(item, STUB_CHARS)


def _shortened(group: list[Item], room: int) -> list[Item]:
    """Return a step with its long items cut to one length, so that it takes `room` tokens."""
    if estimate_tokens(group) <= room:
        return group
    limit = _limit_for([chars_of(item) for item in group], (room - len(group) * TOKENS_PER_ITEM) * CHARS_PER_TOKEN)
    return [_cut(item, max(limit, STUB_CHARS)) if chars_of(item) > limit else item for item in group]


def _limit_for(sizes: list[int], room: int) -> int:
    """Return the length to which the longer of `sizes` must be cut so that all take `room`: the shorter stay whole."""
    ordered = sorted(sizes)
    for i, size in enumerate(ordered):
        fair = room // (len(ordered) - i)
        if size > fair:
            return max(fair, 0)
        room -= size
    return ordered[-1] if ordered else 0


def _cut(item: Item, limit: int) -> Item:
    """Return `item` with at most about `limit` characters: its beginning and its end; arguments stay JSON."""
    if isinstance(item, AssistantItem):
        limit //= 1 + len(item.tool_calls)
        item = item.changed(tool_calls=tuple(_without_arguments(call, limit) for call in item.tool_calls))
    return cut_text(item, limit)


def _without_arguments(call: ToolCall, limit: int) -> ToolCall:
    if len(call.arguments) <= limit:
        return call
    return call.changed(arguments=f'{{"left_out": "{len(call.arguments)} characters"}}')
