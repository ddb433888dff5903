"""The view of a chat: its record and its running text, joined for everybody who watches it.

The rest of the house imports from here; the events are in `events.py`.
"""

from app.web.watch.reads import IngressReads, Reads, RecordUnavailable
from app.web.watch.views import Views

__all__ = ["IngressReads", "Reads", "RecordUnavailable", "Views"]
