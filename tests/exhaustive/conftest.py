"""The tests of random programs collect garbage as those of the units do."""

from tests.unit.conftest import few_objects_to_collect

__all__ = ["few_objects_to_collect"]
