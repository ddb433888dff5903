"""Typed addresses of private handlers: where one is, what it takes and what it answers.

Holds no code of handlers: who serves one and who calls it both import its address, and mypy checks what is sent.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
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
    """Write a request as the JSON of its model, and None as no bytes. Journals keep these bytes."""

    def serialize(self, obj: BaseModel | None) -> bytes:
        return b"" if obj is None else obj.model_dump_json().encode()

    def deserialize(self, buf: bytes) -> Any:
        raise NotImplementedError("a request is read by the handler that it is for")


@dataclass(frozen=True)
class Address(Generic[I, O]):
    """The address of the handler `name` of `service`. It takes a `request` and returns an `answer`, both types."""

    service: str
    name: str
    request: type[I]
    answer: type[O]

    def __str__(self) -> str:
        return f"{self.service}/{self.name}"

    def _stand_in(self, service: Service | VirtualObject) -> Callable[[Any, I], Awaitable[O]]:
        """Return what the SDK takes for the handler itself when it calls it.

        The SDK finds service, name and serdes in what `service.handler` returns, and never runs that. `service` is made
        for this alone: no endpoint serves it.
        """

        async def stand_in(_ctx: Any, _request: I) -> O:
            raise NotImplementedError(f"{self} is called through Restate")

        kind = inspect.Parameter.POSITIONAL_ONLY
        parameters = [inspect.Parameter(name, kind) for name in ("ctx", "request")]
        annotated = inspect.Signature(parameters, return_annotation=self.answer)
        stand_in.__signature__ = annotated  # type: ignore[attr-defined]
        registered: Callable[[Any, I], Awaitable[O]] = service.handler(name=self.name, input_serde=Written())(stand_in)
        return registered


class ObjectAddress(Address[I, O]):
    """The address of a handler of a virtual object. A key says which object."""

    def call(self, ctx: AnyContext, key: str, request: I) -> RestateDurableCallFuture[O]:
        """Call the handler and return the future of its answer.

        Errors, when it is awaited: restate.TerminalError as the handler raised it.
        """
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
        """Send the request one-way, at once or after `delay`. A cancellation of the sender does not reach it."""
        return ctx.object_send(self._target, key, request, send_delay=delay, idempotency_key=idempotency_key)

    @cached_property
    def _target(self) -> Callable[[Any, I], Awaitable[O]]:
        return self._stand_in(VirtualObject(self.service))


class ServiceAddress(Address[I, O]):
    """The address of a handler of a service."""

    def call(self, ctx: AnyContext, request: I) -> RestateDurableCallFuture[O]:
        """Call the handler and return the future of its answer.

        Errors, when it is awaited: restate.TerminalError as the handler raised it.
        """
        return ctx.service_call(self._target, request)

    def send(self, ctx: AnyContext, request: I, *, delay: timedelta | None = None) -> SendHandle:
        """Send the request one-way, at once or after `delay`. A cancellation of the sender does not reach it."""
        return ctx.service_send(self._target, request, send_delay=delay)

    @cached_property
    def _target(self) -> Callable[[Any, I], Awaitable[O]]:
        return self._stand_in(Service(self.service))
