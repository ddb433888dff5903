"""Random asyncio programs: trees of waits, tasks, locks, queues, errors and cancellations, made from a number.

They run on any loop. What a program does is in its trace; a `World` gives it durable steps.
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

TIE_S = 1.0  # the delay that many timers share, so that they are due together
_SHARED = 3  # locks, queues, events, … of each kind in a program

_tag: ContextVar[str] = ContextVar("tag", default="none")


class World(Protocol):
    """What a program needs beside asyncio. `durable` is whether its loop promises an order of sets."""

    durable: bool

    def step(self, name: str, duration_s: float) -> Awaitable[str]:
        """Begin what takes a while and then gives its name."""


@dataclass(frozen=True)
class Node:
    """One operation of a program. `label` is its number, `bodies` are the operations within."""

    kind: str
    label: int
    bodies: tuple["Node", ...] = ()
    delay_s: float = 0.0
    number: int = 0
    flag: bool = False


_LEAVES = (
    "sleep sleep give_way tie step step step put get set_event wait_event notify fail cancel join tag tasks collect"
)
_BRANCHES = (
    "many many many gather gather group timeout wait_for spawn spawn spawn lock semaphore condition "
    "as_completed wait shield attempt attempt ignores_cancel generator generator cycle barrier"
)


def make_program(seed: int) -> Node:
    """Return program number `seed`; the same in every process."""
    rng = random.Random(seed)
    labels = iter(range(10_000))

    def node(depth: int) -> Node:
        kind = rng.choice((_BRANCHES if depth and rng.random() < 0.8 else _LEAVES).split())
        label = next(labels)
        few = {"many": 4, "gather": 4, "group": 3, "as_completed": 4, "wait": 4, "attempt": 3, "generator": 3}
        count = rng.randint(2, few[kind]) if kind in few else 1
        bodies = tuple(node(depth - 1) for _ in range(count)) if kind in _BRANCHES.split() else ()
        delay_s = rng.choice((TIE_S, rng.uniform(0.01, 3.0)))
        if kind == "step" or (kind != "tie" and rng.random() < 0.5):
            delay_s = rng.uniform(0.01, 3.0)  # never due together with a timer
        return Node(kind, label, bodies, delay_s, rng.randrange(_SHARED), rng.random() < 0.3)

    parts = (Node("attempt", next(labels), (node(4), node(2))) for _ in range(rng.randint(2, 4)))
    return Node("gather" if rng.random() < 0.5 else "many", next(labels), tuple(parts))


@dataclass
class Program:
    """One run of a program. `trace` is what it did; `orders` what only a loop with ordered sets repeats."""

    world: World
    trace: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[str]] = field(default_factory=list)

    async def run(self, node: Node) -> str:
        self.locks = [asyncio.Lock() for _ in range(_SHARED)]
        self.semaphores = [asyncio.Semaphore(2) for _ in range(_SHARED)]
        self.conditions = [asyncio.Condition() for _ in range(_SHARED)]
        self.queues: list[asyncio.Queue[str]] = [asyncio.Queue(n) for n in range(_SHARED)]
        self.events = [asyncio.Event() for _ in range(_SHARED)]
        return await self.do(node)

    async def do(self, node: Node) -> str:
        """Do one operation, noting its beginning and its end."""
        action: Callable[[Node], Awaitable[object]] = getattr(self, f"_{node.kind}")
        self.trace.append(f"{node.kind} {node.label} begins")
        try:
            result = await action(node)
        except BaseException as exc:
            self.trace.append(f"{node.kind} {node.label} raises {describe(exc)}")
            raise
        self.trace.append(f"{node.kind} {node.label} gives {result}")
        return str(node.label)

    # Leaves

    async def _sleep(self, node: Node) -> None:
        await asyncio.sleep(node.delay_s)

    async def _tie(self, _node: Node) -> None:
        await asyncio.sleep(TIE_S)

    async def _give_way(self, _node: Node) -> None:
        await asyncio.sleep(0)

    async def _step(self, node: Node) -> str:
        return await self.world.step(f"step {node.label}", node.delay_s)

    async def _put(self, node: Node) -> None:
        await self.queues[node.number].put(str(node.label))

    async def _get(self, node: Node) -> str:
        async with asyncio.timeout(None if node.flag else node.delay_s):
            return await self.queues[node.number].get()

    async def _set_event(self, node: Node) -> None:
        self.events[node.number].set()

    async def _wait_event(self, node: Node) -> None:
        async with asyncio.timeout(None if node.flag else node.delay_s):
            await self.events[node.number].wait()

    async def _notify(self, node: Node) -> None:
        async with self.conditions[node.number]:
            self.conditions[node.number].notify(2)

    async def _fail(self, node: Node) -> None:
        raise ValueError(node.label)

    async def _cancel(self, node: Node) -> object:
        return self.tasks[-1 - node.number].cancel() if len(self.tasks) > node.number else "nothing"

    async def _join(self, node: Node) -> object:
        if len(self.tasks) <= node.number or self.tasks[node.number] is asyncio.current_task():
            return "nothing"
        if node.flag:  # not a plain await: two tasks that await each other cannot be cancelled in asyncio
            return await asyncio.shield(self.tasks[node.number])
        done, _ = await asyncio.wait([self.tasks[node.number]], timeout=node.delay_s)
        return len(done)

    async def _tag(self, node: Node) -> str:
        before = _tag.get()
        _tag.set(str(node.label))
        return before

    async def _tasks(self, _node: Node) -> int:
        every = asyncio.all_tasks()
        self.orders.append(" ".join(task.get_name() for task in every))
        return len(every)

    async def _collect(self, node: Node) -> None:
        if self.world.durable and node.flag:
            gc.collect()

    # Branches

    async def _many(self, node: Node) -> None:
        for body in node.bodies:
            await self.do(body)

    async def _gather(self, node: Node) -> list[str]:
        results = await asyncio.gather(*map(self.do, node.bodies), return_exceptions=node.flag)
        return [describe(each) for each in results]

    async def _group(self, node: Node) -> None:
        async with asyncio.TaskGroup() as group:
            for body in node.bodies[1:]:
                group.create_task(self.do(body))
            await self.do(node.bodies[0])

    async def _timeout(self, node: Node) -> str:
        try:
            async with asyncio.timeout(node.delay_s):
                return await self.do(node.bodies[0])
        except TimeoutError:
            return "timeout"

    async def _wait_for(self, node: Node) -> str:
        return await asyncio.wait_for(self.do(node.bodies[0]), node.delay_s)

    async def _spawn(self, node: Node) -> None:
        self.tasks.append(asyncio.create_task(self.do(node.bodies[0])))

    async def _lock(self, node: Node) -> None:
        async with self.locks[node.number]:
            await self.do(node.bodies[0])

    async def _semaphore(self, node: Node) -> None:
        async with self.semaphores[node.number]:
            await self.do(node.bodies[0])

    async def _condition(self, node: Node) -> None:
        async with self.conditions[node.number] as _:
            if node.flag:
                await self.conditions[node.number].wait()
            await self.do(node.bodies[0])

    async def _as_completed(self, node: Node) -> list[str]:
        bodies: list[Any] = [self.do(body) for body in node.bodies]
        if not self.world.durable:  # which would begin them in the order of their addresses
            bodies = [asyncio.create_task(body) for body in bodies]
        results = []
        for each in asyncio.as_completed(bodies):
            try:
                results.append(await each)
            except ValueError as exc:
                results.append(describe(exc))
        return results

    async def _wait(self, node: Node) -> list[str]:
        tasks = {asyncio.create_task(self.do(body)) for body in node.bodies}
        until = asyncio.FIRST_COMPLETED if node.flag else asyncio.ALL_COMPLETED
        done, pending = await asyncio.wait(tasks, timeout=node.delay_s, return_when=until)
        self.orders.append(" ".join(task.get_name() for task in (*tasks, *done, *pending)))
        for task in pending:
            task.cancel()
        return sorted("cancelled" if task.cancelled() else describe(task.exception()) for task in done)

    async def _shield(self, node: Node) -> object:
        return await asyncio.shield(self.do(node.bodies[0]))

    async def _attempt(self, node: Node) -> None:
        try:
            await self.do(node.bodies[0])
        except Exception as exc:  # noqa: BLE001 - programs catch what they like
            self.trace.append(f"caught {describe(exc)}")
        finally:
            for body in node.bodies[1:]:
                await self.do(body)

    async def _ignores_cancel(self, node: Node) -> str:
        try:
            return await self.do(node.bodies[0])
        except asyncio.CancelledError:
            return "still here"

    async def _numbers(self, node: Node) -> AsyncIterator[int]:
        try:
            for n, body in enumerate(node.bodies[:-1]):
                await self.do(body)
                yield n
        finally:
            await self.do(node.bodies[-1])

    async def _generator(self, node: Node) -> None:
        async for n in self._numbers(node):
            if n == node.number:
                break

    async def _cycle(self, node: Node) -> None:
        cycle: dict[str, Any] = {"numbers": self._numbers(Node("", 0, (*node.bodies, Node("give_way", -1))))}
        cycle["cycle"] = cycle
        await anext(cycle["numbers"])

    async def _barrier(self, node: Node) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._undo, node)
            await self.do(node.bodies[0])

    async def _undo(self, node: Node) -> None:
        await self.world.step(f"undo {node.label}", 0.5 + 0.00137 * node.label)


def describe(result: object) -> str:
    """Return a result or an exception as text that says nothing of this process."""
    if isinstance(result, BaseExceptionGroup):
        return f"{type(result).__name__}({', '.join(map(describe, result.exceptions))})"
    return f"{type(result).__name__}({result})" if isinstance(result, BaseException) else str(result)
