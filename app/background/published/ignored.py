"""What code written for the published library says, and Restate has no use for: accepted, and said once.

Logs, and changes nothing else.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.background.published.options import CloudConnectionOptions, ServiceOptions

NO_WEBHOOKS = "nobody is called when a service starts or ends; watch its health"

_FOUND_BY_URL = "Restate is found by RESTATE_INGRESS_URL"
_STORED_AS_IT_IS = "inputs and results are stored as they are, NOT ENCRYPTED; encrypt them yourself, or the disk"
_SHOWN = "handlers and their schemas are in Restate's UI"
# What code sets that means to be local, or says nothing.
_NOTHING = (None, "", "local", "default", "localhost:7233")

logger = logging.getLogger("background")

_said: set[str] = set()


def ignored(what: str, why: str) -> None:
    """Log, once in a process, that `what` was accepted and changes nothing, because of `why`."""
    if what not in _said:
        _said.add(what)
        logger.warning("%s is accepted and changes nothing here: %s", what, why)


@contextmanager
def import_functions() -> Iterator[None]:
    """Import functions inside of this, as the reference does. Agents are not sandboxed here, so nothing needs it."""
    yield


def say_what_is_ignored(options: CloudConnectionOptions | ServiceOptions | None) -> None:
    """Log what of the options has no meaning here."""
    for name, why in _of_connection(options) if isinstance(options, CloudConnectionOptions) else _of_service(options):
        ignored(f"{type(options).__name__}({name}=…)", why)


def _of_connection(options: CloudConnectionOptions) -> Iterator[tuple[str, str]]:
    where = {
        "engine_id": "ids and queues have no prefix",
        "api_key": "no request carries it; protect the ingress by what is in front of it",
        "address": _FOUND_BY_URL,
        "api_address": _FOUND_BY_URL,
        "temporal_namespace": "Restate has no namespaces",
        "data_converter": _STORED_AS_IT_IS,
    }
    yield from ((name, why) for name, why in where.items() if getattr(options, name) not in _NOTHING)
    if options.payload_codecs:
        yield "payload_codecs", _STORED_AS_IT_IS


def _of_service(options: ServiceOptions | None) -> Iterator[tuple[str, str]]:
    if options is None:
        return
    if options.endpoints is False:
        yield "endpoints", _SHOWN
    if options.endpoint_group is not None:
        yield "endpoint_group", _SHOWN
    if options.webhook_url is not None:
        yield "webhook_url", NO_WEBHOOKS
