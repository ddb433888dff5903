"""Handlers as Restate and its clients see them: input is checked, and every error is answered with a sentence.

What a handler does with good input is not its matter.
"""

import functools
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, overload

from pydantic import BaseModel, ValidationError
from restate import InvocationRetryPolicy, ObjectContext, Service, TerminalError, VirtualObject
from restate.exceptions import RetryableError, SdkInternalBaseException
from restate.serde import Serde
from restate.server_context import DisconnectedException
from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

from app.address import Address, I, O, Written
from app.errors import AgentError, BrokenState, DefinitionError, TooLarge, UsageError
from app.settings import get_settings
from app.text import clean, printable, shorten
from app.values import Input, problems_of

M = TypeVar("M", bound=BaseModel)
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

logger = logging.getLogger("boundary")

# The attempt is over: there is nobody to answer, and the engine tries again.
_ATTEMPT_ENDS = (DisconnectedException, VMException, SdkInternalBaseException)


def _retries(max_attempts: int, then: Literal["kill", "pause"]) -> InvocationRetryPolicy:
    return InvocationRetryPolicy(
        initial_interval=timedelta(milliseconds=50),
        exponentiation_factor=2,
        max_interval=timedelta(seconds=2),  # a turn goes on this long after a restart of the service, at the latest
        max_attempts=max_attempts,
        on_max_attempts=then,
    )


# Only what the code cannot answer is retried (a dead process, a lost connection): exceptions end a handler at once.
# A client waits about a minute. What the agent itself sends survives an outage of an hour and a half.
PUBLIC_RETRIES = _retries(36, "kill")
PRIVATE_RETRIES = _retries(2700, "kill")
# What runs for months must outlast an outage of a week. Then it pauses, and can be resumed.
PATIENT_RETRIES = _retries(300_000, "pause")

MAX_KEY_CHARS = 256  # a key comes from a URL, and is part of log lines and of every list of chats
_SMALLEST_BODY_LIMIT = 4 * 2**20  # bytes; what is wrong with a body of 30 MB took 15 s to say
_BYTES_PER_CHAR = 12  # of a character that JSON writes as two escapes
_LONGEST_ERROR = 4000  # characters; it becomes part of journals


class Nothing(Input):
    """No input: an empty body, null or an empty object."""


class _Refused:
    """Input that does not fit. The SDK would answer 500 if its deserializer raised."""

    def __init__(self, error: UsageError) -> None:
        self.error = error


class _CheckedInput(Serde[Any], Generic[M]):
    """Reads the input of a handler. `bounded` refuses a body that is longer than any message can be."""

    def __init__(self, model: type[M], *, bounded: bool) -> None:
        self._model = model
        self._bounded = bounded

    def deserialize(self, buf: bytes) -> M | _Refused:
        if self._bounded and len(buf) > (limit := _body_limit()):
            return _Refused(TooLarge(f"The body has {len(buf)} bytes, the limit is {limit}: send less at a time"))
        body = b"{}" if not buf or buf.strip() == b"null" else buf
        try:
            return self._model.model_validate_json(body)
        except ValidationError as exc:
            return _Refused(UsageError(_explain(exc, self._model)))

    def serialize(self, obj: Any) -> bytes:
        return Written().serialize(obj)


def _body_limit() -> int:
    """Return a limit in bytes that leaves room for the longest message, however it is escaped."""
    return max(_SMALLEST_BODY_LIMIT, get_settings().max_message_chars * _BYTES_PER_CHAR + 2**16)


def _explain(exc: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong, and an example of what is right."""
    example = next(iter(model.model_json_schema().get("examples", [])), None)
    hint = f" Send for example {json.dumps(example, ensure_ascii=False)}" if example else ""
    return f"Bad input. {problems_of(exc, whole='the body')}.{hint}"


def _check_key(key: str) -> None:
    """Raise UsageError for a key that is too long, or would drive a terminal from a log line."""
    if len(key) > MAX_KEY_CHARS:
        raise UsageError(f"The key has {len(key)} characters, the limit is {MAX_KEY_CHARS}: use a shorter one")
    if printable(key) != key:
        raise UsageError(f"The key {key!r} has control characters: use one without")


def handler(
    service: Service | VirtualObject,
    *,
    private: bool = False,
    kind: Literal["exclusive", "shared"] = "exclusive",
    retries: InvocationRetryPolicy | None = None,
    **options: Any,
) -> Callable[[H], H]:
    """Register a coroutine function as a handler of `service`. Its docstring becomes the description.

    Shapes: handle(ctx) or handle(ctx, input: pydantic model). An empty body is a model with all defaults. `kind` is for
    virtual objects, as handlers of a service have no key to share.
    Errors at the client: 400 for input or a key that does not fit, the status of an AgentError that has one, 500 for
    a bug. A bug ends the handler at once, because retrying it would hold the key of the object.
    """
    keyed = isinstance(service, VirtualObject)

    def register(handle: H) -> H:
        signature = inspect.signature(handle)
        parameters = list(signature.parameters.values())
        takes_input = len(parameters) > 1
        if not takes_input and not private:
            # Declared as input: a body where none is expected is otherwise refused by the ingress, `{}` too.
            parameters.append(inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Nothing))
        if len(parameters) > 1:
            options["input_serde"] = _CheckedInput(parameters[1].annotation, bounded=not private)
        if keyed:
            options["kind"] = kind

        @functools.wraps(handle)
        async def checked(ctx: ObjectContext, *request: Any) -> Any:
            try:
                if keyed and not private:
                    _check_key(ctx.key())
                if request and isinstance(request[0], _Refused):
                    raise request[0].error
                return await handle(ctx, *(request if takes_input else ()))
            except (Exception, BaseExceptionGroup) as exc:
                name = f"{service.name}.{handle.__name__}"
                answer = _answer(exc, name, f"{name} of {ctx.key()}" if keyed else name)
                if answer is exc:
                    raise
                # From none where `exc` wraps it: a chain that bites its tail hangs the SDK, which follows causes.
                raise answer from exc if isinstance(answer, TerminalError) else None

        checked.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        register_checked: Callable[[Any], H] = service.handler(
            ingress_private=private,
            invocation_retry_policy=retries or (PRIVATE_RETRIES if private else PUBLIC_RETRIES),
            **options,
        )
        return register_checked(checked)

    return register


@overload
def private_handler(
    service: Service | VirtualObject, at: Address[None, O], **options: Any
) -> Callable[[Callable[[Any], Awaitable[O]]], Callable[[Any], Awaitable[O]]]: ...
@overload
def private_handler(
    service: Service | VirtualObject, at: Address[I, O], **options: Any
) -> Callable[[Callable[[Any, I], Awaitable[O]]], Callable[[Any, I], Awaitable[O]]]: ...
def private_handler(service: Service | VirtualObject, at: Address[Any, Any], **options: Any) -> Callable[[H], H]:
    """Register a coroutine function as the handler at an address, with the `options` of `handler`.

    No client can reach it.
    Errors: DefinitionError if it is not what the address says.
    """

    def register(handle: H) -> H:
        found = _address_of(handle, service)
        if found != (at.service, at.name, at.request, at.answer):
            raise DefinitionError(
                f"The address is {_described(at.service, at.name, at.request, at.answer)}, but its handler is "
                f"{_described(*found)}: correct one of the two"
            )
        return handler(service, private=True, **options)(handle)

    return register


def _address_of(handle: Callable[..., Any], service: Service | VirtualObject) -> tuple[str, str, Any, Any]:
    """Return service, name, request and answer as the declaration of a handler has them."""
    signature = inspect.signature(handle, eval_str=True)
    requests = [parameter.annotation for parameter in signature.parameters.values()][1:]  # behind the context
    answer = NoneType if signature.return_annotation is None else signature.return_annotation
    return service.name, handle.__name__, requests[0] if requests else NoneType, answer


def _described(service: str, name: str, request: Any, answer: Any) -> str:
    takes, answers = ("?" if each is inspect.Parameter.empty else each.__name__ for each in (request, answer))
    return f"{service}/{name}({takes}) -> {answers}"


def _answer(exc: BaseException, name: str, where: str) -> BaseException:
    """Return what the engine is told of `exc`, in text that it can carry. A bug is logged."""
    if isinstance(exc, TerminalError | RetryableError):
        exc.message = clean(exc.message)
        return exc
    if (end := _attempt_end_in(exc)) is not None:
        return end
    if isinstance(exc, BrokenState) or (isinstance(exc, AgentError) and exc.status != AgentError.status):
        if not isinstance(exc, UsageError):
            logger.warning("%s: %s", where, exc.message)
        return TerminalError(clean(shorten(exc.message, _LONGEST_ERROR)), exc.status)
    logger.error("Bug in %s", where, exc_info=exc)
    return TerminalError(clean(shorten(f"Internal error in {name}: {exc!r}", _LONGEST_ERROR)), 500)


def _attempt_end_in(exc: BaseException) -> BaseException | None:
    """Return what ended the attempt, also if a task group or a `raise … from` has wrapped it. None if nothing did."""
    if isinstance(exc, _ATTEMPT_ENDS):
        return exc
    wrapped = list(exc.exceptions) if isinstance(exc, BaseExceptionGroup) else []
    if exc.__cause__ is not None:
        wrapped.append(exc.__cause__)
    return next((end for each in wrapped if (end := _attempt_end_in(each)) is not None), None)
