"""Argument names of PyTorch's and of our functions.

PyTorch's compiled functions have no signature to inspect; the first lines of their docstrings give one, or several
where they may be called in several ways.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_OPENING, _CLOSING = "([{", ")]}"


def python_arguments(function: Callable) -> tuple[list[str], bool] | None:
    """Names of the parameters, and whether any other keyword is taken; None where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return None
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]
    return names, any(p.kind is p.VAR_KEYWORD for p in parameters)


def documented_arguments(function: Any, name: str) -> list[str] | None:
    """The argument names of all call forms in the docstring; None where it has none."""
    text = inspect.getdoc(function) or ""
    found: dict[str, None] = {}
    forms = 0
    for line in text.splitlines():
        match = re.match(rf"\s*(?:\.\. (?:function|method):: )?(?:[\w.]+\.)?{re.escape(name)}\(", line)
        if not match or ("->" not in line and not line.lstrip().startswith("..")):
            continue
        forms += 1
        for part in split_arguments(line[match.end() :]):
            argument = re.match(r"\*{0,2}(\w+)", part)
            if argument and argument[1] != "self" and not part.startswith("*"):
                found[argument[1]] = None
    return list(found) if forms else None


def split_arguments(text: str) -> list[str]:
    """The parts between commas of an argument list, up to its closing bracket."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
            if depth < 0:
                parts.append(text[start:place])
                break
        elif sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in parts if part.strip()]


def arguments(function: Any, name: str) -> list[str] | None:
    """PyTorch's argument names, from Python or from the docstring; None where neither tells."""
    target = function.__init__ if inspect.isclass(function) else function
    found = python_arguments(target)
    if found is not None and (found[0] or not found[1]):
        return found[0]
    return documented_arguments(function, name)
