"""A Restate endpoint whose handlers exercise the durable loop; started as a subprocess by the tests.

Every handler records what its actions did in the file named by ACTIONS_LOG, one line per execution, so that a test
sees what really ran, how often and in which order.
"""

import asyncio
import gc
import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import hypercorn
import hypercorn.asyncio
import restate

from app.durable import RetryPolicy, abort_now, condition, current_loop, get_logger, run_durably, step, wait_for
from app.errors import DeterminismError, StepFailed
from app.llm import Reply
from app.turns.calls.attempts import Attempts
from app.turns.calls.budget import Budget
from app.turns.link import ChatLink
from app.turns.memory import Memory
from app.turns.protocol import Limits
from app.turns.transcript import AssistantItem, Finish, Usage

BUDGET = Budget(Limits(max_iterations=1, tool_concurrency=1, max_tool_result_chars=1, llm_attempts=1))

probe = restate.Service("Probe")
logger = get_logger("probe")


def did(what: str) -> None:
    """Note that an action did `what`."""
    with open(os.environ["ACTIONS_LOG"], "a") as log:
        log.write(what + "\n")


def actions() -> list[str]:
    """Return what actions did so far."""
    with open(os.environ["ACTIONS_LOG"]) as log:
        return log.read().splitlines()


def action(what: str, seconds: float = 0.0) -> Callable[[], Awaitable[str]]:
    """Return an action that notes its start, its end and its abort."""

    async def act() -> str:
        did(f"start {what}")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            did(f"abort {what} {time.time()}")
            raise
        did(f"end {what}")
        return what

    return act


def handler(main: Callable[[str], Coroutine[Any, Any, Any]]) -> None:
    """Register `main(input)` as a handler that runs durably."""

    async def handle(ctx: restate.Context, label: str) -> Any:
        return await run_durably(ctx, main(label))

    probe.handler(
        name=main.__name__,
        invocation_retry_policy=restate.InvocationRetryPolicy(
            initial_interval=timedelta(milliseconds=50), max_interval=timedelta(seconds=1), max_attempts=50
        ),
    )(handle)


@handler
async def gather_steps(label: str) -> list[str]:
    async def one(n: int) -> str:
        first = await step(f"first {n}", action(f"{label} first {n}", 0.01 * (5 - n)), result_type=str)
        await asyncio.sleep(0.01 * n)
        second = await step(f"second {n}", action(f"{label} second {n}"), result_type=str)
        return f"{first}, {second}"

    return list(await asyncio.gather(*(one(n) for n in range(5))))


@handler
async def order_of_completion(label: str) -> list[str]:
    order: list[str] = []

    async def one(n: int) -> None:
        await step(f"work {n}", action(f"{label} work {n}", 0.02 * (n * 7 % 5)), result_type=str)
        order.append(str(n))
        await step(f"note {n}", action(f"{label} note {n}"), result_type=str)

    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(one(n))
    return order


@handler
async def queue_and_lock(label: str) -> list[int]:
    queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=2)
    lock = asyncio.Lock()
    seen: list[int] = []

    async def produce() -> None:
        for n in range(6):
            await asyncio.sleep(0.005)
            await queue.put(n)
        await queue.put(None)

    async def consume() -> None:
        while (n := await queue.get()) is not None:
            async with lock:
                await step("consume", action(f"{label} consume {n}"), result_type=str)
                seen.append(n)

    await asyncio.gather(produce(), consume())
    return seen


@handler
async def timeout_aborts(label: str) -> str:
    before = current_loop().time()
    try:
        async with asyncio.timeout(0.2):
            await step("slow", action(f"{label} slow", 1), result_type=str)
    except TimeoutError:
        return f"timeout after {current_loop().time() - before:.1f}"
    return "no timeout"


@handler
async def cancelled_cleans_up(label: str) -> str:
    try:
        await step("work", action(f"{label} work", 2), result_type=str)
    finally:
        await step("cleanup", action(f"{label} cleanup", 0.05), result_type=str)
    return "finished"


@handler
async def cancelled_answers(label: str) -> str:
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(_guarded(label, n))
    except asyncio.CancelledError:
        await step("after", action(f"{label} after"), result_type=str)
        return "cancelled"
    return "finished"


async def _guarded(label: str, n: int) -> None:
    try:
        await step(f"work {n}", action(f"{label} work {n}", 2), result_type=str)
    finally:
        await step(f"undo {n}", action(f"{label} undo {n}"), result_type=str)


@handler
async def salvage(label: str) -> str:
    text: list[str] = []

    async def stream() -> str:
        try:
            while len(text) < 200:
                text.append("word")
                did(f"{label} word")
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
        return " ".join(text)

    call = asyncio.create_task(step("stream", stream, result_type=str, salvage=True))
    try:
        return await call
    except asyncio.CancelledError:
        call.cancel()
        return f"partial: {await call}"


@handler
async def steered(label: str) -> str:
    """Abort a call from a sibling task, as STEER does."""

    async def stream() -> str:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return "partial"
        return "whole"

    call = asyncio.create_task(step("stream", stream, result_type=str, salvage=True))
    await asyncio.sleep(0.1)
    call.cancel()
    first = await call
    return f"{first}, {await step('next', action(f'{label} next'), result_type=str)}"


@handler
async def ends_ahead(label: str) -> str:
    """End by the result of a step, ahead of its record; the first attempt breaks after a command that follows."""

    async def last() -> str:
        await asyncio.sleep(0.05)
        did(f"{label} last")
        return str(time.monotonic_ns())  # another one, if it ran again

    signal = wait_for(current_loop().ctx.signal("event", type_hint=str))
    result = await step("last", last, result_type=str, ahead=lambda _: True)
    signal.cancel()
    current_loop().ctx.generic_send("Probe", "did_send", f'"{label} sent {result}"'.encode())
    did(f"{label} attempt")
    if actions().count(f"{label} attempt") == 1:
        raise ConnectionError("broken on purpose")
    return result


@handler
async def answered_ahead(label: str) -> str:
    """Go on by an answer ahead of its record, and hear of a cancellation that was recorded before it only then.

    The first attempt breaks behind that; its replay meets the cancellation first.
    """

    async def complete() -> Reply:
        did(f"{label} blocks")
        while f"{label} goes on" not in actions():
            time.sleep(0.005)  # noqa: ASYNC251 - nothing that the engine sends is heard meanwhile
        item = AssistantItem(content="the answer")
        return Reply(item=item, usage=Usage(calls=1), started_at=0, ended_at=0)

    ctx = current_loop().ctx
    chat = ChatLink(cast(restate.ObjectContext, _Deaf(ctx)), 1, BUDGET)
    heard = "no cancellation"
    reply = await Attempts(chat, complete, max_attempts=1).reply()
    try:
        await chat.complete(Memory(), ahead=True)
    except asyncio.CancelledError:
        heard = "cancelled behind its end"
    ctx.generic_send("Probe", "did_send", f'"{label} sent"'.encode())
    did(f"{label} attempt")
    if actions().count(f"{label} attempt") == 1:
        raise ConnectionError("broken on purpose")
    return f"{reply.item.content if reply else None}, {heard}"


@handler
async def foreseen_steering(label: str) -> str:
    """End an LLM call as the handler of a chat does that is killed before it has rung the run."""
    invocation_id = current_loop().ctx.request().id

    async def complete() -> Reply:
        began = time.time()
        try:
            abort_now(invocation_id, "steering")
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            did(f"{label} aborted")
        item = AssistantItem(content="so far", finish=Finish.ABORTED)
        return Reply(item=item, usage=Usage(calls=1), started_at=began, ended_at=time.time())

    chat = ChatLink(cast(restate.ObjectContext, _Keyed(current_loop().ctx)), 1, BUDGET)
    reply = await Attempts(chat, complete, max_attempts=1).reply()
    return f"{reply.item.content}, {reply.ended_by}" if reply is not None else "nothing"


@handler
async def unheard_end(label: str) -> str:
    """Report the end of a turn that no chat knows, and miss the signal that answers."""
    chat = ChatLink(cast(restate.ObjectContext, _Deaf(current_loop().ctx)), 1, BUDGET)
    end = await chat.complete(Memory(), ahead=True)
    did(f"{label} ended")
    return str(end.closed)


class _Keyed:
    """The context of a service, with the key that a chat has."""

    def __init__(self, ctx: restate.Context) -> None:
        self.request = ctx.request

    def key(self) -> str:
        return "a chat"


class _Deaf(_Keyed):
    """A context that hears none of the signals that are sent to it."""

    def __init__(self, ctx: restate.Context) -> None:
        super().__init__(ctx)
        self._ctx = ctx

    def signal(self, _name: str, **kwargs: Any) -> Any:
        return self._ctx.signal("another", **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


@handler
async def retries(label: str) -> str:
    async def flaky() -> str:
        did(f"{label} attempt")
        attempts = actions().count(f"{label} attempt")
        if attempts < 3:
            raise ConnectionError(f"no luck in attempt {attempts}")
        return f"attempt {attempts}"

    policy = RetryPolicy(max_attempts=3, initial_interval=timedelta(milliseconds=20))
    return await step("flaky", flaky, result_type=str, retry=policy)


@handler
async def gives_up(label: str) -> str:
    async def broken() -> str:
        did(f"{label} attempt")
        raise ValueError("it is broken")

    try:
        return await step(
            "broken", broken, retry=RetryPolicy(max_attempts=2, initial_interval=timedelta(milliseconds=10))
        )
    except StepFailed as exc:
        return f"{exc.error_type}: {exc.message}"


@handler
async def step_times_out(label: str) -> str:
    try:
        return await step("slow", action(f"{label} slow", 30), result_type=str, timeout_s=0.05)
    except StepFailed as exc:
        return f"{exc.error_type}: {exc.message}"


@handler
async def not_json(_label: str) -> str:
    async def odd() -> object:
        return object()

    try:
        await step("odd", odd)
    except StepFailed as exc:
        return exc.error_type
    return "no error"


class Wordless(Exception):
    """An exception that cannot say what it is."""

    retry_after_s = timedelta(seconds=1)  # no number, as this name promises

    def __str__(self) -> str:
        raise KeyError("no words")


@handler
async def unspeakable(_label: str) -> list[object]:
    """Record what UTF-8 cannot encode: results, and exceptions of every kind."""

    async def result() -> object:
        return {"k\ud800": ["\ud83d\ude42", "\udc00"]}

    def raising(exc: Exception) -> Callable[[], Awaitable[None]]:
        async def fail() -> None:
            raise exc

        return fail

    seen: list[object] = [await step("result", result)]
    odd_class = type("Fehlér\u2028", (Exception,), {})
    for exc in (ValueError("bad \ud800"), TimeoutError("\udfff"), Wordless(), odd_class("x" * 100_000)):
        try:
            await step("error", raising(exc))
        except StepFailed as failed:
            seen.append(f"{failed.error_type}: {failed.message[:20]}")
    return seen


@handler
async def forbidden(_label: str) -> list[str]:
    texts = []
    for attempt in (lambda: asyncio.to_thread(time.time), lambda: asyncio.open_connection("127.0.0.1", 1)):
        try:
            await attempt()
        except DeterminismError as exc:
            texts.append(exc.message)
    return texts


@handler
async def deadlock(_label: str) -> None:
    await asyncio.Event().wait()


@handler
async def orphan_fails(label: str) -> str:
    async def orphan() -> None:
        await step("orphan", action(f"{label} orphan"), result_type=str)
        raise ValueError(f"nobody awaits {label}")

    task = asyncio.create_task(orphan())
    del task
    await asyncio.sleep(0.2)
    return "main is fine"


@handler
async def leftover_tasks_end(label: str) -> str:
    async def leftover() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await step("goodbye", action(f"{label} goodbye"), result_type=str)

    task = asyncio.create_task(leftover())
    await asyncio.sleep(0.01)
    return f"done, leftover {'done' if task.done() else 'waiting'}"


@handler
async def conditions(label: str) -> list[int]:
    state = {"n": 0}
    seen: list[int] = []

    async def count() -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
            state["n"] += 1

    counting = asyncio.create_task(count())

    async def reached(target: int) -> int:
        await condition(lambda: state["n"] >= target)
        return state["n"]

    seen += [await reached(target) for target in (1, 3, 5)]
    try:
        await condition(lambda: state["n"] > 5, timeout_s=0.05)
    except TimeoutError:
        seen.append(-1)
    await counting
    logger.info("conditions of %s are met", label)
    return seen


@handler
async def waits_for_signal(label: str) -> list[str]:
    received = []
    ctx = current_loop().ctx
    logger.info("%s waits", label)
    for _ in range(3):
        received.append(await wait_for(ctx.signal("event", type_hint=str)))
        await step("seen", action(f"{label} {received[-1]}"), result_type=str)
    return received


@handler
async def ends_badly(label: str) -> list[str]:
    """Waits whose tasks do not want to be left: none may replace a suspension, nor run on after it."""
    seen: list[str] = []

    async def group() -> str:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0.05))
            await asyncio.sleep(0.1)
        return "group"

    async def awaits_cancelled() -> str:
        child = asyncio.create_task(asyncio.sleep(100))
        try:
            await asyncio.sleep(0.1)
        finally:
            child.cancel()
            with suppress(asyncio.CancelledError):
                await child
        return "awaits cancelled"

    async def turns_into(error: BaseException) -> str:
        try:
            await asyncio.sleep(0.1)
        except BaseException:  # noqa: BLE001 - what it does wrong
            raise error from None
        return f"turns into {type(error).__name__}"

    for main in (group(), awaits_cancelled(), turns_into(asyncio.CancelledError()), turns_into(SystemExit(3))):
        try:
            seen.append(await main)
        except Exception as exc:
            did(f"{label} {exc!r}")
            raise
    return seen


@handler
async def completes_in_order(label: str) -> list[str]:
    """asyncio's ways through sets, with a step for each item."""
    order: list[str] = []

    async def one(n: int) -> str:
        return await step(f"work {n}", action(f"{label} work {n}"), result_type=str)

    for each in asyncio.as_completed([one(n) for n in range(8)]):
        order.append(await each)
        await step(f"note {len(order)}", action(f"{label} note {len(order)}"), result_type=str)
    tasks = {asyncio.create_task(one(n)) for n in range(8, 12)}
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            order.append(await task)
            await step(f"name {task.get_name()}", action(f"{label} name {task.get_name()}"), result_type=str)
    return order


@handler
async def timers_together(label: str) -> list[str]:
    seen: list[str] = []

    async def one(n: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0.02)
            seen.append(await step(f"tick {n}", action(f"{label} tick {n}"), result_type=str))

    await asyncio.gather(*(one(n) for n in range(4)))
    return seen


@handler
async def generators_are_closed(label: str) -> str:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.01)
            await step("closed", action(f"{label} closed"), result_type=str)

    cycle: dict[str, Any] = {"numbers": numbers()}
    cycle["cycle"] = cycle
    await anext(cycle["numbers"])
    del cycle
    gc.collect()
    await step("main", action(f"{label} main"), result_type=str)
    return "main ends"


@handler
async def waits_for_ever(label: str) -> str:
    did(f"{label} waits")
    try:
        await asyncio.wait_for(asyncio.sleep(math.inf), math.inf)
    except asyncio.CancelledError:
        return "cancelled"
    return "ended"


@handler
async def waits_busily(_label: str) -> None:
    sleeping = asyncio.create_task(asyncio.sleep(0.01))
    while not sleeping.done():  # noqa: ASYNC110 - what it does wrong
        await asyncio.sleep(0)


@probe.handler()
async def send_signal(ctx: restate.Context, signal: dict[str, str]) -> None:
    ctx.resolve_signal(signal["invocation_id"], "event", signal["value"])


@probe.handler()
async def did_send(_: restate.Context, what: str) -> None:
    did(what)


app = restate.app([probe])

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = 2**31 - 1
    asyncio.run(hypercorn.asyncio.serve(app, config))
