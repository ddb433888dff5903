"""The handlers of BackgroundAgent, the mailbox of one agent: what clients, runs and relatives send to it.

Names are stored in journals: they change only with a migration note.
"""

from types import NoneType

from app.address import ObjectAddress
from app.background.protocol import (
    MAILBOX,
    AgentDescription,
    Child,
    Close,
    Delivered,
    Delivery,
    End,
    Handled,
    NextRun,
    RunOfAgent,
    Started,
    StartRequest,
    StopRequest,
    WaitRequest,
)
from app.background.query import QueryTarget

# From clients, through BackgroundAgents

START = ObjectAddress(MAILBOX, "start", StartRequest, Started)
DELIVER = ObjectAddress(MAILBOX, "deliver", Delivery, Delivered)
LOOK = ObjectAddress(MAILBOX, "look", Delivery, QueryTarget)
CANCEL = ObjectAddress(MAILBOX, "cancel", StopRequest, NoneType)
TERMINATE = ObjectAddress(MAILBOX, "terminate", StopRequest, NoneType)
WAIT = ObjectAddress(MAILBOX, "wait", WaitRequest, NoneType)
PURGE = ObjectAddress(MAILBOX, "purge", NoneType, NoneType)
DESCRIBE = ObjectAddress(MAILBOX, "describe", NoneType, AgentDescription)

# From runs, and from who looks after them

HANDLED = ObjectAddress(MAILBOX, "handled", Handled, NoneType)
NEXT_RUN = ObjectAddress(MAILBOX, "next_run", NextRun, NoneType)
CLOSE = ObjectAddress(MAILBOX, "close", Close, NoneType)
END = ObjectAddress(MAILBOX, "end", End, NoneType)
RUN_DIED = ObjectAddress(MAILBOX, "run_died", RunOfAgent, NoneType)

# From parents and children

START_CHILD = ObjectAddress(MAILBOX, "start_child", StartRequest, NoneType)
ADOPT = ObjectAddress(MAILBOX, "adopt", Child, NoneType)
DISOWN = ObjectAddress(MAILBOX, "disown", Child, NoneType)
