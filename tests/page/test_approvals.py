"""The cards of tool calls that wait for a person, against a stub of the gateway."""

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.page.conftest import OpenPage
from tests.page.stub_gateway import StubGateway
from tests.page.test_page import begin, joined
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDS = {"call_id": "c-1", "approval_id": "1-aa"}


@pytest_asyncio.fixture(loop_scope="session")
async def page(stub: StubGateway, open_page: OpenPage) -> Page:
    """A tab in which a payment waits for approval."""
    page = await joined(await open_page(stub.url), stub.chat())
    await begin(stub.chat(), page)
    stub.chat().approvals = [approval('{"amount": 100, "to": "<img src=x>"}')]
    stub.chat().tell_status()
    await expect(page.locator(".approval")).to_have_count(1)
    return page


def approval(arguments: str, **ids: str) -> dict[str, Any]:
    return {**IDS, **ids, "name": "pay", "arguments": arguments, "expires_at": "2030-01-01T00:00:00Z"}


async def test_a_call_is_approved(page: Page, stub: StubGateway) -> None:
    """A card shows tool and arguments, as text; approving names the call, and the card goes when the chat says so."""
    await expect(page.locator("#status")).to_have_text("The agent waits for your approval.")
    await expect(page.locator(".approval strong")).to_have_text("pay")
    await expect(page.locator(".approval-arguments")).to_have_value('{\n  "amount": 100,\n  "to": "<img src=x>"\n}')
    await page.get_by_role("button", name="Approve").click()
    await eventually(lambda: stub.posted("resolve_approval") == [{**IDS, "decision": "approve"}])
    stub.chat().approvals = []
    stub.chat().tell_status()
    await expect(page.locator(".approval")).to_have_count(0)


async def test_a_call_is_rejected(page: Page, stub: StubGateway) -> None:
    """The reason goes along with a rejection; news of the chat do not take it away."""
    await page.fill(".approval-reason", "too much")
    stub.chat().approvals.append(approval("{}", approval_id="1-bb"))
    stub.chat().tell_status()
    await expect(page.locator(".approval")).to_have_count(2)
    await page.get_by_role("button", name="Reject").first.click()
    expected = {**IDS, "decision": "reject", "reason": "too much"}
    await eventually(lambda: stub.posted("resolve_approval") == [expected])


async def test_arguments_are_changed(page: Page, stub: StubGateway) -> None:
    """Changed arguments go along as JSON; what is none is said, and nothing is sent."""
    await page.fill(".approval-arguments", "{oops")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".approval-wrong")).to_have_text("These arguments are no JSON object.")
    assert stub.posted("resolve_approval") == []
    await page.fill(".approval-arguments", '{"amount": 5}')
    await page.get_by_role("button", name="Approve").click()
    expected = {**IDS, "decision": "approve", "arguments": {"amount": 5}}
    await eventually(lambda: stub.posted("resolve_approval") == [expected])


async def test_a_decision_that_comes_too_late_is_said(page: Page, stub: StubGateway) -> None:
    """What the gateway refuses is shown, and the card stays for another try."""
    stub.refuse["resolve_approval"] = [(400, "Wrong arguments for pay: amount is missing")]
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".notice")).to_contain_text("Wrong arguments for pay")
    await expect(page.get_by_role("button", name="Approve")).to_be_enabled()


FORM = {
    "type": "object",
    "properties": {
        "card": {"type": "string", "enum": ["visa", "amex"], "title": "<b>Card</b>"},
        "months": {"type": "integer", "description": "how long"},
        "news": {"type": "boolean"},
        "colours": {"type": "array", "items": {"anyOf": [{"const": "r", "title": "Red"}, {"const": "b"}]}},
        "note": {"type": "string"},
    },
    "required": ["card"],
}


async def test_a_question_is_answered(page: Page, stub: StubGateway) -> None:
    """The card of a question shows it as text, with a field for each thing asked; what is left empty is not sent."""
    question = {"message": "Which <i>card</i>?", "answer_schema": FORM, "asked_at": 0, "number": 1}
    stub.chat().approvals = [approval("{}", approval_id="1-qq") | {"question": question}]
    stub.chat().tell_status()
    await expect(page.locator("#status")).to_have_text("The agent asks you something.")
    await expect(page.locator(".approval-question")).to_have_text("Which <i>card</i>?")
    await expect(page.locator(".form-label").first).to_have_text("<b>Card</b> *")
    await expect(page.locator(".approval-arguments")).to_have_count(0)
    await page.locator(".form-field select").first.select_option("amex")
    await page.get_by_label("months").fill("12")
    await page.get_by_label("news").check()
    await page.locator(".form-field select").nth(1).select_option(["r", "b"])
    await page.get_by_role("button", name="Answer").click()
    answer = {"card": "amex", "months": 12, "news": True, "colours": ["r", "b"]}
    expected = {**IDS, "approval_id": "1-qq", "decision": "approve", "answer": answer}
    await eventually(lambda: stub.posted("resolve_approval") == [expected])


async def test_a_question_is_declined(page: Page, stub: StubGateway) -> None:
    """Who does not want to answer declines, with a reason; no answer is sent."""
    question = {"message": "Sure?", "answer_schema": {"type": "object", "properties": {}}, "asked_at": 0, "number": 1}
    stub.chat().approvals = [approval("{}", approval_id="1-qq") | {"question": question}]
    stub.chat().tell_status()
    await page.fill(".approval-reason", "mine")
    await page.get_by_role("button", name="Decline").click()
    expected = {**IDS, "approval_id": "1-qq", "decision": "reject", "reason": "mine"}
    await eventually(lambda: stub.posted("resolve_approval") == [expected])
