"""Tool calls that wait for a person: how they are shown on a terminal, and what a person types to decide.

Pure: no I/O. What others wrote comes out without control characters.
"""

import json
from collections.abc import Sequence
from typing import Any

from app.text import printable, shorten

Json = dict[str, Any]

HELP = """\
/approvals            show what waits for you, with numbers
/approve [N] [JSON]   make call N, with other arguments if you like    /reject [N] [REASON]   do not make it
/answer [N] ANSWER    answer the question of call N: an object as JSON, or the value if it asks for one"""
_SHOWN_CHARS = 2000  # of arguments and questions


class Unclear(Exception):
    """What was typed decides nothing; the message says why."""


def asked_lines(number: int, approval: Json) -> list[str]:
    """Return what a person reads of a call that waits."""
    name, arguments = printable(approval["name"], keep=""), _text(approval["arguments"])
    question = approval.get("question")
    until = f" until {printable(str(approval['expires_at']))}" if approval.get("expires_at") else ""
    if question is None:
        how = f"/approve {number}, /reject {number} REASON, /approve {number} {{…}} with other arguments"
        return [f"{number}. {name} waits for your approval{until}:", f"   {arguments}", f"   {how}"]
    fields = [printable(_described(*field), keep="") for field in _fields(question).items()]
    asks = [f"{number}. {name} asks you{until}:", f"   {_text(question['message'])}"]
    return [*asks, *(f"   · {each}" for each in fields), f"   /answer {number} {{…}}, /reject {number} REASON"]


def decision_of(name: str, rest: str, approvals: Sequence[Json]) -> Json:
    """Return the body of `resolve_approval` for a command. Errors: Unclear."""
    approval, text = _named(name, rest.strip(), approvals)
    ids = {each: approval[each] for each in ("call_id", "approval_id")}
    question = approval.get("question")
    if name == "reject":
        return {**ids, "decision": "reject", "reason": text}
    if name == "answer":
        if question is None:
            raise Unclear("That call asks nothing: /approve or /reject it.")
        return {**ids, "decision": "approve", "answer": _answer(text, question)}
    if question is not None:
        raise Unclear("That call asks a question: /answer it, or /reject.")
    changed = {} if not text else {"arguments": _object(text)}
    return {**ids, "decision": "approve", **changed}


def told(answer: Json) -> str:
    """Return what is said about a decision that changes nothing, "" where it does."""
    if answer.get("result") == "applied":
        return ""
    verdict = (answer.get("resolution") or {}).get("verdict")
    return f"Too late: that call is {printable(str(verdict))} already." if verdict else "That call does not wait."


def undo_lines(preview: Json) -> list[str]:
    """Return what a person reads of what a rollback would do."""
    parts = (("Undone, the last first", preview["undone"]), ("Not undone", preview["irreversible"]))
    lines = [f"{title}: {', '.join(printable(call['name']) for call in calls)}" for title, calls in parts if calls]
    return [*(lines or ["Nothing is to be undone so far."]), "/undo now stops the turn and does it."]


def _named(name: str, rest: str, approvals: Sequence[Json]) -> tuple[Json, str]:
    """Return the call that is meant, and what was typed behind its number."""
    if not approvals:
        raise Unclear("Nothing waits for you.")
    number, _, text = rest.partition(" ")
    if number.isdecimal() and 0 < int(number) <= len(approvals) and (text.strip() or name != "answer"):
        return approvals[int(number) - 1], text.strip()
    if len(approvals) > 1:
        raise Unclear(f"/{name} wants the number of a call that waits: /approvals shows them.")
    return approvals[0], rest


def _answer(text: str, question: Json) -> Json:
    if text.startswith("{"):
        return _object(text)
    fields = _fields(question)
    if not text or len(fields) != 1:
        raise Unclear(f"/answer wants a JSON object with {', '.join(map(printable, fields)) or 'nothing in it: {}'}.")
    ((name, field),) = fields.items()
    if not isinstance(field, dict) or field.get("type") == "string":
        return {name: text}
    try:
        return {name: json.loads(text)}
    except ValueError:
        return {name: text}


def _object(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise Unclear(f"This is no JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise Unclear('A JSON object is wanted, as {"amount": 50}.')
    return value


def _fields(question: Json) -> Json:
    found = question["answer_schema"].get("properties")
    return found if isinstance(found, dict) else {}


def _described(name: str, field: Any) -> str:
    known = field if isinstance(field, dict) else {}
    parts = [str(known[each]) for each in ("type", "description") if known.get(each)]
    return f"{name}: {', '.join(parts)}" if parts else name


def _text(text: str) -> str:
    return "\n   ".join(printable(line, keep="\t") for line in shorten(text, _SHOWN_CHARS).split("\n"))
