"""What a client of AG-UI has: its list of messages, built as the official clients build it from our events.

Pure: no I/O. A snapshot cannot reorder a client's list: what is known stays where it is, what is new comes last. So
a list in another order is told in two snapshots, the first without what stands wrong.
"""

from collections.abc import Sequence
from dataclasses import replace

from ag_ui.core import MessagesSnapshotEvent

from app.web.agui.lines import Call, Line


class Told:
    """The messages of one client, in its order. `known` are the ids that it had before we told it anything."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._lines: dict[str, Line | None] = dict.fromkeys(known)

    @property
    def lines(self) -> list[Line]:
        """What we have told, in the client's order."""
        return [line for line in self._lines.values() if line is not None]

    def get(self, line_id: str) -> Line | None:
        return self._lines.get(line_id)

    def put(self, line: Line) -> None:
        """Note a line that is new, or that the client has with other content."""
        self._lines[line.line_id] = line

    def put_call(self, reply: Line, call: Call) -> None:
        """Note a tool call of a reply, which may be new by that."""
        before = self._lines.get(reply.line_id) or reply
        self.put(replace(before, calls=(*before.calls, call)))

    def put_result(self, result: Line) -> None:
        """Note the result of a call. A client puts it behind the reply and the results that are there."""
        lines = list(self._lines.values())
        at = next((n for n, line in enumerate(lines, 1) if line and result.answers in _ids(line.calls)), len(lines))
        while at < len(lines) and (after := lines[at]) is not None and after.role == "tool":
            at += 1
        ids = list(self._lines)
        items = [*zip(ids[:at], lines[:at], strict=True), (result.line_id, result)]
        self._lines = dict([*items, *zip(ids[at:], lines[at:], strict=True)])

    def is_as(self, wanted: Sequence[Line]) -> bool:
        """Return whether the client has these lines, in this order, and no other."""
        return list(self._lines.values()) == list(wanted)

    def become(self, wanted: Sequence[Line]) -> list[MessagesSnapshotEvent]:
        """Return the snapshots after which the client has these lines: one, or two if its order is another."""
        self._lines, known_before = {line.line_id: line for line in wanted}, self._lines
        wanted = [line for line in self._lines.values() if line is not None]  # one of each id
        ids = [line.line_id for line in wanted]
        merged = [known for known in known_before if known in self._lines]
        merged += [line_id for line_id in ids if line_id not in known_before]
        if merged == ids:
            return [_snapshot(wanted)]
        right = next(n for n, (has, wants) in enumerate(zip(merged, ids, strict=True)) if has != wants)
        return [_snapshot(wanted[:right]), _snapshot(wanted)]


def _ids(calls: tuple[Call, ...]) -> list[str]:
    return [call.call_id for call in calls]


def _snapshot(lines: Sequence[Line]) -> MessagesSnapshotEvent:
    return MessagesSnapshotEvent(messages=[line.to_message() for line in lines])
