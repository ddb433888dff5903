"""Input that code may also write with its fields in order, as the published library's dataclasses allow.

Owns the order only. What fits is checked by the model.
"""

from typing import Any

from app.values import Input


class Positional(Input):
    """An Input whose fields may be given in the order of their declaration."""

    def __init__(self, *given: Any, **fields: Any) -> None:
        names = list(type(self).model_fields)
        if len(given) > len(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}, got {len(given)} values")
        super().__init__(**dict(zip(names, given, strict=False)), **fields)
