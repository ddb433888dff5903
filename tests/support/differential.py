"""Random programs on the durable loop: on an engine that keeps a journal, and in replays of it.

As a command it prints what programs do in a process of its own: FIRST COUNT GC_THRESHOLD (0: no collection).
"""

import asyncio
import gc
import hashlib
import heapq
import random
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

from restate import Context

from app.durable import DurableLoop
from tests.support.fake_engine import FakeDurable
from tests.support.random_programs import Node, Program, make_program
from tests.support.virtual_asyncio import DEADLOCK, driven, on_asyncio

SUSPENDED = "suspended"


@dataclass(frozen=True)
class Command:
    """An entry of the journal: something was asked for, and is due at a time of the engine."""

    what: str
    due_s: float


@dataclass(frozen=True)
class Completion:
    """An entry of the journal: the result of command number `number` was handed in."""

    number: int


@dataclass
class Journal:
    """What an engine keeps of an invocation, in one order."""

    entries: list[Command | Completion] = field(default_factory=list)

    @property
    def commands(self) -> list[Command]:
        return [entry for entry in self.entries if isinstance(entry, Command)]

    @property
    def completions(self) -> list[Completion]:
        return [entry for entry in self.entries if isinstance(entry, Completion)]

    def until(self, cut: int) -> "Journal":
        return Journal(self.entries[:cut])


class Attempt:
    """One attempt of a program: it replays what the journal has, and goes on with what is due next."""

    durable = True  # as the world of a program

    def __init__(self, node: Node, known: Journal | None = None, *, stop_after: int | None = None) -> None:
        self.journal = Journal()
        self.differences: list[str] = []
        self._node = node
        self._known_commands = known.commands if known else []
        self._known_completions = iter(known.completions if known else [])
        self._left = stop_after
        self._now_s = 0.0
        self._results: list[FakeDurable] = []
        self._due: list[tuple[float, int]] = []
        self.loop = DurableLoop(cast(Context, self))  # type: ignore[abstract]  # as in driver.py
        self.program = Program(self)

    # The context, as far as the loop uses one, and the world of the program

    @property
    def vm(self) -> object:
        return SimpleNamespace(is_replaying=lambda: True)  # so that nothing is logged

    def sleep(self, delta: timedelta) -> FakeDurable:
        return self._command(f"sleep {delta.total_seconds()}", delta.total_seconds())

    def step(self, name: str, duration_s: float) -> Awaitable[str]:
        _ = self.loop.ctx  # as a step does: not reached when the attempt is over
        return self.loop.wait_for(self._command(name, duration_s).as_durable)

    def _command(self, what: str, duration_s: float) -> FakeDurable:
        number = len(self._results)
        command = Command(what, self._now_s + duration_s)
        if self.loop.is_closed():
            self.differences.append(f"{what} after the end of the attempt")
        if number < len(self._known_commands) and self._known_commands[number] != command:
            self.differences.append(f"command {number} is {command}, the journal has {self._known_commands[number]}")
        self.journal.entries.append(command)
        self._results.append(FakeDurable(what, duration_s))
        heapq.heappush(self._due, (command.due_s, number))
        return self._results[-1]

    # The driver, as driver.py

    def run(self) -> list[str]:
        """Run until the program ends, can never end, or the attempt is to stop; return the trace."""
        trace, loop = self.program.trace, self.loop
        main = loop.create_task(self.program.run(self._node))
        try:
            for awaited in driven(
                main, lambda: loop.unfinished_tasks, lambda: loop.create_task(loop.shutdown_asyncgens()), trace
            ):
                loop.drain()
                while not awaited.done():
                    number = self._next()
                    if number is None or self._left == 0:
                        return [*trace, DEADLOCK if number is None else SUSPENDED]
                    self._complete(number)
                    loop.drain()
            return list(trace)
        finally:
            loop.close_abandoned()

    def _next(self) -> int | None:
        """Return the number of the next result that something waits for."""
        for completion in self._known_completions:
            return completion.number
        while self._due:
            number = heapq.heappop(self._due)[1]
            if self._results[number].as_durable in self.loop._pending:
                return number
        return None

    def _complete(self, number: int) -> None:
        if number >= len(self._results) or self._results[number].as_durable not in self.loop._pending:
            self.differences.append(f"nothing waits for result {number}, which the journal has")
            return
        if self._left is not None:
            self._left -= 1
        durable = self._results[number]
        self._now_s = self.journal.commands[number].due_s
        self.journal.entries.append(Completion(number))
        self.loop.complete(durable.as_durable, None if durable.name.startswith("sleep") else durable.name, None)


def differences(seed: int, *, replays: int = 2) -> list[str]:
    """Run program `seed` on asyncio, on the durable loop, and in replays of its journal; return where they differ."""
    node = make_program(seed)
    rng = random.Random(seed)
    attempt = Attempt(node)
    trace = attempt.run()
    found = list(attempt.differences)
    found += compare("asyncio", on_asyncio(node), trace)
    for _ in range(replays):
        cut = rng.randint(0, len(attempt.journal.entries))
        first = Attempt(node, stop_after=len(attempt.journal.until(cut).completions))
        before = first.run()
        found += compare(f"before {cut}", before[:-1], trace[: len(before) - 1]) + first.differences
        again = Attempt(node, attempt.journal.until(cut))
        found += compare(f"replay from {cut}", again.run(), trace) + again.differences
        found += compare(f"orders from {cut}", again.program.orders, attempt.program.orders)
        found += compare(f"journal from {cut}", again.journal.entries, attempt.journal.entries)
    return [f"program {seed}: {each}" for each in found]


def compare(name: str, one: Sequence[object], other: Sequence[object]) -> list[str]:
    """Return where two lists begin to differ."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return [f"{name}, line {n}: {a} != {b}"]
    return [] if len(one) == len(other) else [f"{name}: {len(one)} lines != {len(other)}"]


def digest(seed: int) -> str:
    """Return what program `seed` does on the durable loop, as one short text."""
    attempt = Attempt(make_program(seed))
    everything = [*attempt.run(), *attempt.program.orders, *map(str, attempt.journal.entries)]
    return f"{seed} {hashlib.sha256(chr(10).join(everything).encode()).hexdigest()[:16]}"


def main() -> None:
    first, count, threshold = map(int, sys.argv[1:])
    gc.set_threshold(threshold)
    loop = asyncio.new_event_loop()  # so that durable loops are not the first ones of the process
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for seed in range(first, first + count):
        print(digest(seed))


if __name__ == "__main__":
    main()
