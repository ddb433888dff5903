"""How runs are reached: the service of each class, the signals that bring events, and the service that watches runs.

Names are stored in journals: they change only with a migration note.
"""

from functools import cache
from types import NoneType

from app.address import ServiceAddress
from app.background.protocol import RUN, RUNS, RunOfAgent, RunStart, ScheduleEnd
from app.background.query import QUERY, Query, QueryAnswer

WATCH = ServiceAddress(RUNS, "watch", RunOfAgent, NoneType)
WATCH_SCHEDULED = ServiceAddress(RUNS, "watch_scheduled", ScheduleEnd, NoneType)
KILL = ServiceAddress(RUNS, "kill", RunOfAgent, NoneType)


@cache
def run_of(agent_name: str) -> ServiceAddress[RunStart, object]:
    """Return the handler that runs agents of a class."""
    return ServiceAddress(agent_name, RUN, RunStart, object)


@cache
def query_of(agent_name: str) -> ServiceAddress[Query, QueryAnswer]:
    """Return the handler that answers from the memory of a run."""
    return ServiceAddress(agent_name, QUERY, Query, QueryAnswer)


def signal_of(seq: int) -> str:
    """Return the name of the signal that brings event number `seq` to a run.

    Not one name for all, although that is a durable queue too: a run that is suspended while it waits for a name of
    which the journal holds an earlier signal is resumed at once, and again after every inactivity timeout (measured).
    """
    return f"event-{seq}"
