"""A chat in memory: does with a Conversation what `store.py` does, without an engine and without storage."""

from collections.abc import Callable
from typing import Any, TypeVar

from app.turns.compaction.summary import Summary
from app.turns.control import Cancel, Effect, Probe, Session, Settle, Start, SumUp
from app.turns.conversation import Conversation
from app.turns.modes import Decision, Mode
from app.turns.protocol import EndTurn, Receipt, Report, TakeInput, TurnEnd, TurnRef
from app.turns.transcript import AssistantItem, Item, Message, Turn, TurnStatus, UserItem

T = TypeVar("T")


class FakeChat:
    """Each change works on a fresh Conversation; runs get the invocation ids inv_1, inv_2, … in the order sent.

    `effects` are those of the last change, `watched` the turns that it wants settled when their runs are over, `probed`
    those whose runs it wants looked at; `sent` the turns whose run was sent, by invocation id. `summaries` are the
    invocations that sum up, sum_1, sum_2, …; `summary` is what stands under its key.
    """

    def __init__(self) -> None:
        self.session = Session()
        self.turns: dict[int, Turn] = {}
        self.effects: list[Effect] = []
        self.watched: list[int] = []
        self.probed: list[int] = []
        self.sent: dict[str, Start] = {}
        self.summaries: list[str] = []
        self.summary: Summary | None = None
        self._messages = 0

    def change(self, act: Callable[[Conversation], T]) -> T:
        """Load, act, carry out the effects, store."""
        conversation = Conversation(self.session, self.turns.values())
        result = act(conversation)
        starts = [effect.turn_id for effect in conversation.effects if isinstance(effect, Start)]
        assert len(starts) == len(set(starts)), "a turn has one run"
        assert all(effect.invocation_id for effect in conversation.effects if isinstance(effect, Cancel))
        for effect in conversation.effects:
            if isinstance(effect, Start):
                invocation_id = f"inv_{len(self.sent) + 1}"
                self.sent[invocation_id] = effect
                conversation.started(effect.turn_id, invocation_id)
            elif isinstance(effect, SumUp):
                self.summaries.append(f"sum_{len(self.summaries) + 1}")
                conversation.summary_sent(self.summaries[-1])
        self.watched = [effect.turn_id for effect in conversation.effects if isinstance(effect, Settle)]
        self.probed = [n for effect in conversation.effects if isinstance(effect, Probe) for n in effect.turn_ids]
        self.effects = [effect for effect in conversation.effects if not isinstance(effect, Settle | Probe)]
        self.turns |= {turn_id: conversation.turns[turn_id] for turn_id in conversation.changed}
        self.session = conversation.session
        self.summary = conversation.new_summary or self.summary
        return result

    # What people do

    def say(self, content: str = "", mode: Mode = Mode.INTERRUPT) -> Receipt:
        """Send a message; its id is m1, m2, … and its text the id unless given."""
        self._messages += 1
        message_id = f"m{self._messages}"
        message = Message(message_id=message_id, content=content or message_id, mode=mode)
        return self.change(lambda chat: chat.receive(message))

    def decision(self, mode: Mode) -> Decision:
        return self.say(mode=mode).decision

    # What runs do

    def ref(self, turn_id: int) -> TurnRef:
        return TurnRef(turn_id=turn_id, invocation_id=self.turns[turn_id].invocation_id)

    def begin(self, turn_id: int) -> bool:
        return self.change(lambda chat: chat.begin(self.ref(turn_id)))

    def arm(self, turn_id: int, doorbell: str, *, steer_only: bool = False) -> None:
        self.change(lambda chat: chat.arm(self.ref(turn_id), doorbell, steer_only=steer_only))

    def take(self, turn_id: int, doorbell: str | None = None) -> list[str]:
        """Return the ids of the messages that the run was given."""
        request = TakeInput(**dict(self.ref(turn_id)), doorbell=doorbell)
        return ids(self.change(lambda chat: chat.take(request)).messages)

    def record(self, turn_id: int, *items: Item, offset: int = 0, **fields: object) -> None:
        report = Report(**dict(self.ref(turn_id)), offset=offset, items=items, **fields)
        self.change(lambda chat: chat.record(report))

    def end(
        self,
        turn_id: int,
        outcome: TurnStatus = TurnStatus.COMPLETED,
        *,
        ref: TurnRef | None = None,
        may_go_on: bool = False,
        digest: str = "",
        items: tuple[Item, ...] = (),
        offset: int = 0,
        error: str | None = None,
        sum_up: int = 0,
        ended_at: float | None = None,
    ) -> TurnEnd:
        """End the turn as a run does."""
        end: dict[str, Any] = {"outcome": outcome, "may_go_on": may_go_on, "digest": digest, "error": error}
        report = EndTurn(
            **dict(ref or self.ref(turn_id)), offset=offset, items=items, sum_up=sum_up, ended_at=ended_at, **end
        )
        return self.change(lambda chat: chat.end(report))

    # What a test looks at

    @property
    def open_turns(self) -> list[int]:
        return [turn.turn_id for turn in self.session.open]

    def status(self, turn_id: int) -> TurnStatus:
        return self.turns[turn_id].status

    def pending(self, turn_id: int) -> list[str]:
        return ids(self.turns[turn_id].pending)

    @property
    def waiting(self) -> list[str]:
        """The ids of the messages that wait in open turns."""
        return [message_id for turn_id in self.open_turns for message_id in self.pending(turn_id)]

    @property
    def held(self) -> list[str]:
        return ids(self.session.held or ())

    def is_open(self, ref: TurnRef) -> bool:
        """Return whether the chat listens to this run."""
        return Conversation(self.session, self.turns.values()).is_open(ref)

    def heard(self, turn_id: int) -> list[str]:
        """The ids of the messages that are in the items of a turn."""
        return [item.message_id for item in self.turns[turn_id].items if isinstance(item, UserItem)]


def ids(messages: tuple[Message, ...]) -> list[str]:
    return [message.message_id for message in messages]


def messages(*message_ids: str, mode: Mode = Mode.INTERRUPT) -> tuple[Message, ...]:
    """Messages of these ids, as `FakeChat.say` makes them."""
    return tuple(Message(message_id=m, content=m, mode=mode, number=int(m[1:])) for m in message_ids)


def said(text: str) -> AssistantItem:
    """An answer of the LLM."""
    return AssistantItem(content=text)
