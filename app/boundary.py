"""Where the world meets the application: handlers that check their input and answer errors with a sentence.

Maps every error to what Restate sees; decides nothing about chats.
"""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from restate import InvocationRetryPolicy, ObjectContext, Service, TerminalError, VirtualObject
from restate.exceptions import RetryableError
from restate.serde import Serde
from restate.server_context import DisconnectedException
from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

from app.errors import UsageError

M = TypeVar("M", bound=BaseModel)
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

logger = logging.getLogger("boundary")

# The attempt is over and the engine tries again, or the error is already in the engine's own terms.
_ENGINE_ERRORS = (TerminalError, RetryableError, DisconnectedException, VMException)

# Only what the code cannot answer is retried (a dead process, a lost connection): exceptions end a handler at once.
# A client waits about a minute; what the agent itself sends survives an outage of an hour and a half.
PUBLIC_RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    exponentiation_factor=2,
    max_interval=timedelta(seconds=2),
    max_attempts=36,
    on_max_attempts="kill",
)
PRIVATE_RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    exponentiation_factor=2,
    max_interval=timedelta(seconds=10),
    max_attempts=550,
    on_max_attempts="kill",
)
# What runs for months must outlast an outage of a week; then it pauses, and can be resumed.
PATIENT_RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    exponentiation_factor=2,
    max_interval=timedelta(seconds=2),
    max_attempts=300_000,
    on_max_attempts="pause",
)


class Input(BaseModel):
    """What a client sends. Unknown fields are refused: a misspelt field must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Refused:
    """Input that does not fit; the SDK would answer 500 if its deserializer raised."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _CheckedInput(Serde[Any], Generic[M]):
    def __init__(self, model: type[M]) -> None:
        self._model = model

    def deserialize(self, buf: bytes) -> M | _Refused:
        body = b"{}" if not buf or buf.strip() == b"null" else buf
        try:
            return self._model.model_validate_json(body)
        except ValidationError as exc:
            return _Refused(_explain(exc, self._model))

    def serialize(self, obj: Any) -> bytes:
        return b"" if obj is None else obj.model_dump_json().encode()


def _explain(exc: ValidationError, model: type[BaseModel]) -> str:
    """Return one sentence for each thing that is wrong, and an example of what is right."""
    problems = []
    for error in exc.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in error["loc"]) or "the body"
        got = "" if error["type"] in ("missing", "json_invalid") else f", got {str(error['input'])[:80]!r}"
        problems.append(f"{field}: {error['msg']}{got}")
    example = next(iter(model.model_json_schema().get("examples", [])), None)
    hint = f" Send for example {example}" if example else ""
    return f"Bad input. {'; '.join(problems)}.{hint}"


def handler(
    service: Service | VirtualObject,
    *,
    private: bool = False,
    kind: Literal["exclusive", "shared"] = "exclusive",
    retries: InvocationRetryPolicy | None = None,
    **options: Any,
) -> Callable[[H], H]:
    """Register a coroutine function as a handler of `service`; its docstring becomes the description.

    Shapes: handle(ctx) or handle(ctx, input: pydantic model); an empty body is a model with all defaults.
    `kind` is for virtual objects; handlers of a service have no key to share.
    Errors at the client: 400 for input that does not fit, the status of a UsageError, 500 for a bug. A bug ends the
    handler at once, because retrying it would hold the key of the object.
    """

    def register(handle: H) -> H:
        parameters = list(inspect.signature(handle).parameters.values())
        if len(parameters) > 1:
            options["input_serde"] = _CheckedInput(parameters[1].annotation)
        if isinstance(service, VirtualObject):
            options["kind"] = kind

        @functools.wraps(handle)
        async def checked(ctx: ObjectContext, *request: Any) -> Any:
            if request and isinstance(request[0], _Refused):
                raise TerminalError(request[0].reason, 400)
            try:
                return await handle(ctx, *request)
            except _ENGINE_ERRORS:
                raise
            except UsageError as exc:
                raise TerminalError(exc.message, exc.status) from exc
            except Exception as exc:
                of_key = f" of {ctx.key()}" if isinstance(service, VirtualObject) else ""
                logger.exception("Bug in %s.%s%s", service.name, handle.__name__, of_key)
                raise TerminalError(f"Internal error in {service.name}.{handle.__name__}: {exc!r}", 500) from exc

        register_checked: Callable[[Any], H] = service.handler(
            ingress_private=private,
            invocation_retry_policy=retries or (PRIVATE_RETRIES if private else PUBLIC_RETRIES),
            **options,
        )
        return register_checked(checked)

    return register
