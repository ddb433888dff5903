"""What the LLM is told of a call that a person had to approve.

Pure: no I/O. Words of people are quoted as theirs.
"""

from app.turns.transcript import Resolution, Verdict


def refusal_of(resolution: Resolution) -> str:
    """Return the result of a call that was not approved."""
    match resolution:
        case Resolution(verdict=Verdict.REJECTED, message_id=str()):
            return (
                "This tool call waited for approval, and never started: the user has sent a message instead, "
                f"which begins with {resolution.reason!r}. It follows."
            )
        case Resolution(verdict=Verdict.REJECTED):
            why = f"gave the reason {resolution.reason!r}" if resolution.reason else "gave no reason"
            return f"The user rejected this tool call, and {why}. It never started, and nothing was done."
        case Resolution(verdict=Verdict.EXPIRED):
            return "Nobody approved this tool call in time. It never started, and nothing was done."
    return "This tool call was not approved. It never started, and nothing was done."


def why_unanswered(resolution: Resolution) -> str:
    """Return why a question that a call asked has no answer: what comes behind "… and"."""
    match resolution:
        case Resolution(verdict=Verdict.REJECTED, message_id=str()):
            return f"the user has sent a message instead, which begins with {resolution.reason!r} and follows"
        case Resolution(verdict=Verdict.REJECTED):
            why = f"gave the reason {resolution.reason!r}" if resolution.reason else "gave no reason"
            return f"the user declined to answer, and {why}"
        case Resolution(verdict=Verdict.EXPIRED):
            return "nobody answered in time"
    return "the turn ended before anybody answered"


def with_changed_arguments(result: str, arguments: str) -> str:
    """Return the result of a call that was approved with other arguments than the LLM wrote."""
    return f"[The user approved this call with other arguments, with which it was made: {arguments}]\n{result}"
