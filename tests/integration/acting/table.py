"""The table of DESIGN 4.3: what a message of each mode does in each state of the chat, and what the LLM sees next.

A line of the history is "turn role status: text", a message of a request "role: text". The LLM's answers are numbered
by its requests, those that led to the state included; one that is made again counts once. `test_table.py` has how the
states are reached.
"""

from dataclasses import dataclass, field, replace

MODES = ("INTERRUPT", "ROLLBACK", "INCORPORATE", "STEER", "QUEUE", "REJECT")
KEY = "KEY"  # stands for the key of the chat


@dataclass(frozen=True)
class Row:
    """What is expected of one mode in one state.

    `turn`: that of the receipt, or the open one that a refusal names. `asked`: the requests that the LLM gets from the
    message on, without the system prompt. `aborted`: the LLM call that was under way was. `ledger`: what tools have
    done in the world from the message on.
    """

    decision: str
    turn: int
    history: list[str]
    asked: list[list[str]]
    aborted: bool = False
    ledger: list[str] = field(default_factory=list)


UNKNOWN = "This tool call was ended before its result was known: it may have run, in part or in full."
SKIPPED = "This tool call never started: it was skipped, and nothing was done."
CUT = "\n[interrupted by the user before this was finished]"
REJECTED = (
    "This tool call waited for approval, and never started: the user has sent a message instead, which begins with "
    "'second'. It follows."
)
ROLLED_BACK = "This turn was rolled back."
CALLS = '→ book{"what": "seat", "chat": "KEY"} errand{"name": "KEY"} alone{"name": "KEY"}'
PAYS = '→ pay{"amount": 100, "to": "KEY"}'
STUBBORN = '→ errand{"name": "stubborn KEY"}'

IDLE = Row(
    "started",
    1,
    ["1 user completed: second", "1 assistant completed: Answer 1."],
    [["user: second"]],
)

BEFORE_FIRST_TOKEN = {
    "INTERRUPT": Row(
        "interrupted",
        2,
        ["1 user interrupted: first", "2 user completed: second", "2 assistant completed: Answer 2."],
        [["user: first\n\nsecond"]],
        aborted=True,
    ),
    "ROLLBACK": Row(
        "rolled_back",
        2,
        ["1 user rolled_back: first", "2 user completed: second", "2 assistant completed: Answer 2."],
        [["user: second"]],
        aborted=True,
    ),
    "INCORPORATE": Row(
        "incorporated",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", "assistant: Answer 1.", "user: second"]],
    ),
    "STEER": Row(
        "steered",
        1,
        ["1 user completed: first", "1 user completed: second", "1 assistant completed: Answer 2."],
        [["user: first\n\nsecond"]],
        aborted=True,
    ),
    "QUEUE": Row(
        "queued",
        2,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first", "assistant: Answer 1.", "user: second"]],
    ),
    "REJECT": Row("refused", 1, ["1 user completed: first", "1 assistant completed: Answer 1."], []),
}

IN_MID_TEXT = BEFORE_FIRST_TOKEN | {
    "INTERRUPT": Row(
        "interrupted",
        2,
        [
            "1 user interrupted: first",
            "1 assistant interrupted, partial: Answer ",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: Answer {CUT}", "user: second"]],
        aborted=True,
    ),
    "ROLLBACK": Row(
        "rolled_back",
        2,
        [
            "1 user rolled_back: first",
            "1 assistant rolled_back, partial: Answer ",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: second"]],
        aborted=True,
    ),
    "STEER": Row(
        "steered",
        1,
        [
            "1 user completed: first",
            "1 assistant completed, partial: Answer ",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: Answer {CUT}", "user: second"]],
        aborted=True,
    ),
}

# `book` has ended, `errand` runs, `alone` has not started.
TOOLS_DONE = ["tool book: seat KEY", "tool errand: the errand of KEY is done", "tool alone: KEY"]
TOOLS_RUNNING = {
    "INTERRUPT": Row(
        "interrupted",
        2,
        [
            "1 user interrupted: first",
            "1 assistant interrupted: → book errand alone",
            "1 tool interrupted, ok: seat KEY",
            f"1 tool interrupted, unknown: {UNKNOWN}",
            f"1 tool interrupted, skipped: {SKIPPED}",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [
            [
                "user: first",
                f"assistant: {CALLS}",
                "tool book: seat KEY",
                f"tool errand: {UNKNOWN}",
                f"tool alone: {SKIPPED}",
                "user: second",
            ]
        ],
    ),
    "ROLLBACK": Row(
        "rolled_back",
        2,
        [
            "1 user rolled_back: first",
            "1 assistant rolled_back: → book errand alone",
            "1 tool rolled_back, ok: seat KEY",
            f"1 tool rolled_back, unknown: {UNKNOWN}",
            f"1 tool rolled_back, skipped: {SKIPPED}",
            f"1 system rolled_back: {ROLLED_BACK} Undone: book. "
            "Not undone: errand (it may have run in part, no compensation was made).",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: second"]],
        ledger=["cancel seat KEY"],
    ),
    "INCORPORATE": Row(
        "incorporated",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: → book errand alone",
            "1 tool completed, ok: seat KEY",
            "1 tool completed, ok: the errand of KEY is done",
            "1 tool completed, ok: KEY",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: {CALLS}", *TOOLS_DONE, "user: second"]],
        ledger=["in KEY", "out KEY"],
    ),
    "STEER": Row(
        "steered",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: → book errand alone",
            "1 tool completed, ok: seat KEY",
            "1 tool completed, ok: the errand of KEY is done",
            f"1 tool completed, skipped: {SKIPPED}",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: {CALLS}", *TOOLS_DONE[:2], f"tool alone: {SKIPPED}", "user: second"]],
    ),
    "QUEUE": Row(
        "queued",
        2,
        [
            "1 user completed: first",
            "1 assistant completed: → book errand alone",
            "1 tool completed, ok: seat KEY",
            "1 tool completed, ok: the errand of KEY is done",
            "1 tool completed, ok: KEY",
            "1 assistant completed: Answer 2.",
            "2 user completed: second",
            "2 assistant completed: Answer 3.",
        ],
        [
            ["user: first", f"assistant: {CALLS}", *TOOLS_DONE],
            ["user: first", f"assistant: {CALLS}", *TOOLS_DONE, "assistant: Answer 2.", "user: second"],
        ],
        ledger=["in KEY", "out KEY"],
    ),
    "REJECT": Row(
        "refused",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: → book errand alone",
            "1 tool completed, ok: seat KEY",
            "1 tool completed, ok: the errand of KEY is done",
            "1 tool completed, ok: KEY",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: {CALLS}", *TOOLS_DONE]],
        ledger=["in KEY", "out KEY"],
    ),
}

# Where the turn goes on without the message, a person approves the call.
WAITING_FOR_APPROVAL = {
    "INTERRUPT": Row(
        "interrupted",
        2,
        [
            "1 user interrupted: first",
            "1 assistant interrupted: → pay",
            f"1 tool interrupted, skipped: {SKIPPED}",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: {PAYS}", f"tool pay: {SKIPPED}", "user: second"]],
    ),
    "ROLLBACK": Row(
        "rolled_back",
        2,
        [
            "1 user rolled_back: first",
            "1 assistant rolled_back: → pay",
            f"1 tool rolled_back, skipped: {SKIPPED}",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: second"]],
    ),
    **{
        mode: Row(
            decision,
            1,
            [
                "1 user completed: first",
                "1 assistant completed: → pay",
                f"1 tool completed, skipped: {REJECTED}",
                "1 user completed: second",
                "1 assistant completed: Answer 2.",
            ],
            [["user: first", f"assistant: {PAYS}", f"tool pay: {REJECTED}", "user: second"]],
        )
        for mode, decision in (("INCORPORATE", "incorporated"), ("STEER", "steered"))
    },
    "QUEUE": Row(
        "queued",
        2,
        [
            "1 user completed: first",
            "1 assistant completed: → pay",
            "1 tool completed, ok: paid 100 to KEY",
            "1 assistant completed: Answer 2.",
            "2 user completed: second",
            "2 assistant completed: Answer 3.",
        ],
        [
            ["user: first", f"assistant: {PAYS}", "tool pay: paid 100 to KEY"],
            ["user: first", f"assistant: {PAYS}", "tool pay: paid 100 to KEY", "assistant: Answer 2.", "user: second"],
        ],
        ledger=["paid 100 to KEY"],
    ),
    "REJECT": Row(
        "refused",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: → pay",
            "1 tool completed, ok: paid 100 to KEY",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", f"assistant: {PAYS}", "tool pay: paid 100 to KEY"]],
        ledger=["paid 100 to KEY"],
    ),
}

# The LLM has refused the first call and is to be asked again in two seconds.
WAITING_FOR_RETRY = {
    **{mode: replace(BEFORE_FIRST_TOKEN[mode], aborted=False) for mode in ("INTERRUPT", "ROLLBACK", "STEER")},
    "INCORPORATE": replace(BEFORE_FIRST_TOKEN["STEER"], decision="incorporated", aborted=False),
    "QUEUE": Row(
        "queued",
        2,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first"], ["user: first", "assistant: Answer 1.", "user: second"]],
    ),
    "REJECT": Row(
        "refused",
        1,
        ["1 user completed: first", "1 assistant completed: Answer 1."],
        [["user: first"]],
    ),
}

# "queued" waits as turn 2 behind turn 1, whose LLM has said nothing yet.
TURN_QUEUED = {
    "INTERRUPT": Row(
        "interrupted",
        2,
        [
            "1 user interrupted: first",
            "2 user completed: queued",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first\n\nqueued\n\nsecond"]],
        aborted=True,
    ),
    "ROLLBACK": Row(
        "rolled_back",
        2,
        [
            "1 user rolled_back: first",
            "2 user completed: queued",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: queued\n\nsecond"]],
        aborted=True,
    ),
    "INCORPORATE": Row(
        "incorporated",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "1 user completed: queued",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first", "assistant: Answer 1.", "user: queued\n\nsecond"]],
    ),
    "STEER": Row(
        "steered",
        1,
        [
            "1 user completed: first",
            "1 user completed: queued",
            "1 user completed: second",
            "1 assistant completed: Answer 2.",
        ],
        [["user: first\n\nqueued\n\nsecond"]],
        aborted=True,
    ),
    "QUEUE": Row(
        "queued",
        3,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "2 user completed: queued",
            "2 assistant completed: Answer 2.",
            "3 user completed: second",
            "3 assistant completed: Answer 3.",
        ],
        [
            ["user: first", "assistant: Answer 1.", "user: queued"],
            ["user: first", "assistant: Answer 1.", "user: queued", "assistant: Answer 2.", "user: second"],
        ],
    ),
    "REJECT": Row(
        "refused",
        1,
        [
            "1 user completed: first",
            "1 assistant completed: Answer 1.",
            "2 user completed: queued",
            "2 assistant completed: Answer 2.",
        ],
        [["user: first", "assistant: Answer 1.", "user: queued"]],
    ),
}

# Turn 1 was stopped; its tool has not ended yet. A message starts the next turn, which runs when that one has ended.
AFTER_A_STOP = Row(
    "started",
    2,
    [
        "1 user interrupted: first",
        "1 assistant interrupted: → errand",
        f"1 tool interrupted, unknown: {UNKNOWN}",
        "2 user completed: second",
        "2 assistant completed: Answer 2.",
    ],
    [["user: first", f"assistant: {STUBBORN}", f"tool errand: {UNKNOWN}", "user: second"]],
)
STOPPING = dict.fromkeys(MODES, AFTER_A_STOP) | {
    "ROLLBACK": Row(
        "rolled_back",
        2,
        [
            "1 user rolled_back: first",
            "1 assistant rolled_back: → errand",
            f"1 tool rolled_back, unknown: {UNKNOWN}",
            f"1 system rolled_back: {ROLLED_BACK} "
            "Not undone: errand (it may have run in part, no compensation was made).",
            "2 user completed: second",
            "2 assistant completed: Answer 2.",
        ],
        [["user: second"]],
    )
}

# A held message is given to no turn, whatever is said: it stays behind all others.
HELD = Row(
    "started",
    2,
    [
        "1 user completed: first",
        "1 assistant completed: Answer 1.",
        "2 user completed: second",
        "2 assistant completed: Answer 2.",
        "3 user queued, held: held",
    ],
    [["user: first", "assistant: Answer 1.", "user: second"]],
)
HELD_BESIDE_A_TURN = {
    mode: replace(row, history=[*row.history, f"{int(row.history[-1][0]) + 1} user queued, held: held"])
    for mode, row in BEFORE_FIRST_TOKEN.items()
}

TABLE: dict[str, dict[str, Row]] = {
    "idle": dict.fromkeys(MODES, IDLE),
    "before the first token": BEFORE_FIRST_TOKEN,
    "in mid-text": IN_MID_TEXT,
    "tools running": TOOLS_RUNNING,
    "waiting for an approval": WAITING_FOR_APPROVAL,
    "waiting for a retry": WAITING_FOR_RETRY,
    "a turn queued behind": TURN_QUEUED,
    "stopping": STOPPING,
    "a message held": dict.fromkeys(MODES, HELD),
    "a message held beside a turn": HELD_BESIDE_A_TURN,
}
