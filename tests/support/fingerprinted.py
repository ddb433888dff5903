"""Classes whose fingerprints are known; only the standard library, so that any Python can import it."""

# What matters is how it parses, not what it does or how it looks.
# mypy: ignore-errors
# ruff: noqa
# fmt: off

import abc
import enum


def mark(**_options: object):
    return lambda thing: thing


class Plain:
    """A docstring."""

    async def run(self) -> None:
        return  # a comment


@mark(name="decorated")
class Rich(abc.ABC):
    limit: int = 3

    def __init__(self, first, *rest, last=None, **more):
        self.seen: list[str] = []

    @mark()
    async def add(self, n: int = 1, /, *, text: str = "a" "b") -> "str | None":
        """Texts, patterns, comprehensions, lambdas."""
        async with self as context, context:
            async for item in context:
                yield_from = [x async for x in item if x]
        match n:
            case {"a": [1, *others], **rest}:
                print(f"{n!r:>10} {{}} {n:}" f"{others}{rest} ü {n=}" "end", yield_from)
            case str() | None as other:
                return f"""
several
    lines {other}
"""
        try:
            self.first = (lambda a, *b, c=1, **d: None)(1, c=-2.5e300)
        except* ValueError:
            self.last = u"\u00fc" if n else ...
        finally:
            self.seen[1:2, ...] = [0xFF, 1j, *self.seen]

    class Inner(enum.Enum):
        """Inside."""

        A = enum.auto()


class Sub(Rich, Plain):
    x = y = 1


class Nested:
    def text(self, n, width):
        return f"{n!r:>{width}}"


def local():
    class Local:
        text = """
at the left
"""

        def only_a_docstring(self):
            """One."""

    return Local


CLASSES = {"Plain": Plain, "Rich": Rich, "Sub": Sub, "Nested": Nested, "Local": local()}
