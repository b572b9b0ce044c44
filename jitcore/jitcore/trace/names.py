"""The names that code can look up, told from its bytecode: what of an object matters to it."""

from __future__ import annotations

import dis
import functools
import re
from types import CodeType

from ..source import is_own_file

OURS = "<jitcore>"
"""Among the names of our own code."""
MAYBE = "?"
"""Before the name of an attribute that code asks for though it may not be there."""
STORED = "="
"""Before the name of an attribute that code assigns."""
_FIELD = re.compile(r"(?<=[.\w])\.([A-Za-z_]\w*)(?=[^{}]*\})")
"""Attributes in a text for `str.format`: `{0.name}`."""
_HANDLED = frozenset({"AttributeError", "Exception", "BaseException"})


def code_names(code: CodeType | None) -> frozenset[str]:
    """Names that `code` and the code nested in it can look up: globals, attributes, and strings (for getattr)."""
    if code is None:
        return frozenset()
    is_own = is_own_file(code.co_filename)
    found = {*code.co_names, *([OURS] if is_own else [])}
    if not is_own:
        found |= {STORED + step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"}
    if not is_own and code.co_exceptiontable and _HANDLED & found:
        found |= {MAYBE + name for name in code.co_names}
    for constant in code.co_consts:
        if isinstance(constant, str):
            found.update([constant] if constant.isidentifier() else _FIELD.findall(constant))
        elif isinstance(constant, CodeType):
            found |= code_names(constant)
        elif isinstance(constant, tuple):  # a class pattern names attributes like this
            found.update(text for text in constant if isinstance(text, str) and text.isidentifier())
    if any(step.opname == "MATCH_CLASS" for step in dis.get_instructions(code)):
        found.add("__match_args__")
    return frozenset(found)


@functools.lru_cache(maxsize=4096)
def marked(names: frozenset[str], mark: str) -> frozenset[str]:
    """The names that `code_names` gave with this mark before them, without it."""
    return frozenset(name[len(mark) :] for name in names if name.startswith(mark))
