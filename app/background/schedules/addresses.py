"""The handlers of BackgroundSchedule.

Names are stored in journals: they change only with a migration note.
"""

from types import NoneType

from app.address import ObjectAddress
from app.background.protocol import SCHEDULES
from app.background.schedules.protocol import CreateSchedule, Schedule, Tick

CREATE = ObjectAddress(SCHEDULES, "create", CreateSchedule, Schedule)
TICK = ObjectAddress(SCHEDULES, "tick", Tick, NoneType)
RELEASED = ObjectAddress(SCHEDULES, "released", Tick, NoneType)
DELETE = ObjectAddress(SCHEDULES, "delete", NoneType, NoneType)
DESCRIBE = ObjectAddress(SCHEDULES, "describe", NoneType, Schedule)
