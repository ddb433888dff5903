"""The fingerprint of a class: known values, the same on every supported Python, and those of earlier versions."""

from app.background.declare.fingerprint import fingerprint, is_of
from tests.support.fingerprinted import CLASSES

KNOWN = {
    "Plain": "25ab97c225c41c24",
    "Rich": "f9c9b36a26a2fdec",
    "Sub": "05ab644ee49bbf80",
    "Nested": "045ba562eab3ce9d",
    "Local": "9ebe4f600966f3d1",
}
# What version 0.1 gave them on Python 3.11, 3.12 and 3.13. Not here: Local, whose source it could not read, and Nested,
# where 3.12 puts an empty text behind the format.
FORMER = {
    "Plain": ["85b89e3f0565f2ce", "e23040067d04b909", "1fb5e648749234d9"],
    "Rich": ["e7d0279aeec2e722", "2cdaea3b4249bc95", "55d41af6cbc3aa24"],
    "Sub": ["9d17ac64b89c11a5", "8c3b985725fd5cc0", "49786cf356324a77"],
}


def test_known_values() -> None:
    """The same source has the same fingerprint for ever: a change of it stops every agent that runs."""
    assert {name: fingerprint(cls) for name, cls in CLASSES.items()} == KNOWN


def test_former_values_are_accepted() -> None:
    """A run that an earlier version has begun is not called changed after the upgrade, on any Python."""
    assert all(is_of(CLASSES[name], value) for name, values in FORMER.items() for value in values)
    assert not is_of(CLASSES["Plain"], FORMER["Rich"][0])
    assert not is_of(CLASSES["Plain"], KNOWN["Sub"])
