"""One verdict per name of a namespace: full, partial with what is missing, or absent with what comes nearest."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from jitcore.missing import NEAREST

from .namespaces import outside
from .signatures import arguments, python_arguments


@dataclass(frozen=True, slots=True)
class Row:
    """A name: `status` is full, partial or absent; `detail` what is missing or nearest."""

    name: str
    status: str
    detail: str = ""


def compare(namespace: str) -> tuple[list[Row], dict[str, int]]:
    """The rows of a namespace, and how many names were left out of it, by why."""
    theirs, ours = _owner(namespace), _ours(namespace)
    rows: list[Row] = []
    left_out: dict[str, int] = {}
    for name in sorted(set(_public(theirs))):
        why = outside(name)
        found = _find(ours, name)
        if why is not None and found is None:
            left_out[why] = left_out.get(why, 0) + 1
            continue
        rows.append(_row(name, getattr(theirs, name), found))
    return rows, left_out


def _owner(namespace: str) -> Any:
    try:
        return importlib.import_module(namespace)
    except ModuleNotFoundError:
        module, _, name = namespace.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _ours(namespace: str) -> Any:
    try:
        return _owner(namespace.replace("torch", "jitcore", 1))
    except (ModuleNotFoundError, AttributeError):
        return None


def _find(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except NotImplementedError:
        return None


def _public(owner: Any) -> list[str]:
    listed = getattr(owner, "__all__", None)
    names = [n for n in (listed or dir(owner)) if not n.startswith("_") and hasattr(owner, n)]
    if inspect.isclass(owner):
        return names
    kept = []
    for name in names:
        value = getattr(owner, name)
        home = getattr(value, "__module__", None) or ""
        if isinstance(value, ModuleType) or home in ("typing", "collections", "typing_extensions", "types"):
            continue
        # Without a list, what a module has imported from elsewhere is not its own.
        if not listed and ((home and not home.startswith("torch")) or not callable(value)):
            continue
        kept.append(name)
    return kept


def _row(name: str, theirs: Any, ours: Any) -> Row:
    if ours is None:
        nearest = NEAREST.get(name)
        return Row(name, "absent", f"nearest: {nearest}" if nearest else "")
    if not callable(theirs) or (isinstance(theirs, type) and issubclass(theirs, BaseException)):
        return Row(name, "full")
    expected = arguments(theirs, name)
    found = python_arguments(ours.__init__ if inspect.isclass(ours) else ours)
    if expected is None or found is None:
        return Row(name, "full")
    names, any_keyword = found
    missing = [] if any_keyword else [a for a in expected if a not in names and not a.startswith("_")]
    return Row(name, "partial", f"without {', '.join(missing)}") if missing else Row(name, "full")
