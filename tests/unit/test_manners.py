"""What is learnt from the refusals of LLM servers, in their own words."""

import httpx2
import openai
import pytest

from app.llm.manners import Extra, Manners

CHAT = {Extra.USAGE, Extra.DETAILS, Extra.SIGNATURES}
RESPONSES = {Extra.SUMMARY, Extra.SEALED, Extra.ITEMS}


def refusal(status: int, message: str, **fields: str) -> openai.APIStatusError:
    """Return what the SDK raises."""
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://llm/v1"))
    return openai.APIStatusError(message, response=response, body={"message": message, **fields})


@pytest.mark.parametrize(
    ("sent", "message", "learnt"),
    [
        (CHAT, "Unrecognized request argument supplied: stream_options", Extra.USAGE),
        (CHAT, "include_usage is only allowed when stream is enabled", Extra.USAGE),
        (CHAT, "messages.2.reasoning_details: Extra inputs are not permitted", Extra.DETAILS),
        (CHAT, "Unknown name extra_content at messages[2].tool_calls[0]", Extra.SIGNATURES),
        (RESPONSES, "The encrypted content gAAA could not be verified.", Extra.ITEMS),
        (RESPONSES, "Item 'rs_1' of type 'reasoning' was provided without its required following item.", Extra.ITEMS),
        (
            RESPONSES,
            "Item with id 'rs_1' not found. Items are not persisted here.",
            Extra.ITEMS,
        ),
        (RESPONSES - {Extra.ITEMS}, "Encrypted content is not supported with this model.", Extra.SEALED),
        (RESPONSES, "Unsupported parameter: 'reasoning.summary' is not supported with this model.", Extra.SUMMARY),
        (RESPONSES, "Your organization must be verified to generate reasoning summaries.", Extra.SUMMARY),
        (RESPONSES, "This model does not support the parameter 'reasoning'.", Extra.SUMMARY),
    ],
)
def test_what_is_named_is_given_up(sent: set[Extra], message: str, learnt: Extra) -> None:
    """What a server refuses by name is not sent any more; the rest is, and the same words teach nothing twice."""
    manners = Manners()
    assert manners.learn(refusal(400, message), sent, thoughts_held_back=True)
    assert [extra for extra in sent if not manners.takes(extra)] == [learnt]
    assert not manners.learn(refusal(400, message), {learnt}, thoughts_held_back=False)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 128000 tokens."),
        (400, "Invalid 'messages[3].content': string too long."),
        (400, "No tool output found for function call call_1."),
        (401, "Incorrect API key; stream_options"),
        (429, "Rate limit reached for reasoning tokens"),
        (500, "reasoning_details"),
    ],
)
def test_other_refusals_teach_nothing(status: int, message: str) -> None:
    """Refusals of another kind, or that name nothing which was sent, change nothing."""
    manners = Manners()
    sent = CHAT | RESPONSES
    assert not manners.learn(refusal(status, message), sent, thoughts_held_back=True)
    assert all(manners.takes(extra) for extra in sent)
    assert not manners.takes(Extra.THOUGHTS)


def test_thoughts_are_sent_on_demand_only() -> None:
    """Thoughts go back from the demand on, until they are refused; another demand does not bring them back."""
    manners, sent = Manners(), {Extra.THOUGHTS}
    demand = refusal(400, "The `reasoning_content` in the thinking mode must be passed back to the API.")
    assert not manners.learn(demand, set(), thoughts_held_back=False)
    assert manners.learn(demand, set(), thoughts_held_back=True)
    assert manners.takes(Extra.THOUGHTS)
    assert not manners.learn(demand, sent, thoughts_held_back=False), "more cannot be given"
    assert manners.takes(Extra.THOUGHTS)
    assert manners.learn(refusal(422, "reasoning_content: extra fields not permitted"), sent, thoughts_held_back=False)
    assert not manners.learn(demand, set(), thoughts_held_back=True)
    assert not manners.takes(Extra.THOUGHTS)
