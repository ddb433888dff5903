"""What an LLM server takes and what it demands beyond the plain request, learnt from what it refuses.

No I/O. In the memory of this process, for as long as it lives: another process learns it again, by one request each.
"""

import logging
import re
from collections.abc import Collection, Mapping
from enum import StrEnum

import openai

logger = logging.getLogger("llm")

_LEARNT_FROM = (400, 404, 422)  # 404: an item that the server was to keep, and does not


class Extra(StrEnum):
    """What a request may have besides what every server takes."""

    USAGE = "stream_options"  # the tokens at the end of the stream
    SUMMARY = "reasoning.summary"  # what the LLM thinks, in words
    SEALED = "reasoning.encrypted_content"  # the same, encrypted, so that it can be given back
    ITEMS = "reasoning items"  # given back
    DETAILS = "reasoning_details"  # given back
    SIGNATURES = "extra_content"  # of tool calls, given back
    THOUGHTS = "reasoning_content"  # given back, or `reasoning`; only where that is demanded


# By which words of a refusal an extra is meant, if it was sent; the first that fits.
_MEANT = {
    Extra.USAGE: r"stream_options|include_usage",
    Extra.DETAILS: r"reasoning_details",
    Extra.SIGNATURES: r"extra_content|thought_?signature",
    Extra.ITEMS: r"encrypted.content|\brs_\w|type .?reasoning|reasoning.{0,3}item",
    Extra.SUMMARY: r"reasoning[._ ]summar|generate_summary|['\"`]reasoning['\"`]|(un\w+|not supported)[^.]*\breasoning",
    Extra.SEALED: r"encrypted.content|['\"`]include\b",
    Extra.THOUGHTS: r"reasoning",
}
_DEMANDED = re.compile(r"reasoning.*(must(?! not)|requir|missing|passed back)", re.IGNORECASE | re.DOTALL)


class Manners:
    """What one server has refused, and what it has demanded."""

    def __init__(self) -> None:
        self._refused: set[Extra] = set()
        self._demanded: set[Extra] = set()

    def takes(self, extra: Extra) -> bool:
        """Return whether an extra is to be sent."""
        return extra not in self._refused and (extra is not Extra.THOUGHTS or extra in self._demanded)

    def learn(self, refusal: openai.APIStatusError, sent: Collection[Extra], *, thoughts_held_back: bool) -> bool:
        """Learn from a refusal of a request with the extras `sent`; return whether the next one will differ.

        An extra is given up for good. `thoughts_held_back`: the request had replies whose thoughts were not sent.
        """
        if refusal.status_code not in _LEARNT_FROM:
            return False
        said = _said(refusal)
        demanded = _DEMANDED.search(said) is not None
        for extra, words in _MEANT.items():
            if extra is Extra.THOUGHTS and demanded:  # what was sent does not please: without it, it would even less
                continue
            if extra in sent and self.takes(extra) and re.search(words, said, re.IGNORECASE):
                self._refused.add(extra)
                logger.info("The LLM server refuses %s (%d): it is not sent any more", extra, refusal.status_code)
                return True
        if thoughts_held_back and demanded and Extra.THOUGHTS not in self._refused:
            self._demanded.add(Extra.THOUGHTS)
            logger.info("The LLM server demands %s (%d): it is sent from here on", Extra.THOUGHTS, refusal.status_code)
            return True
        return False


def _said(refusal: openai.APIStatusError) -> str:
    """Return all that a server says in a refusal: some name a field in `param`, some in a list of problems."""
    body = refusal.body
    said = body.get("error", body) if isinstance(body, Mapping) else body
    return str(said if said is not None else refusal.message)[:10_000]
