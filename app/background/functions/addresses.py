"""How functions are reached: the service of each function of a task queue, and the object of an earlier version.

Names are stored in journals: they change only with a migration note.
"""

import re
from functools import cache

from app.address import ServiceAddress
from app.background.protocol import CALL, FunctionCall

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._]")
_OF_A_QUEUE = ".functions"


def functions_service(task_queue: str) -> str:
    """Return the name of the virtual object that serves the functions of a task queue, keyed by their names."""
    return f"{task_queue}{_OF_A_QUEUE}"


def is_functions_service(service: str) -> bool:
    """Return whether a name is that of such an object."""
    return service.endswith(_OF_A_QUEUE)


def function_service(task_queue: str, name: str) -> str:
    """Return the name of the service of one function. What Restate takes in no name is written in hex."""
    return f"{functions_service(task_queue)}.{_NOT_IN_A_NAME.sub(lambda char: f'-{ord(char[0]):x}-', name)}"


@cache
def called_at(service: str) -> ServiceAddress[FunctionCall, object]:
    """Return the handler that runs the function of a service, or of the object of an earlier version."""
    return ServiceAddress(service, CALL, FunctionCall, object)
