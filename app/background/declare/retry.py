"""RetryPolicy of a step, as agents write it: the words of the reference and those of the published library.

The waits between attempts are those of `durable.RetryPolicy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app import durable
from app.errors import DefinitionError

DEFAULT_ATTEMPTS = 5


@dataclass(frozen=True, init=False, repr=False)
class RetryPolicy(durable.RetryPolicy):
    """When a failed function is tried again.

    `max_attempts` and `max_interval` are other words for `maximum_attempts` and `maximum_interval`.
    Units: intervals are timedeltas. Attempts count the first one, 0 or None means for ever.
    Without a policy a step makes five attempts, 1, 2, 4 and 8 seconds apart.
    Errors: DefinitionError for a value that makes no sense.
    """

    non_retryable_error_types: tuple[str, ...] = ()

    def __init__(
        self,
        initial_interval: timedelta = timedelta(seconds=1),
        backoff_coefficient: float = 2.0,
        maximum_interval: timedelta | None = None,
        maximum_attempts: int | None = None,
        non_retryable_error_types: Sequence[str] | None = None,
        *,
        max_attempts: int | None = None,
        max_interval: timedelta | None = None,
    ) -> None:
        super().__init__(
            maximum_attempts or max_attempts or None,
            initial_interval,
            backoff_coefficient,
            max_interval if maximum_interval is None else maximum_interval,
        )
        object.__setattr__(self, "non_retryable_error_types", tuple(non_retryable_error_types or ()))
        if (self.max_attempts or 0) < 0 or initial_interval < timedelta(0) or backoff_coefficient < 1:
            raise DefinitionError(f"{self!r}: attempts and intervals must not be negative, the coefficient at least 1")

    @property
    def maximum_attempts(self) -> int:
        """The same as `max_attempts`, 0 for ever, as the published library says it."""
        return self.max_attempts or 0

    @property
    def maximum_interval(self) -> timedelta | None:
        """The same as `max_interval`, as the published library says it."""
        return self.max_interval

    def __repr__(self) -> str:
        return (
            f"RetryPolicy(max_attempts={self.max_attempts}, initial_interval={self.initial_interval}, "
            f"backoff_coefficient={self.backoff_coefficient}, max_interval={self.max_interval})"
        )


DEFAULT_RETRY = RetryPolicy(max_attempts=DEFAULT_ATTEMPTS)
