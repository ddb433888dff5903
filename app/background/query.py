"""What is asked without a trace: of runs by queries, and of Restate before something starts.

Shapes only. They are journaled: fields change only with a migration note.
"""

from typing import Any, Literal

from app.background.protocol import Kind
from app.values import Stored

QUERY = "query"  # the handler of the service of each agent class that answers from the memory of a run


class Query(Stored):
    """What a run is asked once it has taken the events up to `through`."""

    run_id: str
    through: int
    name: str
    input: Any = None


class QueryAnswer(Stored):
    """What a process knows of a run that it was asked for. `text` says why it is blocked."""

    where: Literal["here", "elsewhere", "over", "blocked"]
    value: Any = None
    text: str = ""


class QueryTarget(Stored):
    """Where a query goes. Without `answers_queries` it must go through the journal of the run."""

    agent_name: str
    run_id: str
    through: int
    answers_queries: bool


class ServedAgent(Stored):
    """What Restate knows of an agent or workflow. One of an earlier version does not answer queries from memory."""

    kind: Kind
    answers_queries: bool


class LookUp(Stored):
    """The answer to a look for an agent: what is known of it, nothing, or why that cannot be known."""

    agent: ServedAgent | None = None
    problem: str | None = None
