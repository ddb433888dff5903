"""Who an agent is, in the words that the published library has for workflows.

Owns names for what others know, and no data.
"""

from typing import Protocol

NAMESPACE = "default"  # the only one


class _Known(Protocol):
    @property
    def agent_id(self) -> str: ...
    @property
    def agent_name(self) -> str: ...


class WorkflowWords:
    """The id and the name of an agent under the published library's names."""

    @property
    def workflow_id(self: _Known) -> str:
        """The same as `agent_id`."""
        return self.agent_id

    @property
    def workflow_type(self: _Known) -> str:
        """The same as `agent_name`."""
        return self.agent_name
