"""`app/address.py`, and the handlers at the addresses: they read what is sent, and none is missing."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType, NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import pytest
from pydantic import BaseModel
from restate import ObjectContext, Service, VirtualObject
from restate.handler import Handler, handler_from_callable
from restate.server_context import ServerInvocationContext

from app.address import Address, ObjectAddress, ServiceAddress
from app.agent_session import agent_session
from app.background.functions.addresses import called_at
from app.background.functions.service import service_of_function
from app.background.mailbox import addresses as mailbox
from app.background.mailbox.service import background_agent
from app.background.run import addresses as runs
from app.background.run.watch import background_runs
from app.background.schedules import addresses as schedules
from app.background.schedules.service import background_schedule
from app.background.schedules.spec import ScheduleSpec
from app.boundary import private_handler
from app.chat_for_agents import chat_service
from app.errors import DefinitionError
from app.turns import addresses as turns
from app.turns.compaction.service import chat_summary
from app.turns.protocol import TakeInput, TurnRef

SERVED = {each.name: each for each in (chat_service, agent_session, background_agent, background_runs)}
SERVED |= {each.name: each for each in (background_schedule, chat_summary)}

HOSTILE = 'Grüße 🙂 \u2028 \x1b[2J "quoted" \\ \''
SAMPLES: dict[object, object] = {
    str: HOSTILE,
    int: 3,
    float: 0.25,
    bool: True,
    datetime: datetime(2026, 11, 21, 12, 30, 0, 123456, tzinfo=UTC),
    dict[str, str]: {HOSTILE: HOSTILE},
    Any: {"text": [HOSTILE, None, 1.5]},
    ScheduleSpec: ScheduleSpec(cron_expressions=("0 9 * * *",)),
}


def declared(modules: Sequence[ModuleType]) -> list[Address[Any, Any]]:
    """Return the addresses that stand in modules."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Address)]


ADDRESSES = declared((turns, mailbox, runs, schedules))


def sample(kind: Any) -> Any:
    """Return a value of a type: a model with its required fields, a tuple of one, a text that is hard to write."""
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType, Annotated):
        return sample(of[0])
    if origin is Literal:
        return of[0]
    if origin is tuple:
        return (sample(of[0]),)
    if kind in SAMPLES:
        return SAMPLES[kind]
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    needed = {name: field for name, field in kind.model_fields.items() if field.is_required()}
    return kind(**{name: sample(field.annotation) for name, field in needed.items()})


class RecordingContext(ServerInvocationContext):
    """The SDK's context of an attempt, on an engine that notes what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.journal_codec = None
        note: Any = SimpleNamespace(sys_send=self._note, sys_call=self._note, is_replaying=lambda: False)
        self.vm = note

    def _note(self, service: str, handler: str, parameter: bytes, key: str | None, **options: Any) -> Any:
        self.sent.append({"to": f"{service}/{handler}", "bytes": parameter, "key": key, **options})
        return SimpleNamespace(result_handle=1, invocation_id_handle=2)


def read_by(handler: Handler[Any, Any], sent: bytes) -> object:
    """Return what a handler is given of the bytes of a request."""
    return handler.handler_io.input_serde.deserialize(sent) if handler.arity == 2 else None


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_request_is_read_as_it_was_sent(address: ObjectAddress[Any, Any] | ServiceAddress[Any, Any]) -> None:
    """What `call` and `send` write is what the handler that is served at the address reads."""
    handler = SERVED[address.service].handlers[address.name]
    request = None if address.request is NoneType else sample(address.request)
    context = RecordingContext()
    key = (HOSTILE,) if isinstance(address, ObjectAddress) else ()
    ways: list[Callable[..., object]] = [address.call, address.send]
    for way in ways:
        way(context, *key, request)

    for sent in context.sent:
        assert (sent["to"], sent["key"]) == (str(address), key[0] if key else None)
        assert read_by(handler, sent["bytes"]) == request
        assert handler.arity == 2 or sent["bytes"] == b""
    assert len(context.sent) == 2


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_answer_is_read_as_it_was_given(address: ObjectAddress[Any, Any] | ServiceAddress[Any, Any]) -> None:
    """What the handler at an address answers is what the caller reads."""
    handler = SERVED[address.service].handlers[address.name]
    answer = None if address.answer is NoneType else sample(address.answer)

    written = handler.handler_io.output_serde.serialize(answer)
    assert handler_from_callable(address._target).handler_io.output_serde.deserialize(written) == answer


def test_options_of_a_send_arrive() -> None:
    """A delay and an idempotency key reach the engine."""
    context = RecordingContext()
    turns.PROBE.send(
        cast(ObjectContext, context),
        "ellie",
        sample(turns.PROBE.request),
        delay=timedelta(seconds=2),
        idempotency_key="i",
    )
    assert (context.sent[0]["delay"], context.sent[0]["idempotency_key"]) == (2000, "i")


def test_every_private_handler_has_an_address() -> None:
    """What is kept from clients is declared as an address, and each address is served privately."""
    private = {
        f"{service.name}/{name}"
        for service in SERVED.values()
        for name, handler in service.handlers.items()
        if handler.ingress_private
    }
    assert private == {str(address) for address in ADDRESSES}


def test_stand_ins_are_served_nowhere() -> None:
    """What the SDK is given in place of a handler is never a handler that somebody serves."""
    for address in cast("list[ObjectAddress[Any, Any]]", ADDRESSES):
        assert handler_from_callable(address._target) is not SERVED[address.service].handlers[address.name]


async def test_stand_in_refuses_to_run() -> None:
    """A stand-in that is called like a function says how it is meant."""
    with pytest.raises(NotImplementedError, match="ChatService/take_input is called through Restate"):
        await turns.TAKE_INPUT._target(None, TakeInput(turn_id=1, invocation_id="i", doorbell="d"))


def test_functions_are_served_at_their_address() -> None:
    """The service of one function reads what is sent to the address that its name leads to."""
    service = service_of_function("restack", "work", inactivity_timeout=None)
    (handler,) = service.handlers.values()
    address = called_at(service.name)
    assert str(address) == f"{service.name}/{handler.name}"
    request = sample(address.request)
    context = RecordingContext()
    address.send(cast(ObjectContext, context), request)
    assert read_by(handler, context.sent[0]["bytes"]) == request


# A handler that is not what its address says

AT = ObjectAddress("Chat", "settle", TurnRef, TakeInput)


def named(name: str, handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    handle.__name__ = name
    return handle


async def settle(_ctx: ObjectContext, request: TurnRef) -> TakeInput:
    return TakeInput(turn_id=request.turn_id, invocation_id="i", doorbell="d")


async def takes_another(_ctx: ObjectContext, _request: TakeInput) -> TakeInput:
    raise NotImplementedError


async def takes_nothing(_ctx: ObjectContext) -> TakeInput:
    raise NotImplementedError


async def answers_another(_ctx: ObjectContext, _request: TurnRef) -> TurnRef:
    raise NotImplementedError


async def answers_nothing(_ctx: ObjectContext, _request: TurnRef) -> None:
    raise NotImplementedError


async def says_nothing(_ctx, _request):  # type: ignore[no-untyped-def]
    raise NotImplementedError


@pytest.mark.parametrize(
    ("handle", "found"),
    [
        (takes_another, "Chat/settle(TakeInput) -> TakeInput"),
        (takes_nothing, "Chat/settle(NoneType) -> TakeInput"),
        (answers_another, "Chat/settle(TurnRef) -> TurnRef"),
        (answers_nothing, "Chat/settle(TurnRef) -> NoneType"),
        (says_nothing, "Chat/settle(?) -> ?"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_other_types_are_refused(handle: Callable[..., Awaitable[Any]], found: str) -> None:
    """A handler with another request or answer than its address is refused where it is declared, with both named."""
    with pytest.raises(DefinitionError) as raised:
        private_handler(VirtualObject("Chat"), AT)(named("settle", handle))
    assert raised.value.message == (
        f"The address is Chat/settle(TurnRef) -> TakeInput, but its handler is {found}: correct one of the two"
    )


@pytest.mark.parametrize(("service", "name"), [("Chat", "end"), ("Session", "settle")])
def test_other_names_are_refused(service: str, name: str) -> None:
    """A handler with another name than its address, or of another service, is refused where it is declared."""
    with pytest.raises(DefinitionError, match=f"but its handler is {service}/{name}\\(TurnRef\\) -> TakeInput"):
        private_handler(VirtualObject(service), ObjectAddress("Chat", "settle", TurnRef, TakeInput))(
            named(name, settle)
        )


def test_handler_that_fits_is_private() -> None:
    """A handler that is what its address says is registered, out of reach of clients, with its options."""
    service = VirtualObject("Chat")
    private_handler(service, AT, kind="shared")(named("settle", settle))

    known = service.handlers["settle"]
    assert (known.ingress_private, known.kind) == (True, "shared")
    plain = Service("Plain")
    private_handler(plain, ServiceAddress("Plain", "settle", TurnRef, TakeInput))(named("settle", settle))
    assert plain.handlers["settle"].ingress_private


def test_address_does_not_change() -> None:
    """Addresses are values: two that say the same are equal, and none can be changed."""
    assert ObjectAddress("Chat", "settle", TurnRef, TakeInput) == AT
    assert ObjectAddress("Chat", "settle", TurnRef, TurnRef) not in (AT,)
    with pytest.raises(AttributeError):
        AT.name = "run"  # type: ignore[misc]


def test_every_request_is_a_model_or_nothing() -> None:
    """What is sent is a model, whose JSON the handler reads, or nothing."""
    kinds = {address.request for address in ADDRESSES} - {NoneType}
    assert all(issubclass(kind, BaseModel) for kind in kinds)
