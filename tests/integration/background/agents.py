"""Agents and functions whose behaviour the tests know; served by `python -m tests.integration.background.agents PORT`.

What functions really did is written to the file named by ACTIONS_LOG, one line for each execution.
"""

# Fields have the names of handlers, as in the reference; the types of the class cannot say that both work.
# mypy: disable-error-code="method-assign, assignment, operator, call-overload, no-any-return"

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import restate
from pydantic import BaseModel

from app.background import (
    ParentClosePolicy,
    RetryPolicy,
    agent,
    condition,
    function,
    log,
    services,
    workflow,
)
from app.hosting.logs import set_up_logging
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped
from app.settings import get_settings

# Under always-replay nothing reaches a function before its end, so it must come.
LONG = 1.5 if os.environ.get("INACTIVITY_TIMEOUT_S") == "none" else 60


def did(what: str) -> None:
    with open(os.environ["ACTIONS_LOG"], "a") as file:
        file.write(f"{what}\n")


def times(what: str) -> int:
    with open(os.environ["ACTIONS_LOG"]) as file:
        return file.read().splitlines().count(what)


# Functions


class Note(BaseModel):
    """Input and result of `note`."""

    text: str
    seconds: float = 0


@function.defn()
async def note(given: Note) -> Note:
    """Write down the text, after some seconds."""
    did(f"start {given.text}")
    try:
        await asyncio.sleep(given.seconds)
    except asyncio.CancelledError:
        did(f"abort {given.text}")
        raise
    did(f"end {given.text}")
    return given


def plain(text: str) -> str:
    """Run in a thread, without a decorator."""
    did(f"plain {text}")
    return text.upper()


@function.defn(name="fails_at_first")
async def flaky(text: str) -> int:
    did(f"flaky {text}")
    attempts = times(f"flaky {text}")
    if attempts < 3:
        raise ConnectionError(f"no luck in attempt {attempts}")
    return attempts


async def broken(given: dict[str, str]) -> None:
    did(f"broken {given['text']}")
    if given.get("how") == "for good":
        raise function.NonRetryableError("it is broken for good")
    raise ValueError("it is broken")


async def silent(text: str) -> None:
    did(f"silent {text}")
    function.heartbeat("begun")
    await asyncio.sleep(60)


async def beating(text: str) -> str:
    for n in range(8):
        await asyncio.sleep(0.05)
        function.heartbeat(n)
    return text


async def blocking(given: Note) -> None:
    """Block the event loop, as a synchronous client does."""
    did(f"block {given.text}")
    time.sleep(given.seconds)  # noqa: ASYNC251 - what it is about
    did(f"unblock {given.text}")


async def silent_blocking(given: Note) -> None:
    function.heartbeat()
    await blocking(given)


class Gateway(Exception):
    """An error of another library, with attributes that mean something else there."""

    status = 404
    retryable = False
    retry_after_s = 3600.0


async def foreign(text: str) -> int:
    did(f"foreign {text}")
    if times(f"foreign {text}") < 2:
        raise Gateway("bad gateway")
    return times(f"foreign {text}")


async def caused(text: str) -> None:
    try:
        raise ConnectionRefusedError("port 1 is closed")
    except ConnectionRefusedError as exc:
        raise ExceptionGroup("both", [KeyError("a"), ValueError(f"bad \ud800 {text}")]) from exc


async def returns_nothing(text: str) -> str:
    did(f"nothing {text}")
    return None  # type: ignore[return-value]  # what it is about


async def half_characters(text: str) -> str:
    return f"{text} \ud83d\ude00 \ud800"


async def attempt_cancels_itself(_text: str) -> None:
    raise asyncio.CancelledError


async def unserved(_text: str) -> None:
    """Not passed to the service."""


# Agents


class TeapotError(Exception):
    """Another library's, whose `status` means something else."""

    status = 418


@agent.defn()
class Counter:
    """Counts; the field `total` has the name of a state."""

    def __init__(self) -> None:
        self.total = 0
        self.order: list[int] = []
        self.end = False

    @agent.event
    async def add(self, n: int) -> int:
        self.total += n
        self.order.append(n)
        return int(self.total)

    @agent.event
    async def end(self) -> None:
        self.end = True

    @agent.event
    async def fail(self, text: str) -> None:
        raise ValueError(text)

    @agent.event
    async def add_later(self, n: int) -> int:
        """Interleave with other events: the step is waited for while they run."""
        await agent.step(note, {"text": f"{agent.agent_info().agent_id} {n}", "seconds": 0.05})
        self.total += n
        return int(self.total)

    @agent.state
    def total(self) -> int:
        return int(self.total)

    @agent.event
    async def refuse(self, text: str) -> None:
        raise TeapotError(text)

    @agent.state
    def seen(self) -> list[int]:
        return self.order

    @agent.state
    def at_least(self, n: int) -> bool:
        """Take an input."""
        return bool(self.total >= n)

    @agent.state
    def broken(self) -> None:
        raise TeapotError("no state today")

    @agent.state
    def restless(self) -> str:
        """Ask the engine, which a query must not."""
        return agent.uuid()

    @agent.state
    def who(self) -> list[Any]:
        info = agent.agent_info()
        return [info.agent_id, info.run_id, agent.all_events_finished()]

    @agent.run
    async def run(self) -> dict[str, Any]:
        log.info("Counting starts for", agent.agent_info().agent_id)
        await condition(lambda: self.end)
        return {"total": self.total, "order": self.order}


@agent.defn()
class Stepper:
    """Does what its input says, each with one of the options of a step."""

    @agent.run
    async def run(self, task: dict[str, Any]) -> Any:
        try:
            return await getattr(self, task["what"])(task["text"])
        except Exception as exc:  # noqa: BLE001 - the test reads what it was
            return f"{type(exc).__name__}: {exc}"

    async def model(self, text: str) -> Any:
        result = await agent.step(note, Note(text=text))
        return [type(result).__name__, result.text]

    async def thread(self, text: str) -> Any:
        return await agent.step(function=plain, function_input=text)

    async def retried(self, text: str) -> Any:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), max_attempts=3)
        return await agent.step(flaky, text, retry_policy=policy)

    async def gives_up(self, text: str) -> Any:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2, backoff_coefficient=1.5)
        return await agent.step(broken, {"text": text}, retry_policy=policy)

    async def non_retryable(self, text: str) -> Any:
        return await agent.step(broken, {"text": text, "how": "for good"})

    async def non_retryable_type(self, text: str) -> Any:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), non_retryable_error_types=["ValueError"])
        return await agent.step(broken, {"text": text}, retry_policy=policy)

    async def times_out(self, text: str) -> Any:
        policy = RetryPolicy(max_attempts=2, initial_interval=timedelta(milliseconds=10))
        limit = timedelta(milliseconds=50)
        return await agent.step(note, Note(text=text, seconds=60), start_to_close_timeout=limit, retry_policy=policy)

    async def all_attempts_time_out(self, text: str) -> Any:
        limit = timedelta(milliseconds=200)
        return await agent.step(note, Note(text=text, seconds=1), schedule_to_close_timeout=limit)

    async def no_worker(self, text: str) -> Any:
        limit = timedelta(milliseconds=200)
        return await agent.step(note, Note(text=text), task_queue="away", schedule_to_start_timeout=limit)

    async def no_queue(self, text: str) -> Any:
        return await agent.step(note, Note(text=text), task_queue="nobody")

    async def worker(self, text: str) -> Any:
        result = await agent.step(note, Note(text=text), schedule_to_start_timeout=timedelta(seconds=20))
        return result.text

    async def misses_heartbeat(self, text: str) -> Any:
        policy = RetryPolicy(max_attempts=2, initial_interval=timedelta(milliseconds=10))
        return await agent.step(silent, text, heartbeat_timeout=timedelta(milliseconds=100), retry_policy=policy)

    async def blocks(self, text: str) -> Any:
        policy = RetryPolicy(max_attempts=2, initial_interval=timedelta(milliseconds=10))
        limit = timedelta(milliseconds=300)
        note = Note(text=text, seconds=4)
        return await agent.step(blocking, note, start_to_close_timeout=limit, retry_policy=policy)

    async def blocks_for_long(self, text: str) -> Any:
        return await agent.step(blocking, Note(text=text, seconds=4))

    async def blocks_and_misses_heartbeat(self, text: str) -> Any:
        policy = RetryPolicy(max_attempts=1)
        limit = timedelta(milliseconds=300)
        return await agent.step(
            silent_blocking, Note(text=text, seconds=2), heartbeat_timeout=limit, retry_policy=policy
        )

    async def foreign(self, text: str) -> Any:
        return await agent.step(foreign, text, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)))

    async def caused(self, text: str) -> Any:
        return await agent.step(caused, text, retry_policy=RetryPolicy(max_attempts=1))

    async def nothing(self, text: str) -> Any:
        return [await agent.step(returns_nothing, text), await agent.step(returns_nothing, text)]

    async def half_characters(self, text: str) -> Any:
        return await agent.step(half_characters, text)

    async def cancels_itself(self, text: str) -> Any:
        return await agent.step(attempt_cancels_itself, text, retry_policy=RetryPolicy(max_attempts=1))

    async def beats(self, text: str) -> Any:
        return await agent.step(beating, text, heartbeat_timeout=timedelta(milliseconds=300))

    async def unknown(self, text: str) -> Any:
        return await agent.step(unserved, text)

    async def bad_input(self, _text: str) -> Any:
        return await agent.step(note, {"seconds": 1})

    async def gathered(self, text: str) -> Any:
        results = await asyncio.gather(*(agent.step(note, Note(text=f"{text} {n}")) for n in range(4)))
        return [result.text for result in results]

    async def cancelled_step(self, text: str) -> Any:
        try:
            async with asyncio.timeout(0.5):
                await agent.step(note, Note(text=text, seconds=1.5))
        except TimeoutError:
            return "timeout"
        return "no timeout"

    async def condition_times_out(self, _text: str) -> Any:
        await agent.condition(lambda: False, timeout=timedelta(milliseconds=50))

    async def forbidden(self, _text: str) -> Any:
        await asyncio.to_thread(print)

    async def ids(self, _text: str) -> Any:
        first, second = agent.uuid(), agent.uuid()
        await agent.sleep(0.01)
        return [first, second, agent.uuid()]


@agent.defn()
class Cleaner:
    """Waits until it is cancelled, then cleans up with a step."""

    @agent.run
    async def run(self, text: str) -> None:
        try:
            await agent.step(note, Note(text=text, seconds=LONG))
        finally:
            await agent.step(note, Note(text=f"cleanup {text}"))


@agent.defn()
class Slow:
    """Its handler takes a while; `run` ends at once when told."""

    def __init__(self) -> None:
        self.end = False
        self.handled: list[str] = []

    @agent.event
    async def work(self, text: str) -> str:
        await agent.sleep(0.2)
        self.handled.append(text)
        return text

    @agent.event
    async def stop(self) -> None:
        self.end = True

    @agent.run
    async def run(self) -> list[str]:
        await condition(lambda: self.end)
        return self.handled


@agent.defn()
class Surrogate:
    """Has half an emoji in all that it says."""

    def __init__(self) -> None:
        self.end = False

    @agent.event
    async def fail(self) -> None:
        raise ValueError("half \ud83d")

    @agent.event
    async def answer(self) -> list[str]:
        return ["half \ud83d", "\ud83d\ude00"]

    @agent.state
    def text(self) -> str:
        return "half \ud83d"

    @agent.event
    async def end(self) -> None:
        self.end = True

    @agent.run
    async def run(self) -> dict[str, str]:
        await condition(lambda: self.end)
        return {"text": "half \ud83d"}


@agent.defn()
class Stubborn:
    """Its handlers do not finish."""

    def __init__(self) -> None:
        self.end = ""

    @agent.event
    async def hang(self) -> None:
        await agent.sleep(3600)

    @agent.event
    async def resist(self) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await agent.sleep(3600)

    @agent.event
    async def stop(self, how: str) -> None:
        self.end = how

    @agent.run
    async def run(self) -> int:
        await condition(lambda: self.end)
        if self.end == "afresh":
            agent.agent_continue_as_new()
        return agent.agent_info().run_number


@agent.defn()
class Broken:
    """Fails in `run`, when an event comes."""

    def __init__(self) -> None:
        self.now = False

    @agent.event
    async def fail(self) -> None:
        self.now = True

    @agent.run
    async def run(self) -> None:
        await condition(lambda: self.now)
        raise RuntimeError("run is broken")


@agent.defn()
class BrokenAtBirth:
    """Fails before `run`."""

    def __init__(self) -> None:
        raise RuntimeError("never born")

    @agent.run
    async def run(self) -> None: ...


@agent.defn()
class Relay:
    """Counts events, continues as new every `every` of them, and hands its count over."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.end = False

    @agent.event
    async def take(self, n: int) -> int:
        self.seen.append(n)
        await agent.step(note, Note(text=f"{agent.agent_info().agent_id} {n}"))
        return n

    @agent.event
    async def finish(self) -> None:
        self.end = True

    @agent.state
    def runs(self) -> int:
        return agent.agent_info().run_number

    @agent.run
    async def run(self, state: dict[str, Any]) -> list[int]:
        before: list[int] = state["seen"]
        await condition(lambda: self.end or len(self.seen) >= state["every"])
        if not self.end:
            await condition(agent.all_events_finished)
            agent.agent_continue_as_new({"seen": before + self.seen, "every": state["every"]})
        return before + self.seen


@agent.defn()
class Afresh:
    """Continues as new, awaited and with the same input, until its third run."""

    @agent.run
    async def run(self, text: str) -> list[Any]:
        if agent.agent_info().run_number < 3:
            await agent.agent_continue_as_new()
        return [text, agent.agent_info().run_number]


# Families


@workflow.defn()
class Shout:
    @workflow.run
    async def run(self, text: str) -> str:
        if text == "nothing":
            raise ValueError("nothing to shout")
        shouted: str = await workflow.step(plain, text)
        return shouted


@agent.defn()
class Parent:
    """Does with children what its input says."""

    def __init__(self) -> None:
        self.end = False

    @agent.event
    async def end(self) -> None:
        self.end = True

    @agent.run
    async def run(self, task: dict[str, Any]) -> Any:
        try:
            return await getattr(self, task["what"])(task["id"])
        except Exception as exc:  # noqa: BLE001 - the test reads what it was
            return f"{type(exc).__name__}: {exc}"

    async def execute(self, child_id: str) -> Any:
        return await agent.child_execute(workflow=Shout, workflow_id=child_id, workflow_input="hello")

    async def execute_failing(self, child_id: str) -> Any:
        return await agent.child_execute(workflow=Shout, workflow_id=child_id, workflow_input="nothing")

    async def execute_endless(self, child_id: str) -> Any:
        return await agent.child_execute(agent=Cleaner, agent_id=child_id, agent_input=child_id)

    async def start(self, child_id: str) -> Any:
        started = await agent.child_start(agent=Counter, agent_id=child_id)
        await condition(lambda: self.end)
        return started

    async def start_abandoned(self, child_id: str) -> Any:
        policy = ParentClosePolicy.ABANDON
        return await agent.child_start(agent=Counter, agent_id=child_id, parent_close_policy=policy)

    async def start_cancelled(self, child_id: str) -> Any:
        policy = ParentClosePolicy.REQUEST_CANCEL
        started = await agent.child_start(
            agent=Cleaner, agent_id=child_id, agent_input=child_id, parent_close_policy=policy
        )
        await condition(lambda: self.end)
        return started

    async def both(self, _child_id: str) -> Any:
        return await agent.child_start(agent=Counter, workflow=Shout)

    async def bad_input(self, child_id: str) -> Any:
        return await agent.child_start(workflow=Shout, workflow_id=child_id, workflow_input=[1])

    async def bad_id(self, child_id: str) -> Any:
        return await agent.child_start(agent=Counter, agent_id=f"{child_id}\x1b[2J")

    async def big_input(self, child_id: str) -> Any:
        return await agent.child_start(workflow=Shout, workflow_id=child_id, workflow_input="x" * 100_000)

    async def start_twice(self, child_id: str) -> Any:
        await agent.child_start(agent=Counter, agent_id=child_id)
        return await agent.child_start(agent=Counter, agent_id=child_id)


@agent.defn()
class Juggler:
    """Uses what asyncio has, durably."""

    @agent.run
    async def run(self, words: list[str]) -> dict[str, Any]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        lock = asyncio.Lock()
        written: list[str] = []

        async def write(word: str) -> None:
            await asyncio.sleep(0.001 * len(word))
            async with lock:
                done: Note = await agent.step(note, {"text": f"{agent.agent_info().agent_id} {word}"})
                written.append(done.text.split()[-1])
                await queue.put(word)

        async with asyncio.TaskGroup() as group:
            for word in words:
                group.create_task(write(word))
        queued = [queue.get_nowait() for _ in words]
        try:
            async with asyncio.timeout(0.01):
                await queue.get()
        except TimeoutError:
            return {"written": written, "queued": queued, "timeout": True}
        return {}


@agent.defn()
class Ticker:
    """Waits again and again until its journal is long, then starts afresh once."""

    @agent.run
    async def run(self, ticks: int | None = None) -> int:
        if ticks is not None:
            return ticks
        ticks = 0
        while not agent.should_continue_as_new():
            ticks += 1
            await agent.sleep(0.001)
        agent.agent_continue_as_new(ticks)
        return -1


class Odd(BaseException):
    """Passes by every `except Exception`."""


def leave(how: str) -> Any:
    """Raise, or return, what no agent should."""
    match how:
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "odd":
            raise Odd("odd")
        case "bytes":
            return b"\xff"
        case "integer":
            return 10**5000
        case _:
            return how


@agent.defn()
class Leaver:
    """Leaves as it is told: in a handler, in a task of it, in a state, in a condition, and in `run`."""

    def __init__(self) -> None:
        self.how = ""

    @agent.event
    async def handler(self, how: str) -> Any:
        return leave(how)

    @agent.event
    async def task(self, how: str) -> Any:
        async def leaves() -> Any:
            await agent.sleep(0.01)
            return leave(how)

        return await asyncio.create_task(leaves())

    @agent.event
    async def predicate(self, how: str) -> None:
        await condition(lambda: leave(how))

    @agent.event
    async def end(self, how: str) -> None:
        self.how = how

    @agent.event
    async def wait(self) -> None:
        await agent.sleep(3600)

    @agent.state
    def state(self, how: str) -> Any:
        return leave(how)

    @agent.run
    async def run(self) -> Any:
        await condition(lambda: self.how)
        while self.how == "busy":  # noqa: ASYNC110 - the busy wait is what is tested
            await asyncio.sleep(0)
        return leave(self.how)


AGENTS = [
    Juggler,
    Ticker,
    Counter,
    Stepper,
    Cleaner,
    Slow,
    Stubborn,
    Surrogate,
    Broken,
    BrokenAtBirth,
    Leaver,
    Relay,
    Afresh,
    Parent,
]
FUNCTIONS: list[Callable[..., Any]] = [
    *(note, plain, flaky, broken, silent, beating, blocking, silent_blocking, foreign, caused, returns_nothing),
    *(half_characters, attempt_cancels_itself),
]


async def main(port: int) -> None:
    set_up_logging(get_settings().log_level)
    if len(sys.argv) > 2:  # a worker of another task queue
        app = restate.app(services(functions=FUNCTIONS, task_queue=sys.argv[2]))
    else:
        app = restate.app(services(agents=AGENTS, workflows=[Shout], functions=FUNCTIONS))
    await serve_until_stopped(app, Place("127.0.0.1", port, "PORT"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
