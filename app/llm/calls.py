"""Tool calls while they arrive: puts their fragments together, as real servers send them.

No I/O. The specification numbers calls by `index` and sends id and name once. Few servers do just that.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from app.text import clean
from app.turns.transcript import ToolCall


class _Call:
    """A tool call while it arrives. `index` is what the server numbers it with, None if it does not."""

    def __init__(self, index: object, call_id: str) -> None:
        self.index = index
        self.call_id = call_id
        self.name = ""
        self._arguments: list[str] = []
        self.extra: object = None  # what the server wants back with the call, unread: Gemini's signature of its thought

    @property
    def arguments(self) -> str:
        return "".join(self._arguments)

    @property
    def begun(self) -> bool:
        """Whether some of the arguments have come."""
        return any(self._arguments)

    @property
    def complete(self) -> bool:
        """Whether the arguments are a whole JSON object, so that nothing can follow them."""
        if not (self.begun and self._arguments[-1].rstrip().endswith("}")):  # a look at the end is cheap
            return False
        try:
            return isinstance(from_json(self.arguments), dict)
        except ValueError:
            return False

    def add(self, name: str, arguments: str) -> None:
        if name != self.name and not self.begun:  # a name in pieces; repeating it whole is more usual
            self.name += name
        if arguments:
            self._arguments.append(arguments)


class CallDrafts:
    """The tool calls of one reply. `chars` is how much text they hold."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self.chars = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take one fragment.

        Errors: ValueError when it is none.
        """
        function = delta.get("function") or {}
        if not isinstance(function, dict):
            raise ValueError(f"a tool call with the function {str(function)[:80]!r}")
        call_id, name = _word(delta.get("id")), _word(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        call = self._call_of(delta.get("index"), call_id, name, arguments)
        call.call_id = call.call_id or call_id
        call.add(name, arguments)
        call.extra = delta.get("extra_content") or call.extra
        self.chars += len(name) + len(arguments)

    def result(self) -> tuple[ToolCall, ...]:
        """Return the calls, each with an id of its own: results are paired by it."""
        ids: set[str] = set()
        calls = []
        for position, call in enumerate(self._calls):
            call_id = clean(call.call_id) or f"call_{position}"
            while call_id in ids:
                call_id += f"_{position}"
            ids.add(call_id)
            calls.append(ToolCall(call_id=call_id, name=clean(call.name), arguments=clean(call.arguments)))
        return tuple(calls)

    def extra(self) -> dict[str, object]:
        """Return what the server wants back with its calls, by the id that `result` gives each."""
        pairs = zip(self.result(), self._calls, strict=True)
        return {call.call_id: draft.extra for call, draft in pairs if draft.extra}

    def _call_of(self, index: object, call_id: str, name: str, arguments: str) -> _Call:
        """Return the call that a fragment goes on with, a fresh one if it starts one."""
        before = next((call for call in reversed(self._calls) if call.index == index), None)
        if (
            before is not None and index is None and call_id
        ):  # only the id tells; one that is new in every delta does not
            before = next((call for call in self._calls if call.call_id == call_id), None if name else before)
        if before is None or _starts_another(before, index, call_id, name, arguments):
            before = _Call(index, call_id)
            self._calls.append(before)
        return before


def _starts_another(before: _Call, index: object, call_id: str, name: str, arguments: str) -> bool:
    """Return whether a fragment with the number of the call `before` is the first of another call.

    Some servers send several whole calls, all with index 0 or none. Only a fragment with a name can start a call. Ids
    alone tell nothing, as some servers repeat them, send them late, or make a new one for every fragment.
    """
    if not (name and before.name):
        return False
    other_id = bool(call_id and before.call_id and call_id != before.call_id)
    if before.complete:
        return bool(arguments.strip()) or other_id or name != before.name
    if index is None and not call_id and not before.begun:
        return True  # neither numbered nor named: a call without arguments before
    return other_id and name != before.name


def _word(value: object) -> str:
    """Return an id or a name as text. Some servers send numbers."""
    return "" if value is None or isinstance(value, bool) else str(value)


def _arguments(value: object) -> str:
    """Return the arguments as the JSON text that they should be. Some servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
