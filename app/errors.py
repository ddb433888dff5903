"""The errors of the application, one tree. Each knows the HTTP status it becomes at the Restate boundary.

The docstring of a class is its message where none is given, so it is written for who reads the error.

AgentError
├── UsageError          the caller's fault (400); nothing was stored
│   ├── NotFound        names something that is not there (404)
│   ├── Conflict        does not fit the state of the chat or the agent (409)
│   ├── TooLarge        over a size limit (413)
│   ├── UnknownKind     a file of a kind that is not taken (415)
│   ├── TooManyPending  over the limit of waiting messages (429)
│   └── SpentForToday   over the limit of tokens a day (429)
├── LLMError            the LLM gave no usable reply
│   ├── LLMUnavailable  a passing fault: worth another attempt
│   │   └── LLMLimited  a limit of ours makes the call wait: it was not made
│   ├── LLMRejected     a lasting fault: another attempt would end the same way
│   │   └── ContextTooLong  the request was longer than the LLM takes
│   └── ReplyTooLong    the reply was over our limit, and was cut off there
├── StepFailed          a durable step ended without a result
├── ToolTimedOut        a tool was ended because it took too long
├── AgentFailed         a background agent ended without a result
├── FunctionError       what a function of a background agent raises to say whether another attempt may help
│   ├── RetryableError
│   └── NonRetryableError
├── ToolFailed          a tool of an MCP server gave no result
├── CallUnknown         a tool was called, and nobody knows what it did
├── BrokenState         a stored key cannot be read, or is missing
├── StorageFull         there is no room for a file (507)
├── FilesUnavailable    the store of files does not answer, or refuses us (503)
├── AdminUnavailable    Restate's admin API does not answer
├── DeterminismError    durable code did what no replay could repeat
└── DefinitionError     a wrong declaration, found at import time
"""


class AgentError(Exception):
    """Something went wrong in the agent application."""

    status = 500

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def message(self) -> str:
        return str(self)


class UsageError(AgentError):
    """The request cannot be served as it is."""

    status = 400


class NotFound(UsageError):
    """The request names something that is not there."""

    status = 404


class Conflict(UsageError):
    """The request does not fit the state of the chat or the agent."""

    status = 409


class TooLarge(UsageError):
    """The request is over a size limit."""

    status = 413


class UnknownKind(UsageError):
    """The file is of a kind that is not taken."""

    status = 415


class TooManyPending(UsageError):
    """Too many messages of this chat wait for the agent; send more once it has read them."""

    status = 429


class SpentForToday(UsageError):
    """This chat has used all tokens that it may use in a day; send the message again tomorrow."""

    status = 429


class LLMError(AgentError):
    """The LLM gave no usable reply. `text` is what had arrived of its answer."""

    retryable = False
    text = ""


class LLMUnavailable(LLMError):
    """The LLM cannot be reached or is overloaded. `retry_after_s` is the wait it asked for, in seconds, or None."""

    status = 503
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LLMLimited(LLMUnavailable):
    """The LLM is asked as much as it may be in a minute; this call waits for its turn."""


class LLMRejected(LLMError):
    """The LLM refused the request; it would refuse it again."""

    status = 502


class ContextTooLong(LLMRejected):
    """The request was longer than the LLM takes."""


class ReplyTooLong(LLMError):
    """The reply of the LLM was longer than MAX_REPLY_CHARS."""


class StepFailed(AgentError):
    """A durable step ended without a result.

    `error_type` is the class name of what the action raised, `retryable` whether another attempt may help,
    `retry_after_s` the wait that was asked for, in seconds, or None.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        error_type: str = "Exception",
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ToolTimedOut(AgentError):
    """The tool was ended because it took too long; it may have run."""


class AgentFailed(AgentError):
    """A background agent ended without a result. `ended` is how: failed, cancelled or terminated."""

    def __init__(self, message: str | None = None, *, ended: str = "failed") -> None:
        super().__init__(message)
        self.ended = ended


class FunctionError(AgentError):
    """A function failed and says whether another attempt may help."""

    retryable = True


class RetryableError(FunctionError):
    """The function failed; another attempt may help."""


class NonRetryableError(FunctionError):
    """The function failed; another attempt would end the same way."""

    retryable = False


class ToolFailed(AgentError):
    """The tool failed."""


class CallUnknown(AgentError):
    """The call of the tool may have run; nobody knows what it did."""


class BrokenState(AgentError):
    """A stored key cannot be read, or is missing; somebody has edited the state."""


class StorageFull(AgentError):
    """There is no room for this file: the disk of the service is full. Try again later."""

    status = 507


class FilesUnavailable(AgentError):
    """The store of files does not answer; try again in a moment."""

    status = 503


class AdminUnavailable(AgentError):
    """Restate's admin API does not answer."""

    status = 503


class DeterminismError(AgentError):
    """Durable code did what a replay could not repeat; do it inside a step."""


class DefinitionError(AgentError):
    """A declaration is wrong."""
