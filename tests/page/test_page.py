"""The page against a stub of the gateway: what it shows of events, and what it asks for when a person acts."""

import json
import re
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.page.conftest import OpenPage
from tests.page.stub_gateway import PAGE, StubChat, StubGateway, assistant, tool, turn, user
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def page(stub: StubGateway, open_page: OpenPage) -> Page:
    """A tab at the default chat of the stub, joined."""
    return await joined(await open_page(stub.url), stub.chat())


async def joined(page: Page, chat: StubChat, watchers: int = 1) -> Page:
    await eventually(lambda: len(chat.watchers) >= watchers)
    await expect(page.locator("#mode-name")).not_to_have_text("…")
    return page


def waiting(message_id: str, content: str) -> dict[str, Any]:
    return {"message_id": message_id, "content": content, "mode": "QUEUE"}


async def begin(chat: StubChat, page: Page) -> None:
    """Turn 1 runs, with the message "first"."""
    chat.put(turn(1, user("first", message_id="m-1"), status="running"))
    await expect(page.locator("#stop")).to_be_visible()


async def test_a_message_is_shown_at_once_and_sent_once_in_the_end(page: Page, stub: StubGateway) -> None:
    """A message stands there before there is an answer; a refused POST is repeated with the same id."""
    stub.refuse["messages"] = [(503, "Restate is away."), (503, "Restate is away.")]
    await page.fill("#message", "hello <b>you</b>")
    await page.keyboard.press("Enter")
    await expect(page.locator("#outbox .bubble")).to_have_text("hello <b>you</b>")
    await expect(page.locator("#message")).to_have_value("")
    await eventually(lambda: len(stub.posted("messages")) == 3)
    first, *others = stub.posted("messages")
    assert others == [first, first]
    assert set(first) == {"content", "message_id"}, "the chat's mode holds"
    stub.chat().put(turn(1, user("hello <b>you</b>", message_id=first["message_id"]), status="running"))
    await expect(page.locator(".turn .bubble")).to_have_text("hello <b>you</b>")
    await expect(page.locator("#outbox .said")).to_have_count(0)


async def test_what_an_agent_says_is_marked_as_its_own(page: Page, stub: StubGateway) -> None:
    """A message of a background agent has its name above it, and is nothing that the user can send again."""
    chat = stub.chat()
    said = user("<b>Check in</b>", message_id="a-1", source="ChatReminder-1")
    chat.put(turn(1, said, status="failed", error="No LLM."))
    await expect(page.locator(".said.by-agent .bubble")).to_have_text("<b>Check in</b>")
    await expect(page.locator(".said-by")).to_have_text("ChatReminder-1")
    await expect(page.get_by_role("article", name="Background agent ChatReminder-1")).to_be_visible()
    await expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    chat.put(turn(2, user("mine", message_id="m-1")))
    await expect(page.locator(".said:not(.by-agent) .bubble")).to_have_text("mine")


async def test_a_refused_message_can_be_sent_again_or_changed(page: Page, stub: StubGateway) -> None:
    """What the chat refuses stays, with the reason; it is sent again with its id, or goes back into the box."""
    stub.refuse["messages"] = [(409, "Turn 1 is open and the mode is REJECT; send this again when it has ended")] * 2
    await page.fill("#message", "now?")
    await page.keyboard.press("Enter")
    trouble = page.locator(".trouble")
    await expect(trouble).to_contain_text("send this again when it has ended")
    await trouble.get_by_role("button", name="Send again").click()
    await eventually(lambda: len(stub.posted("messages")) == 2)
    assert stub.posted("messages")[0] == stub.posted("messages")[1]
    await trouble.get_by_role("button", name="Edit").click()
    await expect(page.locator("#message")).to_have_value("now?")
    await expect(page.locator("#outbox .said")).to_have_count(0)


async def say(page: Page, *texts: str) -> None:
    for text in texts:
        await page.fill("#message", text)
        await page.keyboard.press("Enter")


def contents(stub: StubGateway) -> list[str]:
    return [body["content"] for body in stub.posted("messages")]


async def test_messages_of_an_outage_arrive_in_order(page: Page, stub: StubGateway) -> None:
    """The next message is posted only when the one before it has an answer, over a reload, too."""
    stub.refuse["messages"] = outage = [(503, "away")] * 1000
    await say(page, "one", "two", "three")
    await eventually(lambda: len(contents(stub)) >= 2)
    await page.reload()
    await eventually(lambda: len(contents(stub)) >= 4)
    assert set(contents(stub)) == {"one"}
    await expect(page.locator("#outbox .bubble")).to_have_text(["one", "two", "three"])
    outage.clear()
    await eventually(lambda: contents(stub)[-3:] == ["one", "two", "three"])
    assert len({body["message_id"] for body in stub.posted("messages")}) == 3


async def test_a_message_is_sent_however_long_the_outage_is(stub: StubGateway, open_page: OpenPage) -> None:
    """A message without an answer is tried for as long as the page is open, also from another chat."""
    page = await open_page("about:blank")
    await page.clock.install()
    await page.goto(stub.url)
    await joined(page, stub.chat())
    stub.refuse["messages"] = outage = [(503, "away")] * 1000
    await say(page, "one")
    await page.click("#new-chat")

    async def tried_often() -> bool:
        await page.clock.run_for(6000)
        return len(contents(stub)) > 10

    await eventually(tried_often)
    outage.clear()
    tried = len(contents(stub))
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await eventually(lambda: len(contents(stub)) > tried)
    assert {key for key, handler, _ in stub.posts if handler == "messages"} == {"default"}


async def test_what_is_refused_stays_refused(page: Page, stub: StubGateway) -> None:
    """A definite refusal is final until a person says otherwise; what is too long goes only when it was edited."""
    stub.refuse["messages"] = [(409, "The mode is REJECT"), (413, "Too long")]
    await say(page, "now?", "long")
    troubles = page.locator("#outbox .said.failed")
    await expect(troubles).to_have_count(2)
    await page.reload()
    await expect(troubles).to_have_count(2)
    await expect(troubles.locator(".mark")).to_have_text(["Not sent", "Not sent"])
    await expect(troubles.locator("p")).to_have_text(["Not sent. The mode is REJECT", "Not sent. Too long"])
    await say(page, "next")
    await eventually(lambda: contents(stub) == ["now?", "long", "next"])
    await expect(troubles.nth(1).get_by_role("button")).to_have_text(["Edit", "Discard"])
    await troubles.nth(1).get_by_role("button", name="Discard").click()
    await troubles.get_by_role("button", name="Send again").click()
    await eventually(lambda: contents(stub) == ["now?", "long", "next", "now?"])
    await page.reload()
    await joined(page, stub.chat())
    await expect(page.locator("#outbox .said")).to_have_count(0)


async def test_text_streams_and_the_record_takes_its_place(page: Page, stub: StubGateway) -> None:
    """Running text is drawn as it comes; what is recorded goes on in the same element, which is not drawn again."""
    chat = stub.chat()
    await begin(chat, page)
    text = chat.start_text(1, 1)
    chat.text(text, "Hello **wo")
    answer = page.locator(".answer .markdown")
    await expect(answer.locator("strong")).to_have_text("wo")
    await answer.evaluate("(element) => { element.firstChild.dataset.same = 'yes'; }")
    chat.text(text, "rld**, and")
    chat.end_text(text)
    chat.put(turn(1, user("first", message_id="m-1"), assistant("Hello **world**, and more.")))
    await expect(answer).to_have_text("Hello world, and more.")
    await expect(answer.locator("p[data-same=yes]")).to_have_count(1)
    await expect(page.locator(".thinking")).to_have_count(0)
    await expect(page.locator("#announcer")).to_have_text("Agent: Hello **world**, and more.")


async def test_an_answer_never_stands_before_its_message(page: Page, stub: StubGateway) -> None:
    """The model may be heard before the record and the receipt: the message that it has read is put before its text."""
    chat = stub.chat()
    stub.refuse["messages"] = [(503, "away")] * 9
    await page.fill("#message", "hi")
    await page.keyboard.press("Enter")
    await eventually(lambda: bool(stub.posted("messages")))
    message_id = stub.posted("messages")[0]["message_id"]
    chat.tell({"type": "CUSTOM", "name": "read", "value": {"turn_id": 1, "message_ids": [message_id]}})
    chat.text(chat.start_text(1, 1), "hello")
    await expect(page.locator("#scroller article")).to_have_text(["hiRead", "hello"])
    chat.put(turn(1, user("hi", message_id=message_id), status="running"))
    await expect(page.locator("#scroller article")).to_have_text(["hiRead", "hello"])


async def test_a_text_begins_anew_when_its_call_does(page: Page, stub: StubGateway) -> None:
    """Another attempt at the same place replaces the text: nothing stands there twice."""
    chat = stub.chat()
    await begin(chat, page)
    chat.text(chat.start_text(1, 1), "Once upon")
    await expect(page.locator(".answer")).to_contain_text("Once upon")
    chat.text(chat.start_text(1, 1, "b"), "Two")
    await expect(page.locator(".answer .markdown")).to_have_text("Two")
    chat.text(chat.start_text(1, 1, "b"), "Three")
    await expect(page.locator(".answer .markdown")).to_have_text("Three")


async def test_tool_calls_are_a_timeline(page: Page, stub: StubGateway) -> None:
    """A call has its name, its arguments, how far it is, its result folded, and its outcome."""
    chat = stub.chat()
    await begin(chat, page)
    text = chat.start_text(1, 1)
    chat.start_call(text, "c-1", "__proto__", '{"path": "/etc", "__proto__": {"x": "<img src=x>"}}')
    step = page.locator(".step")
    await expect(step).to_have_attribute("data-state", "running")
    await expect(step.locator(".step-name")).to_have_text("__proto__")
    value = {"turn_id": 1, "call_id": "c-1", "text": "2 of 3"}
    chat.tell({"type": "CUSTOM", "name": "progress", "value": value})
    await expect(step.locator(".step-progress")).to_have_text("2 of 3")
    call = {"call_id": "c-1", "name": "__proto__", "arguments": '{"path": "/etc"}'}
    asked = assistant("", 1, tool_calls=[call])
    chat.put(
        turn(
            1, user("first", message_id="m-1"), asked, tool("no such <b>file</b>", "c-1", 2, "failed"), status="running"
        )
    )
    await expect(step).to_have_attribute("data-state", "failed")
    await expect(step.locator(".step-body")).to_be_hidden()
    await step.locator("summary").click()
    await expect(step.locator(".step-body")).to_contain_text("no such <b>file</b>")


async def test_the_same_call_id_in_two_iterations(page: Page, stub: StubGateway) -> None:
    """LLMs that number their calls anew in each reply do not confuse the timeline."""
    chat = stub.chat()
    call = {"call_id": "call_1", "name": "task", "arguments": "{}"}
    first = [user("first", message_id="m-1"), assistant("one", 1, tool_calls=[call]), tool("done", "call_1", 2)]
    chat.put(turn(1, *first, status="running"))
    text = chat.start_text(1, 3)
    chat.start_call(text, "call_1", "task", "{}")
    await expect(page.locator(".step")).to_have_count(2)
    await expect(page.locator(".step").nth(0)).to_have_attribute("data-state", "ok")
    await expect(page.locator(".step").nth(1)).to_have_attribute("data-state", "running")


async def test_endings_are_marked(page: Page, stub: StubGateway) -> None:
    """Cut off, interrupted, rolled back, withdrawn and failed turns say so; a failed one can be tried again."""
    chat = stub.chat()
    chat.put(turn(1, user("a"), assistant("Once", partial=True), status="interrupted"))
    chat.put(turn(2, user("b"), status="rolled_back"))
    chat.put(turn(3, user("c"), status="withdrawn"))
    chat.put(turn(4, user("d"), status="failed", error="The LLM server answered 401: set OPENAI_API_KEY."))
    await expect(page.locator('[data-turn="1"] .cut')).to_have_text("The text was cut off here")
    await expect(page.locator('[data-turn="1"] .ending')).to_have_text("Interrupted")
    await expect(page.locator('[data-turn="2"] .ending')).to_contain_text("Rolled back")
    await expect(page.locator('[data-turn="3"] .ending')).to_contain_text("never got this")
    failure = page.locator('[data-turn="4"] .failure')
    await expect(failure).to_contain_text("set OPENAI_API_KEY")
    await failure.get_by_role("button", name="Try again").click()
    await eventually(lambda: [body["content"] for body in stub.posted("messages")] == ["d"])


async def test_thoughts_are_folded_away(page: Page, stub: StubGateway) -> None:
    """What the model thinks grows above the answer, folded, as plain text; who has opened it reads on."""
    chat = stub.chat()
    await begin(chat, page)
    text = chat.start_text(1, 1)
    chat.thought(text, "Let me <b>see</b>")
    summary, thought = page.locator(".thought summary"), page.locator(".thought-text")
    await expect(summary).to_have_text("Thinking…")
    await expect(page.locator(".thinking")).to_have_count(0)
    await expect(thought).to_be_hidden()
    await summary.click()
    chat.thought(text, " more.")
    await expect(thought).to_have_text("Let me <b>see</b> more.")
    chat.text(text, "Yes.")
    await expect(summary).to_have_text("Thinking")
    usage = {"calls": 3, "unmetered_calls": 1, "prompt_tokens": 1234, "completion_tokens": 56, "reasoning_tokens": 40}
    answer = assistant("Yes.", reasoning="Let me <b>see</b> more.")
    chat.put(turn(1, user("first", message_id="m-1"), answer, usage=usage))
    await expect(page.locator(".tokens")).to_have_text("1,234 tokens in · 56 out (40 thinking) · 1 call not counted")
    await expect(thought).to_be_visible()
    await expect(thought).to_have_text("Let me <b>see</b> more.")
    await page.reload()
    await expect(page.locator(".tokens")).to_contain_text("1,234 tokens in")
    await page.locator(".thought summary").click()
    await expect(thought).to_have_text("Let me <b>see</b> more.")


async def test_what_nobody_counted_is_unknown(page: Page, stub: StubGateway) -> None:
    """A turn whose calls reported no tokens says so, and one without calls says nothing."""
    chat = stub.chat()
    unknown = {"calls": 1, "unmetered_calls": 1, "prompt_tokens": 0, "completion_tokens": 0}
    chat.put(turn(1, user("a"), assistant("b"), usage=unknown))
    chat.put(turn(2, user("c"), usage={"calls": 0}))
    await expect(page.locator('[data-turn="1"] .tokens')).to_contain_text("Tokens unknown")
    await expect(page.locator(".tokens")).to_have_count(1)


async def test_ticks_say_what_was_read(page: Page, stub: StubGateway) -> None:
    """A message is sent until the model has it."""
    chat = stub.chat()
    await begin(chat, page)
    mark = page.locator(".said .mark")
    await expect(mark).to_have_text("Sent")
    chat.tell({"type": "CUSTOM", "name": "read", "value": {"turn_id": 1, "message_ids": ["m-1"]}})
    await expect(mark).to_have_text("Read")


async def test_modes(page: Page, stub: StubGateway) -> None:
    """Enter sends in the chat's mode, Ctrl+Enter in the other; the menu sets the chat's, or one message's."""
    chat = stub.chat()
    await begin(chat, page)
    await page.fill("#message", "one")
    await expect(page.locator("#send-name")).to_have_text("Interrupt")
    await expect(page.locator(".other-button")).to_have_text("Queue")
    await page.focus("#message")
    await page.keyboard.down("Control")
    await expect(page.locator("#send-name")).to_have_text("Queue")
    await page.keyboard.press("Enter")
    await page.keyboard.up("Control")
    await page.click("#mode")
    await expect(page.get_by_role("menuitemradio", name="Interrupt")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#mode-name")).to_have_text("Steer")
    await page.fill("#message", "two")
    await page.click("#mode")
    await page.get_by_role("menuitem", name="Send this message only as: Roll back").click()
    await page.fill("#message", "three")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("lines")
    await page.keyboard.press("Enter")
    await eventually(lambda: len(stub.posted("messages")) == 3)
    sent = [(body["content"], body.get("mode")) for body in stub.posted("messages")]
    assert sent == [("one", "QUEUE"), ("two", "ROLLBACK"), ("three\nlines", None)]
    assert stub.posted("set_mode") == [{"mode": "STEER"}]


async def test_esc_stops_and_holds_and_the_second_sends_all(page: Page, stub: StubGateway) -> None:
    """Esc stops and what waits is held; Esc again sends it. The button does the same."""
    chat = stub.chat()
    await begin(chat, page)
    chat.waiting = [waiting("w-1", "then this")]
    chat.tell_status()
    await expect(page.locator(".tray-waiting .chip-text")).to_have_text("then this")
    await page.keyboard.press("Escape")
    await eventually(lambda: stub.posted("stop") == [{"queue": "hold"}])
    await expect(page.locator("#status")).to_have_text("Stopping…")
    chat.waiting, chat.held = [], [waiting("w-1", "then this")]
    chat.put(turn(1, user("first", message_id="m-1"), status="interrupted"))
    await expect(page.locator(".tray-held .chip-text")).to_have_text("then this")
    await expect(page.locator(".tray-held .tray-head button")).to_contain_text("Send all")
    await page.keyboard.press("Escape")
    await eventually(lambda: stub.posted("resume") == [{}])
    chat.held = []
    chat.tell_status()
    await expect(page.locator("#waiting")).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(page.locator("#stop")).to_be_hidden()
    assert len(stub.posted("stop")) == 1, "nothing to stop, nothing asked for"


async def test_esc_held_down_is_one_press(page: Page, stub: StubGateway) -> None:
    """The keyboard repeats a key that is held down: the agent is stopped, and nothing is sent on by that."""
    chat = stub.chat()
    await begin(chat, page)
    for _ in range(5):
        await page.keyboard.down("Escape")
    await page.keyboard.up("Escape")
    await eventually(lambda: stub.posted("stop") == [{"queue": "hold"}])
    chat.put(turn(1, user("first", message_id="m-1"), status="interrupted"))
    await expect(page.locator("#stop")).to_be_hidden()
    assert stub.posted("resume") == []


async def test_a_held_message_is_not_called_withdrawn(page: Page, stub: StubGateway) -> None:
    """A stop takes the turn of a waiting message away and holds the message: that is what a screen reader hears."""
    chat = stub.chat()
    await begin(chat, page)
    for number, message in ((2, waiting("w-2", "then this")), (3, waiting("w-3", "and this"))):
        queued = {"message_id": message["message_id"], "content": message["content"], "role": "user"}
        chat.put(turn(number, queued, status="queued"))
    chat.held = [waiting("w-2", "then this")]
    chat.put(turn(2, status="withdrawn"))
    announcer = page.locator("#announcer")
    await expect(announcer).to_have_text("The message that waited is held.")
    chat.put(turn(3, status="withdrawn"))
    await expect(announcer).to_have_text("The message that waited was withdrawn.")


async def test_what_waits_can_be_changed(page: Page, stub: StubGateway) -> None:
    """A chip is edited in place, held, sent now, withdrawn, or resumed."""
    chat = stub.chat()
    await begin(chat, page)
    chat.waiting, chat.held = [waiting("w-1", "one"), waiting("w-2", "two")], [waiting("h-1", "three")]
    chat.tell_status()
    await page.locator(".chip-text", has_text="one").click()
    await page.keyboard.type(" more")
    chat.tell_status()  # news do not take the words away
    await page.keyboard.press("Enter")
    await eventually(lambda: stub.posted("edit_queued_message") == [{"message_id": "w-1", "content": "one more"}])
    await page.locator(".chip-text", has_text="one").click()
    await page.keyboard.press("Escape")
    assert stub.posted("stop") == [], "Esc left the chip, not the turn"
    second = page.locator(".chip", has_text="two")
    await second.get_by_role("button", name="Hold").click()
    await second.get_by_role("button", name="Send now").click()
    await second.get_by_role("button", name="Withdraw").click()
    await page.locator(".chip", has_text="three").get_by_role("button", name="Resume").click()
    await eventually(lambda: stub.posted("resume") == [{"message_ids": ["h-1"]}])
    for change in ("hold", "promote", "withdraw"):
        assert stub.posted(f"{change}_queued_message") == [{"message_id": "w-2"}]


async def test_an_edit_that_comes_too_late_is_not_lost(page: Page, stub: StubGateway) -> None:
    """Who is still typing when the agent takes the message finds the words in the message box."""
    chat = stub.chat()
    await begin(chat, page)
    chat.waiting = [waiting("w-1", "one")]
    chat.tell_status()
    await page.locator(".chip-text").click()
    await page.keyboard.type(" and two")
    chat.waiting = []
    chat.tell_status()
    await expect(page.locator("#message")).to_have_value("one and two")
    await expect(page.locator(".notice")).to_contain_text("before you had changed it")
    await page.keyboard.type(" more")
    await page.keyboard.press("Enter")  # meant to save the edit
    await expect(page.locator(".notice").last).to_contain_text("Not sent")
    await page.keyboard.press("Enter")
    await expect(page.locator("#message")).to_have_value("one and two more")
    await page.keyboard.type("!")
    await page.keyboard.press("Enter")
    await eventually(lambda: contents(stub) == ["one and two more!"])


async def test_words_that_the_service_takes_no_more_are_kept(page: Page, stub: StubGateway) -> None:
    """An edit that the chat answers with already_taken is in the message box, and not lost."""
    chat = stub.chat()
    await begin(chat, page)
    chat.waiting = [waiting("w-1", "one")]
    chat.tell_status()
    stub.taken = True
    await page.locator(".chip-text").click()
    await page.keyboard.type(" and two")
    await page.keyboard.press("Enter")
    await expect(page.locator("#message")).to_have_value("one and two")
    assert contents(stub) == []


async def test_trouble_of_one_chat_is_not_said_in_another(page: Page, stub: StubGateway) -> None:
    """Notices go when another chat is opened; a chat that can never be joined says why, and tries no more."""
    await begin(stub.chat(), page)
    stub.refuse["stop"] = [(409, "Not now.")]
    await page.keyboard.press("Escape")
    await expect(page.locator(".notice")).to_have_count(1)
    stub.impossible["no such"] = (400, "This is no key of a chat.")
    await page.goto(f"{stub.url}/#/no%20such")
    await expect(page.locator("#status")).to_have_text("This is no key of a chat.")
    await expect(page.locator(".notice", has_text="Not now.")).to_have_count(0)
    assert await page.evaluate("localStorage.getItem('chat')") is None


async def test_drafts_survive_a_reload(page: Page, stub: StubGateway) -> None:
    """What was typed is there again, for each chat; what was sent without an answer is sent again, with its id."""
    stub.refuse["messages"] = [(503, "away")]
    await page.fill("#message", "sent")
    await page.keyboard.press("Enter")
    await eventually(lambda: len(stub.posted("messages")) == 1)
    await page.fill("#message", "half a thou")
    await page.reload()
    await expect(page.locator("#message")).to_have_value("half a thou")
    await eventually(lambda: len(stub.posted("messages")) == 2)
    assert stub.posted("messages")[0] == stub.posted("messages")[1]
    await page.click("#new-chat")
    await expect(page.locator("#message")).to_have_value("")
    await page.go_back()
    await expect(page.locator("#message")).to_have_value("half a thou")


async def test_the_line_comes_back(page: Page, stub: StubGateway) -> None:
    """A broken stream is named, connected again with its cursor, and the text goes on."""
    chat = stub.chat()
    await begin(chat, page)
    text = chat.start_text(1, 1)
    chat.text(text, "one ")
    await expect(page.locator(".answer")).to_contain_text("one")
    chat.cut_off()
    await eventually(lambda: chat.cursors[-1] is not None and bool(chat.watchers))
    chat.text(text, "two")
    await expect(page.locator(".answer .markdown")).to_have_text("one two")
    await expect(page.locator("#status")).to_be_hidden()


async def test_a_tab_that_nobody_sees_lets_go_of_its_line(stub: StubGateway, open_page: OpenPage) -> None:
    """Six tabs would take all connections that a browser has for a server. Seen again, it has missed nothing."""
    page = await open_page("about:blank")
    await page.clock.install()
    await page.goto(stub.url)
    chat = stub.chat()
    await joined(page, chat)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    tell = "document.dispatchEvent(new Event('visibilitychange'));"
    await page.evaluate(hide % "true" + tell)
    await page.clock.fast_forward(31_000)
    await eventually(lambda: not chat.watchers)
    for number in (1, 2, 3):
        chat.put(turn(number, user(f"question {number}"), assistant("yes")))
    await expect(page.locator("#status")).to_be_hidden()
    await page.evaluate(hide % "false" + tell)
    await expect(page.locator(".turn .bubble")).to_have_text(["question 1", "question 2", "question 3"])


async def test_an_unavailable_record_is_named(page: Page, stub: StubGateway) -> None:
    """The status line says what is wrong, what a turn waits for, and that all is well by being empty."""
    chat = stub.chat()
    await begin(chat, page)
    chat.tell({"type": "CUSTOM", "name": "unavailable", "value": {"message": "Restate does not answer."}})
    await expect(page.locator("#status")).to_have_text("Restate does not answer.")
    chat.waiting_for = {"reason": "The LLM server answered 429", "until": "2099-01-01T00:00:00Z"}
    chat.tell_status()
    await expect(page.locator("#status")).to_contain_text("The LLM server answered 429")
    chat.waiting_for = None
    chat.tell_status()
    await expect(page.locator("#status")).to_be_hidden()


async def test_signing_in(stub: StubGateway, open_page: OpenPage) -> None:
    """A server that wants a token gets one from the form, which says when it is wrong; it lives as long as the tab."""
    stub.token = "right"  # noqa: S105 - the stub's
    page = await open_page(stub.url)
    for token in ("wrong", "right"):
        await page.fill("#token", token)
        await page.keyboard.press("Enter")
        if token == "wrong":  # noqa: S105
            await expect(page.locator("#login-error")).to_contain_text("not accepted")
    await joined(page, stub.chat())
    await page.reload()
    await expect(page.locator("#user")).to_have_text("sara")
    kept = await page.evaluate("JSON.stringify([localStorage, document.cookie])")
    assert "right" not in kept
    await page.goto(f"{stub.url}/#/default:other")
    stub.refuse["messages"] = [(503, "away")] * 1000
    await say(page, "a secret")
    await eventually(lambda: bool(stub.posted("messages")))
    await page.fill("#message", "a secret")
    await page.click("#sign-out")
    await expect(page.locator("#token")).to_be_focused()
    assert "other" not in page.url
    kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    assert "right" not in kept
    assert "a secret" not in kept


async def test_another_person_begins_anew(stub: StubGateway, open_page: OpenPage) -> None:
    """Who signs in after another, whose token is not good any more, finds no drafts and no chat of that person."""
    stub.token = "right"  # noqa: S105 - the stub's
    page = await open_page(stub.url)
    await page.fill("#token", "right")
    await page.keyboard.press("Enter")
    await joined(page, stub.chat())
    await page.goto(f"{stub.url}/#/default:other")
    await page.fill("#message", "a secret")
    stub.token, stub.user = "next", "tom"
    await page.reload()
    await page.fill("#token", "next")
    await page.keyboard.press("Enter")
    await expect(page.locator("#user")).to_have_text("tom")
    await expect(page.locator("#message")).to_have_value("")
    await expect(page).to_have_url(f"{stub.url}/#/default")
    assert "a secret" not in await page.evaluate("JSON.stringify([localStorage, sessionStorage])")


async def test_a_long_chat_is_there_in_a_second(stub: StubGateway, open_page: OpenPage) -> None:
    """Of 1000 turns the last are drawn within a second; older ones come as one scrolls up, in order."""
    chat = stub.chat()
    chat.turns = [turn(n, user(f"question {n}"), assistant(f"**answer** {n}\n\nwith *text*")) for n in range(1, 1001)]
    page = await open_page("about:blank")
    painted: list[float] = []
    for _ in range(3):  # the best of three: others use this machine, too
        await page.goto(f"{stub.url}/?{len(painted)}")
        await expect(page.locator('[data-turn="1000"]')).to_be_visible()
        painted.append(await page.evaluate("performance.getEntriesByName('drawn')[0].startTime"))
    assert min(painted) < 1000, painted
    assert await page.locator(".turn").count() < 60
    await expect(page.locator('[data-turn="1000"] .markdown')).to_be_in_viewport()
    for _ in range(3):
        first = int(await page.locator(".turn").first.get_attribute("data-turn") or 0)
        await page.evaluate("document.getElementById('scroller').scrollTop = 0")
        await expect(page.locator(f'[data-turn="{first - 1}"]')).to_be_attached()
    numbers = await page.locator(".turn").evaluate_all("(all) => all.map((each) => Number(each.dataset.turn))")
    assert numbers == list(range(numbers[0], 1001))


async def test_scrolling_up_stays_there(page: Page, stub: StubGateway) -> None:
    """The view follows the text, unless somebody has scrolled up; a button goes back to the end."""
    chat = stub.chat()
    chat.put(turn(1, user("long"), assistant("line\n\n" * 60)))
    await begin_second(chat, page)
    text = chat.start_text(2, 1)
    chat.text(text, "word\n\n" * 30)
    distance = """(() => {
      const scroller = document.getElementById("scroller");
      return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    })()"""

    async def at_the_end() -> bool:
        assert "word" in await page.inner_text(".answer >> nth=1")
        return bool(await page.evaluate(distance) < 2)

    await eventually(at_the_end)
    await page.hover("#scroller")
    await page.mouse.wheel(0, -900)
    await expect(page.locator("#to-end")).to_be_visible()
    top = await page.evaluate("document.getElementById('scroller').scrollTop")
    chat.text(text, "more\n\n" * 30)
    await expect(page.locator(".answer").nth(1)).to_contain_text("more")
    assert await page.evaluate("document.getElementById('scroller').scrollTop") == top
    await page.click("#to-end")
    await eventually(at_the_end)


async def begin_second(chat: StubChat, page: Page) -> None:
    chat.put(turn(2, user("go on"), status="running"))
    await expect(page.locator('[data-turn="2"]')).to_be_visible()


async def test_text_of_others_turns_no_line(page: Page, stub: StubGateway) -> None:
    """Characters that reverse what follows are shown by name, wherever a stranger's words are."""
    evil = "a \u202egpj.exe"
    call = {"call_id": "c-1", "name": "task", "arguments": json.dumps({"prompt": evil})}
    stub.chat().put(turn(1, user(evil), assistant(evil, 1, tool_calls=[call]), status="failed", error=evil))
    shown = "a ⟨U+202E⟩gpj.exe"
    for place in (".bubble", ".markdown p", ".failure-text"):
        await expect(page.locator(place)).to_have_text(shown)
    await page.locator(".step summary").click()
    assert "\u202e" not in await page.inner_text("body")


async def test_text_of_others_never_runs(stub: StubGateway, open_page: OpenPage) -> None:
    """Wherever a stranger's words are shown, they are words: titles, messages, tools, errors, agents."""
    evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
    chat = stub.chat()
    call = {"call_id": evil, "name": evil, "arguments": json.dumps({evil: evil})}
    said = [user(evil, message_id=evil), assistant(evil, 1, tool_calls=[call]), tool(evil, evil, 2, evil)]
    chat.turns = [turn(1, *said, status="failed", error=evil)]
    chat.held = [{"message_id": evil, "content": evil, "mode": evil}]
    stub.chat(evil).turns = [turn(1, user(evil), assistant(evil))]
    stub.agents = [{"agent_id": evil, "agent_name": evil, "status": evil, "result": {evil: evil}}]
    page = await joined(await open_page(stub.url), chat)
    await expect(page.locator(".failure-text")).to_have_text(evil)
    await page.locator(".step summary").click()
    await page.click("#agents-open")
    await expect(page.locator(".agent strong")).to_have_text(evil)
    await page.locator(".chip-text").click()
    await expect(page.locator(".chip-editor")).to_have_value(evil)
    await page.keyboard.press("Escape")
    await page.locator(".chat-link", has_text="<img").last.click()
    await expect(page.locator("#title")).to_contain_text("<img")
    assert await page.locator("img, #app script, iframe, [onerror]").count() == 0


async def test_background_agents(page: Page, stub: StubGateway) -> None:
    """The panel lists agents with their state, events and result, and shows what one streams; Esc closes it."""
    common = {"run_number": 1, "task_queue": "restack", "parent_id": None, "failure": None, "result": None}
    stub.agents = [
        common | {"agent_id": "a/1", "agent_name": "Reminder", "status": "running", "events": 3},
        common | {"agent_id": "b", "agent_name": "Report", "status": "completed", "events": 0, "result": {"pages": 3}},
    ]
    stub.outputs = {"a/1": ["page 1, ", "page 2"]}
    await page.click("#agents-open")
    await expect(page.locator(".agent-state")).to_have_text(["running", "completed"])
    for summary in await page.locator(".agent summary").all():
        await summary.click()
    await expect(page.locator(".agent-facts").first).to_have_text("3 events · 1 run · queue restack")
    await expect(page.locator(".agent-output").first).to_have_text("page 1, page 2")
    await expect(page.locator(".agent pre:visible").last).to_contain_text('"pages": 3')
    await page.keyboard.press("Escape")
    await expect(page.locator("#agents")).to_be_hidden()


async def test_the_page_is_strict(page: Page, stub: StubGateway) -> None:
    """The page has no inline script or style, and fetches nothing from elsewhere."""
    markup = await (await page.request.get(stub.url)).text()
    modules = {path.name for path in PAGE.glob("*.js")} - {"theme.js", "main.js"}
    assert set(re.findall(r'"modulepreload" href="/static/([\w.]+)"', markup)) == modules, "else they come one by one"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", markup)
    sources = await page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert sources
    assert all(source.startswith(stub.url) for source in sources)


async def test_what_screen_readers_get(page: Page, stub: StubGateway) -> None:
    """Everything to press has a name, and focus goes through the page in its order."""
    chat = stub.chat()
    await begin(chat, page)
    chat.waiting = [waiting("w-1", "one")]
    chat.tell_status()
    await expect(page.locator(".chip")).to_be_visible()
    names = await page.locator("button:visible, a:visible, textarea:visible").evaluate_all(
        """(all) => all.filter((each) => each.offsetParent).map((each) =>
          each.getAttribute("aria-label") || each.labels?.[0]?.textContent || each.textContent.trim())"""
    )
    assert all(names), names
    assert await page.locator("#scroller").get_attribute("aria-live") == "off"
    assert await page.locator("#announcer").get_attribute("aria-live") == "polite"
    await page.focus("#new-chat")
    seen = []
    for _ in range(12):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert seen.index("forget") < seen.index("scroller") < seen.index("chip-text")


async def test_phone(stub: StubGateway, open_page: OpenPage) -> None:
    """At the width of a phone nothing sticks out, and the list of chats slides in."""
    page = await open_page("about:blank")
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(stub.url)
    chat = stub.chat()
    await joined(page, chat)
    wide = "x" * 300 + "\n\n```\n" + "y" * 300 + "\n```\n\n| " + " | ".join(["cell"] * 30) + " |\n" + "|---" * 30 + "|"
    chat.put(turn(1, user("x" * 300), assistant(wide)))
    await begin_second(chat, page)
    chat.waiting = [waiting("w-1", "a message that waits and is longer than a phone is wide")]
    chat.tell_status()
    await page.fill("#message", "something")
    call = {"call_id": "c-1", "name": "task", "arguments": json.dumps({"prompt": "count the files " * 9})}
    chat.put(turn(2, user("go on"), assistant("", 1, tool_calls=[call]), status="running"))
    await expect(page.locator(".chip")).to_be_visible()
    await expect(page.locator(".chip-mode")).to_be_visible()
    await expect(page.locator(".step-brief")).to_be_visible()
    await expect(page.locator(".step-brief")).to_contain_text("count the files")
    out = await page.evaluate(
        """() => [...document.querySelectorAll(".main *")]
          .filter((each) => !each.closest(".table, pre, .hidden, .chip-text"))
          .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
          .map((each) => each.className || each.tagName)"""
    )
    assert out == []
    await page.click("#sidebar-open")
    await expect(page.locator("#new-chat")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#sidebar")).not_to_be_in_viewport()


async def test_dark(page: Page) -> None:
    """The page follows the system, the button decides otherwise, and a reload keeps that."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(ground)
    assert dark != light
    await page.click("#theme")
    assert await page.evaluate(ground) == light
    await page.reload()
    assert await page.evaluate(ground) == light
