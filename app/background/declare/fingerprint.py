"""The fingerprint of a class: what must stay the same while an agent of that class runs.

Pure, and the same on every supported Python. Comments, docstrings and layout do not count. What the class calls in
other modules is not seen.
"""

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import CodeType
from typing import Any


def fingerprint(cls: type) -> str:
    """Return a short hash of the code of `cls` and of its own base classes."""
    bases = [base for base in cls.__mro__[1:] if base.__module__.partition(".")[0] not in sys.stdlib_module_names]
    return _hash(_code_of(part) for part in (cls, *bases))


def is_of(cls: type, known: str) -> bool:
    """Return whether `known` is the fingerprint of `cls`, or one that an earlier version gave it on any Python."""
    return known == fingerprint(cls) or known in _former(cls)


def _code_of(cls: type) -> str:
    tree = _tree_of(cls, _source_of(cls))
    return _code_without_source(cls) if tree is None else _Dump(every_field=False, type_params=False).of(tree)


def _source_of(cls: type) -> str | None:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # made by exec, or in a REPL
        return None
    # Not dedented: that would change texts of several lines, or fail at them.
    return f"if True:\n{source}" if source[:1].isspace() else source


def _tree_of(cls: type, source: str | None) -> ast.ClassDef | None:
    """Return the class as a tree without docstrings, None if there is no source that can be read."""
    try:
        tree = ast.parse(source or "")
    except SyntaxError:
        return None
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    if not classes:
        return None
    _drop_docstrings(classes[0])
    return classes[0]


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class _Dump:
    """`ast.dump`, which differs between Python versions, as one of them does it.

    `every_field` says whether what is empty is written, `type_params` whether those of Python 3.12 are.
    """

    def __init__(self, *, every_field: bool, type_params: bool) -> None:
        self._every_field = every_field
        self._type_params = type_params

    def of(self, node: Any) -> str:
        if isinstance(node, list):
            return f"[{', '.join(map(self.of, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        return f"{type(node).__name__}({', '.join(self._fields_of(node))})"

    def _fields_of(self, node: ast.AST) -> Iterator[str]:
        names = list(node._fields)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and "type_params" not in names:
            names.append("type_params")
        for name in names:
            value: Any = getattr(node, name, [] if name == "type_params" else None)
            if isinstance(node, ast.JoinedStr) and not self._every_field:
                value = _joined(value)
            empty_list = isinstance(value, list) and not value
            if value is None and getattr(type(node), name, ...) is None:
                continue
            if empty_list and not (self._type_params if name == "type_params" else self._every_field):
                continue
            yield f"{name}={self.of(value)}"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string with texts that follow each other in one, as not every parser leaves them."""
    joined: list[ast.expr] = []
    for value in values:
        last = joined[-1] if joined else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(value.value))
        elif not isinstance(value, ast.Constant) or value.value:
            joined.append(value)
    return joined


def _code_without_source(cls: type) -> str:
    """Return what Python has compiled, which differs between its versions."""
    return repr([(name, _instructions(member)) for name, member in vars(cls).items()])


def _instructions(member: Any) -> Any:
    """Return the code of a function without its place, None for anything else."""
    code = member if isinstance(member, CodeType) else getattr(member, "__code__", None)
    if code is None:
        return None
    constants = [_instructions(const) if isinstance(const, CodeType) else const for const in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _hash(codes: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(codes).encode()).hexdigest()[:16]


# Runs that version 0.1 has begun hold a fingerprint of the Python that it ran on: `ast.dump` of 3.11 wrote every field,
# that of 3.12 type_params too, that of 3.13 nothing that is empty.
_FORMER_DUMPS = (
    _Dump(every_field=True, type_params=False),
    _Dump(every_field=True, type_params=True),
    _Dump(every_field=False, type_params=False),
)


def _former(cls: type) -> set[str]:
    parts = [part for part in cls.__mro__ if part is not object and part.__module__ not in ("typing", "abc")]
    return {_hash(_former_code_of(part, dump) for part in parts) for dump in _FORMER_DUMPS}


def _former_code_of(cls: type, dump: _Dump) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return _code_without_source(cls)
    _drop_docstrings(tree)
    return dump.of(tree)
