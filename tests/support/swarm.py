"""Many people who talk to many chats at once, and the check of what the chats and the LLM server make of it.

Every message carries a token, every reply of the LLM a text that is used once: so what is lost, doubled or out of
order shows in the histories and in the log of the LLM server.
"""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, Plan, check_well_formed
from tests.support.process import local_http

TOKEN = re.compile(r"<[^<>]+>")


class BusyLLM:
    """A script: replies with unique texts after random delays, often with tool calls first."""

    def __init__(self, seed: int, *, delay_s: float) -> None:
        self._random = random.Random(seed)
        self._delay_s = delay_s

    def __call__(self, request: LLMRequest) -> Plan:
        delay_s, gap_s = (self._random.random() * self._delay_s for _ in range(2))
        words = [f"reply-{request.index}", " and", " so", " on."]
        count = self._random.choice([0, 0, 1, 3]) if request.iterations < 2 else 0
        calls = [Call(arguments=f'{{"task": "job {n}"}}', call_id=f"call_{n}") for n in range(count)]
        reason = "tool_calls" if calls else "stop"
        return Plan(text=words, calls=calls, finish_reason=reason, delay_s=delay_s, gap_s=gap_s / 4)


@dataclass
class Person:
    """One person with one chat. `sent` are the tokens of accepted messages, in the order of their receipts.

    Behind this share of them, `holds`, the person sets aside what waits, and has it sent before the next message.
    """

    ingress_url: str
    key: str
    modes: Sequence[str]
    choices: random.Random
    gap_s: float
    holds: float = 0
    sent: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    async def talk(self, messages: int) -> None:
        """Send messages with random gaps and modes, each until it is accepted or refused."""
        async with local_http() as http:
            for n in range(messages):
                await self._pause()
                await self._say(http, f"<{self.key}.{n}>", self.choices.choice(self.modes))
                if self.choices.random() < self.holds and self.sent:
                    await self._hold_and_send(http)

    async def wait_for_answer(self, timeout_s: float) -> dict[str, Any]:
        """Wait until the chat is idle, send one more message, and return the history once it is answered."""
        async with local_http() as http:

            async def idle() -> bool:
                status = await self._call(http, "get_status", None)
                assert status["busy"] is False, status
                return True

            await eventually(idle, timeout_s=timeout_s, every_s=0.1)
            await self._say(http, f"<{self.key}.last>", "QUEUE")
            await eventually(idle, timeout_s=timeout_s, every_s=0.1)
            return await self._call(http, "get_chat_history", {"limit": 200})

    async def _hold_and_send(self, http: httpx.AsyncClient) -> None:
        await self._pause()
        if self.choices.random() < 0.7:
            await self._call(http, "stop", {"queue": self.choices.choice(["hold", "hold", "send"])})
        else:
            await self._call(http, "hold_queued_message", {"message_id": self.sent[-1]})
        await self._pause()
        if self.choices.random() < 0.5:
            await self._call(http, "stop", {"queue": "send"})
        await self._call(http, "resume", {})

    async def _pause(self) -> None:
        await asyncio.sleep(self.choices.random() ** 2 * self.gap_s)

    async def _say(self, http: httpx.AsyncClient, token: str, mode: str) -> None:
        body = {"content": f"please {token}", "mode": mode, "message_id": token}
        receipt = await self._call(http, "process_user_message", body)
        if receipt:
            self.sent.append(token)
            self.decisions.append(receipt["decision"])

    async def _call(self, http: httpx.AsyncClient, handler: str, body: object) -> dict[str, Any]:
        """Call until there is an answer: a retry is safe, as every message has an id. {} if the mode refuses it."""
        while True:
            try:
                answer = await http.post(f"{self.ingress_url}/ChatService/{self.key}/{handler}", json=body)
            except httpx.TransportError:  # the server is being restarted
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 409:
                return {}
            # A Restate server that has just started does not know its services for a moment.
            starting = answer.status_code == 404 and answer.headers.get("x-restate-error-source") == "ingress"
            if starting or answer.status_code in (429, 503):
                await asyncio.sleep(0.1)
                continue
            assert answer.is_success, f"{handler}({body}) of {self.key}: {answer.status_code} {answer.text}"
            result: dict[str, Any] = answer.json()
            return result


def check_chat(person: Person, history: dict[str, Any], requests: Sequence[LLMRequest]) -> None:
    """Assert the invariants 1 to 4 and 6 of DESIGN.md for one chat that has come to rest.

    Errors: AssertionError with the chat, the rule and the evidence.
    """
    assert history["next_before_turn"] is None, "the chat is longer than one page of history: check all of it"
    entries = history["entries"]
    own = [request for request in requests if any(f"<{person.key}." in text for text in request.user_texts)]
    _every_message_reaches_the_llm(person, entries, own)
    _nothing_twice(person, entries)
    _in_order(person, entries, own)
    for request in own:
        check_well_formed(request.messages)
    assert entries[-1]["role"] == "assistant", f"{person.key}: the last message has no answer: {entries[-3:]}"
    assert entries[-1]["status"] == "completed", f"{person.key}: {entries[-1]}"


def _every_message_reaches_the_llm(person: Person, entries: list[dict[str, Any]], own: list[LLMRequest]) -> None:
    seen = {token for request in own for text in request.user_texts for token in TOKEN.findall(text)}
    rolled_back = {entry.get("message_id") for entry in entries if entry["status"] == "rolled_back"}
    missing = [token for token in person.sent if token not in seen | rolled_back]
    assert not missing, f"{person.key}: never reached the LLM: {missing}; {_story(person, entries)}"


def _nothing_twice(person: Person, entries: list[dict[str, Any]]) -> None:
    for kind, texts in {
        "message": [entry["message_id"] for entry in entries if entry["role"] == "user"],
        "assistant text": [entry["content"] for entry in entries if entry["role"] == "assistant" and entry["content"]],
    }.items():
        twice = sorted({text for text in texts if texts.count(text) > 1 and (kind == "message" or "reply-" in text)})
        assert not twice, f"{person.key}: {kind} stands twice in the history: {twice}; {_story(person, entries)}"


def _in_order(person: Person, entries: list[dict[str, Any]], own: list[LLMRequest]) -> None:
    in_history = [entry["message_id"] for entry in entries if entry["role"] == "user"]
    assert in_history == person.sent, f"{person.key}: the history has another order: {_story(person, entries)}"
    place = {token: n for n, token in enumerate(person.sent)}
    for request in own:
        order = [place[token] for text in request.user_texts for token in TOKEN.findall(text)]
        assert order == sorted(set(order)), f"{person.key}: LLM request {request.index} has the order {order}"


def _story(person: Person, entries: list[dict[str, Any]]) -> str:
    sent = [f"{token} {decision}" for token, decision in zip(person.sent, person.decisions, strict=True)]
    lines = [f"{e['turn_id']} {e['status']} {e['role']}: {e['content'][:60]}" for e in entries]
    return "\n".join(["sent:", *sent, "history:", *lines])
