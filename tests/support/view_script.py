"""A chat that never was: random turns, texts, tools, failures and crashes, as the view of a chat would tell of them.

The truth is in `turns`; `snapshot` is what somebody who joins now is told.
"""

import random
from collections.abc import Iterator

from app.live.events import CallEnded, CallStarted, Resync, TextAdded, TextId, ThoughtAdded, ToolEnded, ToolStarted
from app.turns.control import OpenTurn, Session
from app.turns.modes import Mode
from app.turns.reading.history import TurnView, status_of, view_of
from app.turns.transcript import (
    AssistantItem,
    Finish,
    Item,
    Message,
    Thought,
    ToolCall,
    ToolItem,
    Turn,
    TurnStatus,
    UserItem,
)
from app.web.watch.events import StatusSeen, TurnSeen, ViewEvent

OPEN = (TurnStatus.QUEUED, TurnStatus.RUNNING)


class ScriptedChat:
    """One chat. Iterating `events` plays it to its end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.turns: dict[int, Turn] = {}
        self.texts: dict[TextId, str] = {}  # of each call, all that it wrote
        self.thoughts: dict[TextId, str] = {}  # of each call, all that it thought
        self.running: TextId | None = None
        self.tools: list[ToolStarted] = []
        self._attempts = 0
        self._messages = 0

    @property
    def status(self) -> StatusSeen:
        open_turns = tuple(OpenTurn(turn_id=n) for n, turn in self.turns.items() if turn.status in OPEN)
        session = Session(last_turn_id=max(self.turns, default=0), open=open_turns)
        return StatusSeen(status_of(session, self.turns, Mode.QUEUE))

    @property
    def views(self) -> list[TurnView]:
        return [view_of(turn) for turn in self.turns.values()]

    def snapshot(self) -> list[ViewEvent]:
        """What the view tells who joins: state, open turns and the newest closed one, what runs."""
        closed = [view for view in self.views if view.status not in OPEN]
        told: list[ViewEvent] = [self.status]
        told += [TurnSeen(view) for view in self.views if view.status in OPEN or view in closed[-1:]]
        if self.running is not None:
            told += [CallStarted(self.running), ThoughtAdded(self.running, 0, self.thoughts[self.running])]
            told += [TextAdded(self.running, 0, self.texts[self.running])]
        return [*told, *self.tools]

    def events(self, turns: int) -> Iterator[ViewEvent]:
        """Play `turns` turns."""
        for _ in range(turns):
            yield from self._turn()

    def say(self, turn_id: int) -> Iterator[ViewEvent]:
        """Let somebody send a message to a turn, for which it waits there."""
        self._messages += 1
        message = Message(message_id=f"m-{self._messages}", content=f"message {self._messages}", mode=Mode.STEER)
        yield from self._change(turn_id, pending=(*self.turns[turn_id].pending, message))

    def _turn(self) -> Iterator[ViewEvent]:
        n = max(self.turns, default=0) + 1
        self.turns[n] = Turn(turn_id=n)
        yield from self.say(n)
        self._give(n)
        yield from self._change(n, status=TurnStatus.RUNNING)
        for _ in range(self.random.randint(1, 4)):
            yield from self._iteration(n)
        yield from self._reply(n, calls=0)
        end = self.random.choice([TurnStatus.COMPLETED, TurnStatus.COMPLETED, TurnStatus.FAILED])
        yield from self._change(n, status=end, error="why" if end is TurnStatus.FAILED else None)

    def _iteration(self, n: int) -> Iterator[ViewEvent]:
        match self.random.choice(["tools", "tools", "incorporate", "steer", "fail", "crash"]):
            case "tools":
                yield from self._reply(n, calls=self.random.randint(1, 3))
            case "incorporate":
                yield from self.say(n)
                yield from self._reply(n, calls=0)
                self._give(n)
                yield from self._change(n)
            case "steer":
                yield from self._write(n)
                yield from self.say(n)
                yield from self._end_call()
                yield from self._keep(n, Finish.ABORTED, ())
                self._give(n)
                yield from self._change(n)
            case "fail":
                yield from self._write(n)
                yield from self._end_call()
            case "crash":
                yield from self._write(n)
                self.running = None

    def _reply(self, n: int, *, calls: int) -> Iterator[ViewEvent]:
        yield from self._write(n)
        text_id = self.running
        assert text_id is not None
        yield from self._end_call()
        asked = tuple(ToolCall(call_id=f"call_{i}", name="work", arguments=f'{{"n": {i}}}') for i in range(calls))
        self.tools = [ToolStarted(text_id, call.call_id, call.name, call.arguments) for call in asked]
        yield from self.tools
        if calls and self.random.random() < 0.2:  # the process dies: the tools run again
            yield from self.tools
        results = [ToolItem(call_id=call.call_id, name="work", content=f"did {call.call_id}") for call in asked]
        for result in results:
            self.tools = [tool for tool in self.tools if tool.call_id != result.call_id]
            yield ToolEnded(n, result.call_id, result.content, str(result.outcome))
        yield from self._keep(n, Finish.TOOL_CALLS if calls else Finish.STOP, asked, *results)

    def _write(self, n: int) -> Iterator[ViewEvent]:
        self._attempts += 1
        text_id = self.running = TextId(n, len(self.turns[n].items), f"a{self._attempts}")
        self.texts[text_id] = self.thoughts[text_id] = ""
        yield CallStarted(text_id)
        for _ in range(self.random.choice([0, 1, 3, 8])):
            if self.random.random() < 0.3:
                thought = self.random.choice(["hm ", "🙂"])
                before = len(self.thoughts[text_id])
                self.thoughts[text_id] += thought
                yield ThoughtAdded(text_id, before, thought)
            piece = self.random.choice(["word ", "ä€", "🙂", "\n\n", "longer than the others "])
            before = len(self.texts[text_id])
            self.texts[text_id] += piece
            yield TextAdded(text_id, before, piece)

    def _end_call(self) -> Iterator[ViewEvent]:
        text_id, self.running = self.running, None
        assert text_id is not None
        yield CallEnded(text_id)

    def _keep(self, n: int, finish: Finish, calls: tuple[ToolCall, ...], *results: Item) -> Iterator[ViewEvent]:
        text, thoughts = next(reversed(self.texts.values())), next(reversed(self.thoughts.values()))
        if text or calls or thoughts:
            thought = Thought(text=thoughts) if thoughts else None
            item = AssistantItem(content=text, tool_calls=calls, finish=finish, thought=thought)
            yield from self._change(n, items=(*self.turns[n].items, item, *results))

    def _give(self, n: int) -> None:
        turn = self.turns[n]
        given = tuple(UserItem(message_id=m.message_id, content=m.content) for m in turn.pending)
        self.turns[n] = turn.changed(items=(*turn.items, *given), pending=())

    def _change(self, n: int, **fields: object) -> Iterator[ViewEvent]:
        self.turns[n] = self.turns[n].changed(**fields)
        yield self.status
        yield TurnSeen(view_of(self.turns[n]))


def with_losses(chat: ScriptedChat, events: Iterator[ViewEvent]) -> Iterator[ViewEvent]:
    """Play `events` of a chat for somebody who is too slow at times: some are lost, and a fresh snapshot follows."""
    for event in events:
        if chat.random.random() < 0.03:
            for _ in range(chat.random.randint(0, 10)):
                next(events, None)
            yield from (Resync(), *chat.snapshot())
        else:
            yield event
    yield from (Resync(), *chat.snapshot())
