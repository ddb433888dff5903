"""RetryPolicy of a step, as agents write it: the words of the reference and those of the published library."""

from datetime import timedelta
from typing import Any

from app import durable
from app.errors import DefinitionError

DEFAULT_ATTEMPTS = 5

_SYNONYMS = {"maximum_attempts": "max_attempts", "maximum_interval": "max_interval"}


class RetryPolicy:
    """When a failed function is tried again.

    Units: intervals are timedeltas; `max_attempts` counts the first attempt, 0 or None means for ever.
    Without a policy a step makes five attempts, 1, 2, 4 and 8 seconds apart.
    Errors: DefinitionError for an unknown name or a value that makes no sense.
    """

    def __init__(
        self,
        *,
        max_attempts: int | None = None,
        initial_interval: timedelta = timedelta(seconds=1),
        backoff_coefficient: float = 2.0,
        max_interval: timedelta | None = None,
        non_retryable_error_types: tuple[str, ...] | list[str] | None = None,
        **synonyms: Any,
    ) -> None:
        values: dict[str, Any] = {"max_attempts": max_attempts, "max_interval": max_interval}
        for name, value in synonyms.items():
            if name not in _SYNONYMS:
                raise DefinitionError(f"RetryPolicy has no {name!r}: it takes max_attempts, initial_interval, …")
            values[_SYNONYMS[name]] = value
        self.max_attempts: int | None = values["max_attempts"] or None
        self.max_interval: timedelta | None = values["max_interval"]
        self.initial_interval = initial_interval
        self.backoff_coefficient = backoff_coefficient
        self.non_retryable_error_types = tuple(non_retryable_error_types or ())
        if (self.max_attempts or 0) < 0 or initial_interval < timedelta(0) or backoff_coefficient < 1:
            raise DefinitionError(f"{self!r}: attempts and intervals must not be negative, the coefficient at least 1")

    def __repr__(self) -> str:
        return (
            f"RetryPolicy(max_attempts={self.max_attempts}, initial_interval={self.initial_interval}, "
            f"backoff_coefficient={self.backoff_coefficient}, max_interval={self.max_interval})"
        )

    def as_durable(self) -> durable.RetryPolicy:
        """Return it as the durable loop takes it."""
        return durable.RetryPolicy(
            self.max_attempts, self.initial_interval, self.backoff_coefficient, self.max_interval
        )


DEFAULT_RETRY = RetryPolicy(max_attempts=DEFAULT_ATTEMPTS)
