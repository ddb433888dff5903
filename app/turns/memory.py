"""The working memory of a chat: what the LLM sees of earlier turns, in the state of AgentSession.

The chat's record is the truth. A run uses its memory only if that is what the chat expects, and else asks the chat.
Older turns stand in parts that are written once, so that a turn does not write the whole context again.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

from pydantic import Field, ValidationError
from restate import ObjectContext, RestateDurableFuture
from restate.serde import BytesSerde

from app.durable import wait_for
from app.turns.compaction.fitting import estimate_tokens, fitted
from app.turns.compaction.summary import Summary
from app.turns.context import repair
from app.turns.protocol import Context, Limits, MemoryRef
from app.turns.transcript import Item
from app.values import Stored

MEMORY_KEY = "memory"
SUMMARY_KEY = f"{MEMORY_KEY}/summary"
_VERSION = 1
_NEWEST_SHARE = 8  # the newest turns become a part once they fill this fraction of the budget


class Remembered(Stored):
    """The items of one earlier turn. One that was `interrupted` may be left out later, if that was a rollback."""

    turn_id: int
    items: tuple[Item, ...]
    interrupted: bool = False


class _Part(Stored):
    """Turns that are written together."""

    turns: tuple[Remembered, ...] = ()


class _Newest(_Part):
    """The newest turns, and the numbers of the parts that come before them; the turn up to which a summary does."""

    version: int = _VERSION
    parts: tuple[int, ...] = ()
    invocation_id: str = ""
    summary: int = Field(0, exclude_if=lambda covers: covers == 0)


@dataclass(frozen=True)
class Memory:
    """What is remembered: `parts` by their numbers, oldest first, and the `newest` turns. Empty without any.

    `invocation_id` is that of the run that wrote it, `digest` that of what was written; both "" before that. The
    `summary` stands for the turns before the first. If turns should be summed up, `sum_up` is the last of them.
    """

    parts: tuple[tuple[int, _Part], ...] = ()
    newest: tuple[Remembered, ...] = ()
    invocation_id: str = ""
    digest: str = ""
    summary: Summary | None = None
    sum_up: int = 0

    @property
    def ref(self) -> MemoryRef:
        """What names this memory."""
        turns = self._turns()
        last = turns[-1].turn_id if turns else 0
        covers = 0 if self.summary is None else self.summary.covers
        return MemoryRef(last=last, invocation_id=self.invocation_id, digest=self.digest, summary=covers)

    def history(self) -> tuple[tuple[Item, ...], ...]:
        """Return the items of each turn, oldest first."""
        return tuple(turn.items for turn in self._turns())

    def as_expected(self, expected: MemoryRef) -> "Memory":
        """Return what is left of it without the turns that must not be seen."""
        if expected.last == 0:
            return Memory()
        gone = set(expected.without)
        parts = tuple((number, _Part(turns=_left(part.turns, gone))) for number, part in self.parts)
        return Memory(parts, _left(self.newest, gone), summary=self.summary)

    def with_turn(self, turn: Remembered, invocation_id: str, limits: Limits) -> "Memory":
        """Return it with one more turn, as its run writes it: as far as it fits the context of a run."""
        if limits.summary_share and estimate_tokens(turn.items) > limits.context_tokens:
            turn = turn.changed(items=tuple(fitted(repair(turn.items), limits.context_tokens)))
        newest = (*self.newest, turn)
        parts = self.parts
        if _tokens(newest) * _NEWEST_SHARE > limits.context_tokens:
            parts = (*parts, (max((number for number, _ in parts), default=0) + 1, _Part(turns=newest)))
            newest = ()
        window = max(limits.context_tokens - self._notes, 1)
        room, places = window - _tokens(newest), limits.context_turns - len(newest)
        kept: list[tuple[int, _Part]] = []
        for number, part in reversed(parts):
            if part.turns and (room > 0 and places > 0):
                kept.append((number, part))
            room, places = room - _tokens(part.turns), places - len(part.turns)
        kept.reverse()
        memory = Memory(tuple(kept), newest, invocation_id, summary=self.summary)
        parts_written = [part.model_dump_json().encode() for _, part in kept]
        digest = _digest_of(memory.written(), parts_written, self.summary)
        used = 1 - min(room / window, places / limits.context_turns)
        if not 0 < limits.summary_share < used:
            return replace(memory, digest=digest)
        known = [*chain.from_iterable(part.turns for _, part in parts), *newest]
        return replace(memory, digest=digest, sum_up=_to_sum_up(known, limits))

    @property
    def _notes(self) -> int:
        """The tokens of the summary."""
        return 0 if self.summary is None else estimate_tokens([self.summary.as_seen()])

    def written(self) -> bytes:
        """Return what stands under the key of the newest turns."""
        numbers = tuple(number for number, _ in self.parts)
        covers = 0 if self.summary is None else self.summary.covers
        newest = _Newest(parts=numbers, turns=self.newest, invocation_id=self.invocation_id, summary=covers)
        return newest.model_dump_json().encode()

    def _turns(self) -> list[Remembered]:
        return [*chain.from_iterable(part.turns for _, part in self.parts), *self.newest]


async def load_memory(ctx: ObjectContext) -> Memory:
    """Return the memory as it is stored. One that cannot be read, or is of another version, is empty."""
    stored = await _read(ctx, MEMORY_KEY)
    if stored is None:
        return Memory()
    try:
        newest = _Newest.model_validate_json(stored)
        if newest.version != _VERSION:
            return Memory()
        reads = [_read(ctx, part_key(number)) for number in newest.parts]
        notes = _read(ctx, SUMMARY_KEY) if newest.summary else None
        written = [await read or b"{}" for read in reads]
        parts = [_Part.model_validate_json(part) for part in written]
        summary = None if notes is None else Summary.model_validate_json(await notes or b"")
    except ValidationError:
        return Memory()
    numbered = tuple(zip(newest.parts, parts, strict=True))
    digest = _digest_of(stored, written, summary)
    return Memory(numbered, newest.turns, newest.invocation_id, digest, summary)


async def last_writer(ctx: ObjectContext) -> str:
    """Return the invocation id of the run that wrote the memory; "" if none did, or if that cannot be read."""
    stored = await cast("RestateDurableFuture[bytes | None]", ctx.get(MEMORY_KEY, serde=BytesSerde()))
    try:
        return _Newest.model_validate_json(stored or b"{}").invocation_id
    except ValidationError:
        return ""


def memory_of(context: Context) -> Memory:
    """Return the memory of what the chat has answered."""
    turns = tuple(
        Remembered(turn_id=n, items=items) for n, items in zip(context.turn_ids, context.history, strict=True)
    )
    return Memory(newest=turns, summary=context.summary)


def save_memory(ctx: ObjectContext, memory: Memory, stored: Memory) -> None:
    """Write what differs from what is `stored`."""
    known = dict(stored.parts)
    for number, part in memory.parts:
        if known.pop(number, None) != part:
            ctx.set(part_key(number), part.model_dump_json().encode(), serde=BytesSerde())
    for number in known:
        ctx.clear(part_key(number))
    if memory.summary != stored.summary:
        if memory.summary is None:
            ctx.clear(SUMMARY_KEY)
        else:
            ctx.set(SUMMARY_KEY, memory.summary.model_dump_json().encode(), serde=BytesSerde())
    ctx.set(MEMORY_KEY, memory.written(), serde=BytesSerde())


def _read(ctx: ObjectContext, key: str) -> "asyncio.Future[bytes | None]":
    return wait_for(cast("RestateDurableFuture[bytes | None]", ctx.get(key, serde=BytesSerde())))


def part_key(number: int | str) -> str:
    return f"{MEMORY_KEY}/{number}"


def _left(turns: Iterable[Remembered], gone: set[int]) -> tuple[Remembered, ...]:
    return tuple(turn for turn in turns if not (turn.interrupted and turn.turn_id in gone))


def _to_sum_up(turns: Sequence[Remembered], limits: Limits) -> int:
    """Return the last of these turns that should be summed up, 0 if there is none.

    The newest turns stay: they may take half of what makes a summary due, and one stays in any case.
    """
    room = limits.context_tokens * limits.summary_share / 2
    places = limits.context_turns * limits.summary_share / 2
    for count, turn in enumerate(reversed(turns)):
        room -= estimate_tokens(turn.items)
        if count > 0 and (room < 0 or count >= places):
            return turn.turn_id
    return 0


def _tokens(turns: Iterable[Remembered]) -> int:
    return sum(estimate_tokens(turn.items) for turn in turns)


def _digest_of(newest: bytes, parts: Iterable[bytes], summary: Summary | None) -> str:
    digest = hashlib.blake2b(newest, digest_size=16)
    for part in parts:
        digest.update(part)
    if summary is not None:
        digest.update(summary.model_dump_json().encode())
    return digest.hexdigest()
