"""What an agent may know of itself while it runs: our words, and those of the published library for the same.

Values only, filled by `service.py`.
"""

from datetime import UTC, datetime
from typing import Any

from app import durable
from app.background.protocol import Kind
from app.background.published.workflow_words import NAMESPACE, WorkflowWords
from app.values import Stored

# Waking a suspended run replays its journal, about 60 µs for each entry.
CONTINUE_AS_NEW_AFTER = 2000  # journal entries

_EPOCH = datetime.fromtimestamp(0, UTC)


class ParentInfo(Stored):
    """The agent that has started this one as its child. `run_id` is empty if that was before it was sent along."""

    workflow_id: str
    run_id: str = ""
    namespace: str = NAMESPACE


class AgentInfo(WorkflowWords, Stored):
    """The current run. `started_at` is None in a run that began before it was recorded.

    `chat_key` is that of the chat that has started the agent, None if no chat did.
    """

    agent_id: str
    run_id: str
    agent_name: str
    kind: Kind
    run_number: int
    task_queue: str
    parent_id: str | None
    input: Any
    parent_run_id: str | None = None
    first_run_id: str | None = None
    continued_run_id: str | None = None
    started_at: datetime | None = None
    chat_key: str | None = None

    # The published library's names

    @property
    def namespace(self) -> str:
        """The only one."""
        return NAMESPACE

    @property
    def attempt(self) -> int:
        """Always 1: an agent that has failed is not run again."""
        return 1

    @property
    def parent(self) -> ParentInfo | None:
        """The agent that has started this one as its child."""
        return (
            None if self.parent_id is None else ParentInfo(workflow_id=self.parent_id, run_id=self.parent_run_id or "")
        )

    @property
    def first_execution_run_id(self) -> str:
        """The first run of the agent: this one, unless it has continued as new."""
        return self.first_run_id or self.run_id

    @property
    def start_time(self) -> datetime:
        """When the run began, 1970 if it began before that was recorded."""
        return self.started_at or _EPOCH

    @property
    def workflow_start_time(self) -> datetime:
        """The same as `start_time`."""
        return self.start_time

    def get_current_history_length(self) -> int:
        """Return the number of journal entries of the run."""
        return durable.current_loop().entries

    def is_continue_as_new_suggested(self) -> bool:
        """Return whether the journal of the run has become long."""
        return self.get_current_history_length() >= CONTINUE_AS_NEW_AFTER
