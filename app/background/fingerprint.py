"""The fingerprint of a class: what must stay the same while an agent of that class runs.

Pure. Comments, docstrings and layout do not count. What the class calls in other modules is not seen.
"""

import ast
import hashlib
import inspect
import textwrap
from types import CodeType
from typing import Any


def fingerprint(cls: type) -> str:
    """Return a short hash of the code of `cls` and of its own base classes."""
    parts = [_code_of(part) for part in cls.__mro__ if part is not object and part.__module__ not in ("typing", "abc")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _code_of(cls: type) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # no source: made by exec, or in a REPL
        return repr([(name, _instructions(member)) for name, member in vars(cls).items()])
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _instructions(member: Any) -> Any:
    """Return what a function does, without where it stands; None for anything else."""
    code = member if isinstance(member, CodeType) else getattr(member, "__code__", None)
    if code is None:
        return None
    constants = [_instructions(const) if isinstance(const, CodeType) else const for const in code.co_consts]
    return code.co_code.hex(), code.co_names, constants
