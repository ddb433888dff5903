"""What is said in a side-by-side run: messages that tell the stub LLM how to answer, and the answers.

Pure. The same for every implementation, so that the same text is stored and sent by all of them.
"""

import base64
import random
import re
from typing import Any

from tests.support.llm_server import FOR_EVER, LLMRequest, Plan

_ORDER = re.compile(r"(?P<token>\S+) reply=(?P<chars>\d+) in=(?P<chunks>\d+)$")
_ORDER_CHARS = 200
_SLOW = "slow-"


def message(token: str, *, chars: int = 0, reply_chars: int = 0, chunks: int = 1, slow: bool = False) -> str:
    """Return a message of at least `chars` characters; `slow` is never answered, else the reply comes in `chunks`."""
    order = f" {_SLOW if slow else ''}{token} reply={reply_chars} in={chunks}"
    return "please " + _noise(token, chars - len(order) - len("please ")) + order


def answer_to(text: str) -> str:
    """Return the answer to a message: no other has the same."""
    order = _order_in(text)
    answer = f"Answer to {order['token']} "
    return answer + _noise(answer, int(order["chars"]) - len(answer) - 1) + "."


def plan_for(request: LLMRequest) -> Plan:
    """Return what the stub LLM does: it obeys the last message."""
    text = request.user_texts[-1]
    order = _order_in(text)
    if order["token"].startswith(_SLOW):
        return Plan(delay_s=FOR_EVER)
    answer, chunks = answer_to(text), int(order["chunks"])
    size = -(-len(answer) // chunks)
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    return Plan(text=pieces, raw=[*(_chunk(content=piece) for piece in pieces), *_LAST_CHUNKS])


def _noise(seed: str, chars: int) -> str:
    """Return so many characters, the same for the same seed: what repeats itself would be packed by the server."""
    noise = random.Random(seed).randbytes(max(0, chars))
    return base64.b64encode(noise).decode()[: max(0, chars)]


def _order_in(text: str) -> re.Match[str]:
    end = text[-_ORDER_CHARS:]  # alone: the search would take the square of the length of a long message
    found = _ORDER.search(end)
    assert found is not None, f"this message was not made here: {end!r}"
    return found


def _chunk(finish_reason: str | None = None, **delta: str) -> dict[str, Any]:
    """Return a chunk with all that OpenAI puts into it: a reader pays for each field."""
    return {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        "obfuscation": "0123456789",
    }


_LAST_CHUNKS = (
    _chunk("stop"),
    {**_chunk(), "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}},
)
