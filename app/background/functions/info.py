"""What a function may know of itself while it runs: our words, and those of the published library for the same.

Values, times and heartbeats only. What follows from a missing heartbeat is decided in `attempt.py`.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from app.background.declare.retry import RetryPolicy
from app.background.protocol import FunctionCall
from app.background.published.workflow_words import NAMESPACE, WorkflowWords


@dataclass
class FunctionInfo(WorkflowWords):
    """The function that runs. `heartbeat_details` are those of its last heartbeat, also of an earlier attempt.

    `agent_name` and `run_id` are empty for a run that began before they were sent along.
    """

    name: str
    task_queue: str
    agent_id: str
    agent_name: str = ""
    run_id: str = ""
    invocation_id: str = ""
    attempt: int = 1
    scheduled_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    heartbeat_details: tuple[Any, ...] = ()
    heard_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, call: FunctionCall, *, name: str, task_queue: str, invocation_id: str) -> Self:
        """Return the info of a call before its first attempt."""
        return cls(
            name=name,
            task_queue=task_queue,
            agent_id=call.agent_id,
            agent_name=call.agent_name or "",
            run_id=call.run_id or "",
            invocation_id=invocation_id,
            start_to_close_timeout=_duration(call.start_to_close_s),
            schedule_to_close_timeout=_duration(call.schedule_to_close_s),
            heartbeat_timeout=_duration(call.heartbeat_s),
            retry_policy=retry_policy_of(call),
        )

    def begins(self) -> None:
        """Note that an attempt begins."""
        self.started_at = datetime.now(UTC)
        self.heard_at = time.monotonic()

    def heard(self, details: tuple[Any, ...]) -> None:
        """Note a heartbeat."""
        self.heard_at = time.monotonic()
        self.heartbeat_details = details

    # The published library's names

    @property
    def activity_id(self) -> str:
        """The same as `invocation_id`."""
        return self.invocation_id

    @property
    def activity_type(self) -> str:
        """The same as `name`."""
        return self.name

    @property
    def workflow_run_id(self) -> str:
        """The same as `run_id`."""
        return self.run_id

    @property
    def workflow_namespace(self) -> str:
        """The only one."""
        return NAMESPACE

    @property
    def is_local(self) -> bool:
        """A function never runs in its agent."""
        return False

    @property
    def started_time(self) -> datetime:
        """The same as `started_at`: when this attempt began."""
        return self.started_at

    @property
    def scheduled_time(self) -> datetime:
        """The same as `scheduled_at`: when the process that runs it heard of it."""
        return self.scheduled_at

    @property
    def current_attempt_scheduled_time(self) -> datetime:
        """The same as `started_at`."""
        return self.started_at


def retry_policy_of(call: FunctionCall) -> RetryPolicy:
    """Return the policy that the step has sent."""
    return RetryPolicy(
        timedelta(seconds=call.initial_interval_s),
        call.backoff_coefficient,
        _duration(call.max_interval_s),
        call.max_attempts,
        call.non_retryable_error_types,
    )


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
