"""Names and ids as clients may choose them: one checked type for each, with one sentence for what does not fit.

Pure. Names of agents and queues become names of Restate services, and so parts of URLs. Ids and the names of events
and states are keys and data: any text that can be read in a log and in an address.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from app.text import printable, shorten

MAX_NAME = 100
MAX_ID = 200

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")  # what Restate takes as the name of a service


def service_name(name: str) -> str:
    """Return `name` if a Restate service may have it. Errors: ValueError."""
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise ValueError(
            f"{shown(name)} is no name: use a letter, then letters, digits and _ . - only, at most {MAX_NAME} in all"
        )
    return name


def plain_text(limit: int) -> Any:
    """Return a check for text of 1 to `limit` characters that no terminal obeys."""

    def check(text: str) -> str:
        if not text or len(text) > limit or printable(text) != text:
            raise ValueError(f"{shown(text)} cannot be used: use 1 to {limit} characters, no control characters")
        return text

    return AfterValidator(check)


def shown(text: str) -> str:
    """Return what somebody sent as it may stand in a sentence."""
    return repr(shorten(printable(text), 80))


AgentName = Annotated[str, AfterValidator(service_name)]
QueueName = Annotated[str, AfterValidator(service_name)]
AgentId = Annotated[str, plain_text(MAX_ID)]
OperationName = Annotated[str, plain_text(MAX_NAME)]
RunId = Annotated[str, plain_text(MAX_ID)]
