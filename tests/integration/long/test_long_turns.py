"""A turn that outgrows the window: what the LLM sees of it is shortened, what the chat keeps is not."""

from tests.integration.long.conftest import CONTEXT_TOKENS, Talk, page, tokens
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, LLMRequest, Plan

TOO_LONG = Plan(status=400, error={"error": {"message": "too long", "code": "context_length_exceeded"}})


def reads(pages: int) -> "list[Plan]":
    return [Plan(text=[], calls=[page(n)], finish_reason="tool_calls") for n in range(1, pages + 1)]


def results(request: LLMRequest) -> list[str]:
    return [message["content"] for message in request.messages if message["role"] == "tool"]


async def test_old_results_are_shortened(talk: Talk) -> None:
    """Each request fits the window, has every call with a result, and the newest result whole; the history has all."""
    await talk.say("who am I? I am Ann")
    await talk.answered(1)
    plans = [*reads(20), Plan(text=["read it all"])]
    talk.answering = lambda _: plans.pop(0)
    await talk.say("read the book")
    await talk.answered(2)
    last = talk.asked_to_answer[-1]
    assert max(map(tokens, talk.requests)) <= CONTEXT_TOKENS
    assert [content.split(" x")[0] for content in results(last)] == [f"page {n}" for n in range(1, 21)]
    assert "characters are left out here" in results(last)[0]
    assert len(results(last)[-1]) > 3000
    assert "I am Ann" in last.user_texts[0]
    shown = [entry["content"] for entry in await talk.entries() if entry["role"] == "tool"]
    assert [len(content) > 3000 for content in shown] == [True] * 20

    talk.answering = lambda _: Plan()
    await talk.say("and what did it say?")
    await talk.answered(3)
    assert "read the book" in "".join(talk.asked_to_answer[-1].user_texts)
    assert tokens(talk.asked_to_answer[-1]) <= CONTEXT_TOKENS


async def test_many_results_at_once(talk: Talk) -> None:
    """The results of one reply that are more than the window together share it."""
    plans = [Plan(text=[], calls=[page(n, 12_000) for n in range(8)], finish_reason="tool_calls"), Plan(text=["done"])]
    talk.answering = lambda _: plans.pop(0)
    await talk.say("read")
    await talk.answered(1)
    last = talk.asked_to_answer[-1]
    assert tokens(last) <= CONTEXT_TOKENS
    assert [content.split(" x")[0] for content in results(last)] == [f"page {n}" for n in range(8)]
    assert min(map(len, results(last))) > 1000


async def test_messages_of_the_user_stay(talk: Talk) -> None:
    """What the user says while a turn grows is in each later request, whole."""
    said = "and mind this: " + "y" * 900

    def plan(request: LLMRequest) -> Plan:
        done = len(results(request))
        return Plan(text=[], calls=[page(done + 1)], finish_reason="tool_calls", delay_s=0.02) if done < 12 else Plan()

    talk.answering = plan
    await talk.say("read the book")
    await eventually(lambda: len(talk.asked_to_answer) >= 2)
    await talk.say(said, "INCORPORATE")
    await talk.answered(1)
    last = talk.asked_to_answer[-1]
    assert any(said in text for text in last.user_texts)
    assert tokens(last) <= CONTEXT_TOKENS


async def test_service_dies_in_the_middle(talk: Talk) -> None:
    """After a kill in the middle of a shortened turn, the same request is made once more, and the turn goes on."""
    plans = reads(12)
    hanging: list[int] = []

    def plan(request: LLMRequest) -> Plan:
        if plans:
            return plans.pop(0)
        hanging.append(request.index)
        return Plan(delay_s=FOR_EVER) if len(hanging) == 1 else Plan(text=["read it all"])

    talk.answering = plan
    await talk.say("read the book")
    await eventually(lambda: bool(hanging), timeout_s=20)
    talk.service.kill9()
    await talk.service.start()
    await talk.answered(1)
    first, again = talk.asked_to_answer[-2:]
    assert first.body == again.body
    assert (await talk.lines())[-1] == ("assistant", "read it all", "completed")
    assert len(talk.asked_to_answer) == 14


async def test_the_server_says_too_long(talk: Talk) -> None:
    """When the server takes less than the window, the turn goes on with half of it, and says so to nobody."""
    plans = [*reads(3), TOO_LONG, Plan(text=["fine"])]
    talk.answering = lambda _: plans.pop(0)
    await talk.say("read")
    await talk.answered(1)
    refused, shorter = talk.asked_to_answer[-2:]
    assert tokens(shorter) < 0.6 * tokens(refused)
    assert (await talk.lines())[-1] == ("assistant", "fine", "completed")


async def test_the_server_says_too_long_twice(talk: Talk) -> None:
    """When half of it is too long as well, the turn fails with a sentence that says what to do."""
    plans = [*reads(3), TOO_LONG, TOO_LONG]
    talk.answering = lambda _: plans.pop(0) if plans else Plan(text=["fine again"])
    await talk.say("read")
    await talk.answered(1)
    role, sentence, status = (await talk.lines())[-1]
    assert (role, status) == ("system", "failed")
    assert "too long for the model" in sentence
    assert "CONTEXT_TOKENS" in sentence
    assert len(talk.asked_to_answer) == 5
    await talk.say("next")
    await talk.answered(2)
    assert (await talk.lines())[-1] == ("assistant", "fine again", "completed")
