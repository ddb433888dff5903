"""Typed addresses: where a private handler is, what it takes and what it answers. Both sides import the address.

So nobody imports a handler to call it, and what is sent is checked by mypy. Knows names and shapes; handles nothing.
"""

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from restate import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    RestateDurableCallFuture,
    SendHandle,
    Service,
    VirtualObject,
)
from restate.serde import Serde

I = TypeVar("I", bound="BaseModel | None")  # noqa: E741 - what goes in
O = TypeVar("O")  # noqa: E741 - what comes out

AnyContext = Context | ObjectContext | ObjectSharedContext


class Written(Serde[Any]):
    """Requests as they are sent: the JSON of a model, nothing for None. Bytes are part of journals."""

    def serialize(self, obj: BaseModel | None) -> bytes:
        return b"" if obj is None else obj.model_dump_json().encode()

    def deserialize(self, buf: bytes) -> Any:
        raise NotImplementedError("a request is read by the handler that it is for")


class Address(Generic[I, O]):
    """The address of the handler `name` of `service`; `request` and `answer` are the types of what goes in and out."""

    def __init__(self, service: str, name: str, request: type[I], answer: type[O]) -> None:
        self.service = service
        self.name = name
        self.request = request
        self.answer = answer

    def __repr__(self) -> str:
        return f"{self.service}/{self.name}"

    def _stand_in(self, service: Service | VirtualObject) -> Callable[[Any, I], Awaitable[O]]:
        """Return what the SDK takes for the handler itself when it is called."""

        async def stand_in(_ctx: Any, _request: I) -> O:
            raise NotImplementedError(f"{self!r} is called through Restate")

        kind = inspect.Parameter.POSITIONAL_ONLY
        parameters = [inspect.Parameter(name, kind) for name in ("ctx", "request")]
        annotated = inspect.Signature(parameters, return_annotation=self.answer)
        stand_in.__signature__ = annotated  # type: ignore[attr-defined]
        registered: Callable[[Any, I], Awaitable[O]] = service.handler(name=self.name, input_serde=Written())(stand_in)
        return registered


class ObjectAddress(Address[I, O]):
    """The address of a handler of a virtual object; a key says which object."""

    def __init__(self, service: str, name: str, request: type[I], answer: type[O]) -> None:
        super().__init__(service, name, request, answer)
        self._target = self._stand_in(VirtualObject(service))

    def call(self, ctx: AnyContext, key: str, request: I) -> RestateDurableCallFuture[O]:
        """Call the handler; await the answer. Errors: restate.TerminalError as it was raised there."""
        return ctx.object_call(self._target, key, request)

    def send(
        self,
        ctx: AnyContext,
        key: str,
        request: I,
        *,
        delay: timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> SendHandle:
        """Send one-way, now or after `delay`: no cancellation of the sender reaches it."""
        return ctx.object_send(self._target, key, request, send_delay=delay, idempotency_key=idempotency_key)


class ServiceAddress(Address[I, O]):
    """The address of a handler of a service."""

    def __init__(self, service: str, name: str, request: type[I], answer: type[O]) -> None:
        super().__init__(service, name, request, answer)
        self._target = self._stand_in(Service(service))

    def call(self, ctx: AnyContext, request: I) -> RestateDurableCallFuture[O]:
        """Call the handler; await the answer. Errors: restate.TerminalError as it was raised there."""
        return ctx.service_call(self._target, request)

    def send(self, ctx: AnyContext, request: I, *, delay: timedelta | None = None) -> SendHandle:
        """Send one-way, now or after `delay`: no cancellation of the sender reaches it."""
        return ctx.service_send(self._target, request, send_delay=delay)
