import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from app.turns.compaction.fitting import LEFT_OUT, estimate_tokens
from app.turns.compaction.summary import Summary, bounded, max_chars
from app.turns.context import repair, synthetic_result, window
from app.turns.transcript import AssistantItem, Finish, Item, ToolCall, ToolItem, ToolOutcome, UserItem

NO_LIMIT = 10**9


def user(text: str) -> Item:
    return UserItem(message_id=text, content=text)


def calls(*call_ids: str, text: str = "") -> Item:
    tool_calls = tuple(ToolCall(call_id=call_id, name="work", arguments="{}") for call_id in call_ids)
    return AssistantItem(content=text, tool_calls=tool_calls, finish=Finish.TOOL_CALLS)


def says(text: str) -> Item:
    return AssistantItem(content=text)


def result(call_id: str, text: str = "done") -> Item:
    return ToolItem(call_id=call_id, name="work", content=text)


call_ids = st.sampled_from(["a", "b", "c"])
any_item: st.SearchStrategy[Item] = st.one_of(
    st.builds(user, st.text(max_size=30)),
    st.builds(says, st.text(max_size=30)),
    st.lists(call_ids, min_size=1, max_size=4).map(lambda ids: calls(*ids)),
    st.builds(result, call_ids, st.text(max_size=30)),
)
any_items = st.lists(any_item, max_size=20)
big_texts = st.integers(0, 30_000).map(lambda size: "x" * size)
any_big_item: st.SearchStrategy[Item] = st.one_of(
    st.builds(user, st.integers(0, 2000).map(lambda size: "x" * size)),
    st.builds(says, big_texts),
    st.lists(call_ids, min_size=1, max_size=3).map(lambda ids: calls(*ids)),
    st.builds(result, call_ids, big_texts),
)


def steps(count: int, text: str) -> list[Item]:
    """Return as many calls, each with its result."""
    return [item for n in range(count) for item in (calls(f"c{n}"), result(f"c{n}", text))]


def is_note(item: Item) -> bool:
    """Return whether an item says what is left out."""
    return isinstance(item, UserItem) and item.message_id == LEFT_OUT


def alike(item: Item, other: Item) -> bool:
    """Return whether an item is another one, or what is left of it."""
    same = item.changed(content="") == other.changed(content="")
    return same and (item == other or "left out here" in item.content)


def texts(items: list[Item]) -> list[str]:
    return [item.content for item in items if isinstance(item, UserItem)]


def assert_paired(items: list[Item]) -> None:
    due: list[str] = []
    for item in items:
        if isinstance(item, ToolItem):
            assert due[:1] == [item.call_id], items
            due.pop(0)
        else:
            assert not due, items
        if isinstance(item, AssistantItem):
            due = [call.call_id for call in item.tool_calls]
            assert len(set(due)) == len(due), items
    assert not due, items


class TestRepair:
    def test_well_formed_items_stay_as_they_are(self) -> None:
        """Items that are in order are returned unchanged."""
        items = [user("hi"), calls("a", "b"), result("a"), result("b"), user("and?"), says("done")]
        assert repair(items) == items

    def test_missing_result_is_honest(self) -> None:
        """A call without a result gets one that says that it may have run."""
        repaired = repair([user("hi"), calls("a", "b"), result("b")])
        assert repaired[2] == synthetic_result(ToolCall(call_id="a", name="work", arguments="{}"))
        assert isinstance(repaired[2], ToolItem)
        assert repaired[2].outcome is ToolOutcome.UNKNOWN
        assert "may have run" in repaired[2].content

    def test_skipped_call_says_that_it_never_started(self) -> None:
        """The synthetic result of a skipped call says that nothing was done."""
        item = synthetic_result(ToolCall(call_id="a", name="work", arguments="{}"), ToolOutcome.SKIPPED)
        assert "never started" in item.content

    def test_orphan_and_second_results_are_dropped(self) -> None:
        """A result that belongs to no call, comes before its call, or comes twice is dropped."""
        items = [result("x"), result("a"), calls("a"), result("a", "first"), result("a", "second")]
        assert repair(items) == [calls("a"), result("a", "first")]

    def test_user_text_moves_behind_the_results(self) -> None:
        """What the user said between a call and its results comes after them, in order."""
        items = [calls("a", "b"), user("one"), result("b"), user("two"), result("a")]
        assert repair(items) == [calls("a", "b"), result("a"), result("b"), user("one"), user("two")]

    def test_ids_may_repeat_in_later_replies(self) -> None:
        """Servers that count call ids from 0 in each reply get each result behind its own call."""
        items = [calls("a"), result("a", "1"), calls("a"), result("a", "2")]
        assert repair(items) == items

    @given(any_items)
    def test_any_items_become_well_formed(self, items: list[Item]) -> None:
        """Whatever the items are, calls and results are paired afterwards."""
        assert_paired(repair(items))

    @given(any_items)
    def test_is_idempotent(self, items: list[Item]) -> None:
        """Repairing twice is repairing once."""
        assert repair(repair(items)) == repair(items)

    @given(any_items)
    def test_keeps_every_user_text_in_order(self, items: list[Item]) -> None:
        """No user text is lost or overtaken."""
        assert texts(repair(items)) == texts(items)


class TestWindow:
    def test_everything_that_fits_is_there_in_order(self) -> None:
        """With room enough the LLM sees all turns, oldest first."""
        history = [[user("1"), says("one")], [user("2"), says("two")]]
        assert window(history, [user("3")], budget_tokens=NO_LIMIT) == [*history[0], *history[1], user("3")]

    def test_only_whole_earlier_turns_without_a_gap(self) -> None:
        """An earlier turn that does not fit is left out, and with it all before it."""
        history = [[user("1"), says("one")], [user("2" * 4000), says("two")], [user("3"), says("three")]]
        assert window(history, [user("4")], budget_tokens=100) == [*history[2], user("4")]

    def test_old_steps_of_the_current_turn_are_shortened(self) -> None:
        """Of a turn that outgrows the window the LLM sees all calls; of old results only the beginning and the end."""
        current = [user("start"), *steps(6, "BEGIN" + "x" * 4000 + "END"), user("and?")]
        kept = window([], current, budget_tokens=4000)
        assert [item.kind for item in kept] == [item.kind for item in current]
        lengths = [len(item.content) for item in kept if isinstance(item, ToolItem)]
        assert lengths == sorted(lengths)
        assert 200 < lengths[0] < 300
        assert lengths[-1] == 4008
        assert kept[2].content.startswith("BEGINxx")
        assert kept[2].content.endswith("xxEND")
        assert "3808 characters are left out here" in kept[2].content
        assert estimate_tokens(kept) <= 4000

    def test_steps_are_left_out_in_the_end(self) -> None:
        """A turn of very many steps has the oldest left out, which is said in their place; the user's words stay."""
        current = [user("start"), *steps(50, "x"), user("and?"), *steps(450, "x" * 100)]
        kept = window([[user("old"), says("answer")]], current, budget_tokens=4000)
        assert estimate_tokens(kept) <= 4000
        assert texts(kept)[:3] == ["old", "start", kept[3].content]
        assert "earlier steps of this turn are left out here" in kept[3].content
        assert texts(kept)[3] == "and?"
        assert kept[-1] == current[-1]

    def test_what_was_seen_stays_the_same_as_a_turn_grows(self) -> None:
        """Steps are shortened in leaps: most requests of a turn begin with the one before, as servers cache it."""
        everything = [user("start"), *steps(60, "x" * 1000)]
        seen = [window([], everything[: 1 + 2 * n], budget_tokens=4000) for n in range(1, 61)]
        longer = sum(later[: len(before)] == before for before, later in itertools.pairwise(seen))
        assert longer > 30
        assert all(estimate_tokens(each) <= 4000 for each in seen)

    def test_the_start_and_the_last_step_stay_whatever_the_budget(self) -> None:
        """What the LLM is to answer is there: the start, the last results, and messages that came after them."""
        start: list[Item] = [user("start"), calls("a"), result("a")]
        last = [calls("b"), result("b", "x" * 4000), user("and"), user("also")]
        kept = window([[user("old")]], [*start, *last], budget_tokens=1)
        assert [item.kind for item in kept if item.content[:1] != "["] == ["user", *(item.kind for item in last)]
        assert kept[-2:] == last[-2:]

    def test_earlier_turns_keep_a_part_of_the_window(self) -> None:
        """A turn that grows shortens its own old results before it drives out the newest of what was said before."""
        history = [[user("old"), says("x" * 40_000)], [user("who am I?"), says("you are Ann")]]
        kept = window(history, [user("start"), *steps(6, "x" * 4000)], budget_tokens=4000)
        assert texts(kept)[-2:] == ["who am I?", "start"]
        assert estimate_tokens(kept) <= 4000

    def test_the_summary_comes_first(self) -> None:
        """A summary stands before the turns that follow it, and stays when those must go."""
        summary = Summary(covers=7, text="They met.")
        history = [[user("1"), says("x" * 4000)], [user("2"), says("two")]]
        kept = window(history, [user("3")], budget_tokens=400, summary=summary)
        assert kept == [summary.as_seen(), *history[1], user("3")]
        assert window([], [user("3")], budget_tokens=10, summary=summary) == [user("3")]

    def test_a_big_answer_is_cut_not_all_before_it(self) -> None:
        """After an answer of a megabyte the LLM sees its beginning and its end, and the turns before and after it."""
        history = [
            [user("1"), says("one")],
            [user("2"), says("BEGIN" + "x" * 10**6 + "END")],
            [user("3"), says("three")],
        ]
        kept = window(history, [user("4")], budget_tokens=24_000)
        assert [item.content for item in kept if item.content[:5] != "BEGIN"] == ["1", "one", "2", "3", "three", "4"]
        big = kept[3].content
        assert big.startswith("BEGINxxx")
        assert big.endswith("xxxEND")
        assert "characters are left out here" in big
        assert 40_000 < len(big) < 24_000 * 4 / 2 + 100

    def test_big_items_of_one_turn_share_the_room(self) -> None:
        """A turn with several big items has all of them cut, its call and results stay paired, arguments stay JSON."""
        big = "x" * 10**6
        call = ToolCall(call_id="a", name="work", arguments=f'{{"task": "{big}"}}')
        turn = [user(big), AssistantItem(content="so", tool_calls=(call,)), result("a", big), says(big)]
        kept = window([[user("1"), says("one")], turn], [user("4")], budget_tokens=24_000)
        assert [item.kind for item in kept] == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
        assert estimate_tokens(kept) < 24_000
        assert isinstance(kept[3], AssistantItem)
        assert json.loads(kept[3].tool_calls[0].arguments) == {"left_out": "1000012 characters"}

    def test_a_big_item_of_the_current_turn(self) -> None:
        """In the current turn a big answer is cut too, so that earlier turns fit; what the user says never is."""
        history = [[user("1"), says("one")]]
        kept = window(history, [user("y" * 60_000), says("x" * 10**6), user("go on")], budget_tokens=40_000)
        assert [len(item.content) < 100_000 for item in kept] == [True] * 5
        assert [item.content for item in kept[:3]] == ["1", "one", "y" * 60_000]

    def test_nothing_is_cut_that_fits(self) -> None:
        """An item that is big but fits is seen whole; so is one of a turn that is left out because others are newer."""
        history = [[user("1"), says("x" * 60_000)]]
        assert window(history, [user("2")], budget_tokens=24_000)[1] == says("x" * 60_000)

    def test_earlier_turns_are_repaired(self) -> None:
        """An interrupted turn in the history is well formed in the window."""
        kept = window([[user("1"), calls("a")]], [user("2")], budget_tokens=NO_LIMIT)
        assert [item.kind for item in kept] == ["user", "assistant", "tool", "user"]

    @given(st.lists(any_items, max_size=4), any_items, st.integers(0, 400))
    def test_any_window_is_well_formed(self, history: list[list[Item]], current: list[Item], budget: int) -> None:
        """Whatever is cut, calls and results are paired, what is left keeps its order, and no user text is changed."""
        kept = window(history, current, budget_tokens=budget)
        assert_paired(kept)
        everything = iter(window(history, current, budget_tokens=NO_LIMIT))
        left = [item for item in kept if not is_note(item)]
        assert all(any(item is other or alike(item, other) for other in everything) for item in left)
        assert texts(left)[len(texts(left)) - len(texts(current)) :] == texts(current)

    @given(
        st.lists(st.lists(any_big_item, max_size=6), max_size=4),
        st.lists(any_big_item, max_size=12),
        st.integers(3000, 9000),
        st.none() | st.text(max_size=3000),
    )
    def test_every_window_fits(
        self, history: list[list[Item]], current: list[Item], budget: int, notes: str | None
    ) -> None:
        """The LLM is never shown more than the budget, unless what the user says in this turn alone is more."""
        summary = None if notes is None else Summary(covers=1, text=bounded(notes, max_chars(budget)))
        kept = window(history, current, budget_tokens=budget, summary=summary)
        assert_paired(kept)
        said = estimate_tokens([item for item in current if isinstance(item, UserItem)])
        assert estimate_tokens(kept) <= max(budget, said + budget // 4)
        assert kept == window(history, current, budget_tokens=budget, summary=summary)

    @given(any_items, st.integers(0, 400))
    def test_the_latest_user_texts_are_always_seen(self, current: list[Item], budget: int) -> None:
        """Messages that stand at the end of the current turn are in the window."""
        latest = []
        for item in reversed(repair(current)):
            if not isinstance(item, UserItem):
                break
            latest.append(item)
        kept = window([], current, budget_tokens=budget)
        assert kept[len(kept) - len(latest) :] == latest[::-1]
