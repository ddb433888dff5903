"""How far the attempts of invocations have come in this process.

Only logging depends on it, as another process knows nothing of it. Waking for an event repeats what led to the wait,
and what wrote no journal entry leaves no trace there. After a restart of the process, or when a place is forgotten,
such a line appears once more.
"""

_KEPT = 50_000  # about 10 MB

_furthest: dict[str, int] = {}


def furthest_place(invocation_id: str) -> int:
    """Return the furthest place that an attempt has reached, -1 if there was none."""
    return _furthest.get(invocation_id, -1)


def note_place(invocation_id: str, place: int) -> None:
    """Note how far an attempt has come. The invocation may have another attempt."""
    _furthest[invocation_id] = max(place, _furthest.pop(invocation_id, -1))  # the newest is last
    if len(_furthest) > _KEPT:
        del _furthest[next(iter(_furthest))]


def forget_place(invocation_id: str) -> None:
    """Forget an invocation that is over."""
    _furthest.pop(invocation_id, None)
