"""The tool calls of one iteration: runs them side by side and keeps an honest result for each, whatever happens.

Knows tools and results; not the LLM, the chat or the turn.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from app.durable import entrance, get_logger
from app.errors import AgentError, CallUnknown, ToolTimedOut
from app.text import clean, shorten, words_of
from app.tools import Tool
from app.tools.agents_of_chat import AgentsOfChat
from app.tools.asking import Told, asks
from app.tools.context import ToolContext
from app.tools.in_flight import tools_in_flight
from app.tools.progress import progress, tells
from app.tools.slots import Place, Slots
from app.turns.approval.words import refusal_of, why_unanswered, with_changed_arguments
from app.turns.context import synthetic_result
from app.turns.rollback.compensating import Done
from app.turns.transcript import LOGGED_CHARS, Question, Resolution, ToolCall, ToolItem, ToolOutcome, Verdict

logger = get_logger("agent_session")


async def _nobody(_position: int, _call: ToolCall, _question: Question | None) -> Resolution:
    return Resolution(verdict=Verdict.REJECTED, reason="there is nobody to ask")


class ToolCalls:
    """The calls of one assistant item. `owner` is whose they are, for the log; `chat_key`, `turn_id` and
    `agents` for the tools.

    `tell` is given each call that begins, and what it gave; `progress` the id of a call and how far its tool is;
    `approve` the place and the call that a person must approve, or whose question a person must answer; `done` each
    call that gave a result. `to_approve` are the places of calls that must be approved whatever their tool says.

    Durable: tools run on the durable loop, in a replay exactly as before.
    """

    def __init__(
        self,
        calls: Sequence[ToolCall],
        tools: Mapping[str, Tool],
        *,
        max_result_chars: int,
        owner: str = "nobody",
        chat_key: str = "",
        turn_id: int = 0,
        agents: AgentsOfChat | None = None,
        tell: Callable[[ToolCall | ToolItem], None] = lambda _: None,
        progress: Callable[[str, str], None] = lambda _, __: None,
        approve: Callable[[int, ToolCall, Question | None], Awaitable[Resolution]] = _nobody,
        to_approve: Collection[int] = (),
        done: Callable[[Done], None] = lambda _: None,
    ) -> None:
        self._calls = calls
        self._tools = tools
        self._max_result_chars = max_result_chars
        self._owner = owner
        self._context = ToolContext(chat_key=chat_key, turn_id=turn_id, chat_agents=agents)
        self._tell = tell
        self._progress = progress
        self._approve = approve
        self._to_approve = to_approve
        self._done = done
        self._started: set[str] = set()
        self._questions: Counter[int] = Counter()  # by the place of their call
        self._results: dict[str, ToolItem] = {}

    async def run(self, *, concurrency: int, skip: asyncio.Event) -> None:
        """Run the calls, at most `concurrency` at a time; once `skip` is set, no other one starts.

        A call of a tool that is not `parallel` runs alone. One that waits for approval takes no place.

        When cancelled: cancels the running tools, waits for their end, and raises CancelledError. `results` tells then
        what is known.
        """
        slots = Slots(concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                for position, call in enumerate(self._calls):
                    group.create_task(self._run_one(position, call, slots, skip))
        except asyncio.CancelledError:
            for call in self._calls:
                if call.call_id in self._started and call.call_id not in self._results:
                    self._tell(self._without_result(call))
            raise

    @property
    def results(self) -> list[ToolItem]:
        """A result for every call, in their order: skipped if it never started, unknown if it was cancelled."""
        return [self._results.get(call.call_id) or self._without_result(call) for call in self._calls]

    def _without_result(self, call: ToolCall) -> ToolItem:
        started = call.call_id in self._started
        return synthetic_result(call, ToolOutcome.UNKNOWN if started else ToolOutcome.SKIPPED)

    async def _run_one(self, position: int, call: ToolCall, slots: Slots, skip: asyncio.Event) -> None:
        tool = self._tools.get(call.name)
        changed: str | None = None
        if tool is not None and (position in self._to_approve or tool.asks(call.arguments)):
            resolution = await self._approve(position, call, None)
            if resolution.verdict is not Verdict.APPROVED:
                self._results[call.call_id] = synthetic_result(call, ToolOutcome.SKIPPED).changed(
                    content=clean(refusal_of(resolution))
                )
                return
            if (changed := resolution.arguments) is not None:
                call = call.changed(arguments=changed)
        place = Place(slots, alone=tool is not None and not tool.parallel)
        await place.take()
        try:
            if skip.is_set():
                return
            self._started.add(call.call_id)
            logger.info("Calling tool %s for %s: %s", call.name, self._owner, shorten(call.arguments, LOGGED_CHARS))
            self._tell(call)
            tells.set(partial(self._progress, call.call_id))  # for this task alone
            asks.set(partial(self._ask, place, position, call))
            if (in_flight := tools_in_flight()) is not None:
                entrance.set(partial(in_flight.place, progress()))
            content, outcome = await self._call(tool, call)
            if changed is not None:
                content = with_changed_arguments(content, changed)
        finally:
            place.leave()
        self._has_result(call, content, outcome)

    async def _ask(
        self, place: Place, position: int, call: ToolCall, message: str, form: dict[str, Any], asked_at: float
    ) -> Told:
        """Have a person answer the question of a call that runs; meanwhile others may have its place."""
        place.leave()
        self._questions[position] += 1
        number = self._questions[position]
        question = Question(message=message, answer_schema=form, asked_at=asked_at, number=number)
        resolution = await self._approve(position, call, question)
        await place.take()
        if resolution.verdict is Verdict.APPROVED:
            return Told(answer=json.loads(resolution.answer or "{}"))
        declined = resolution.verdict is Verdict.REJECTED and resolution.message_id is None
        return Told(declined=declined, why=why_unanswered(resolution))

    def _has_result(self, call: ToolCall, content: str, outcome: ToolOutcome) -> None:
        content = clean(content)
        if len(content) > self._max_result_chars:
            content = f"{content[: self._max_result_chars]}\n[cut off: {len(content)} characters]"
        result = ToolItem(call_id=call.call_id, name=call.name, content=content, outcome=outcome)
        self._results[call.call_id] = result
        self._tell(result)

    async def _call(self, tool: Tool | None, call: ToolCall) -> tuple[str, ToolOutcome]:
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return f"There is no tool {call.name!r}. The tools are: {known}.", ToolOutcome.FAILED
        try:
            called = await tool.called(call.arguments, replace(self._context, call_id=call.call_id))
            self._done(Done(call.call_id, tool, called.arguments, called.result))
            return tool.text_of(called), ToolOutcome.OK
        except (ToolTimedOut, CallUnknown) as exc:
            return exc.message, ToolOutcome.UNKNOWN
        except AgentError as exc:
            return words_of(exc), ToolOutcome.FAILED
        except Exception as exc:  # a tool's failure is a result for the LLM
            logger.warning("Tool %s failed for %s", call.name, self._owner, exc_info=True)
            return f"The tool failed: {type(exc).__name__}({words_of(exc)!r})", ToolOutcome.FAILED
