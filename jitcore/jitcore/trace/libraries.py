"""Whose code and state something is: the user's, or that of a library."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from typing import Any

import numpy as np

from ..source import is_own_file

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = tuple(os.path.join(_PACKAGE, part) + os.sep for part in ("nn", "optim", "amp"))
_STANDARD = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
_NUMPY = os.path.dirname(np.__file__) + os.sep


def is_library_class(cls: type) -> bool:
    """Whether a class is none of the user's."""
    origin = sys.modules.get(cls.__module__)
    is_main = cls.__module__ == "__main__" or origin is None  # or code run by exec
    return cls is object or (not is_main and is_library_module(origin))


def is_library_module(module: Any) -> bool:
    """Whether a module is none of the user's. Those without a file and a specification were made by hand."""
    file = getattr(module, "__file__", None)
    if file is None:
        return getattr(module, "__spec__", None) is not None
    return is_library(file)


@functools.lru_cache(maxsize=4096)
def is_library(file: str | None) -> bool:
    """Python's own library, NumPy, jitcore, and what has no file: their state is not the user's."""
    if file is None or file.startswith("<frozen ") or is_own_file(file) or file.startswith(_NUMPY):
        return True
    return file.startswith(_STANDARD) and "-packages" + os.sep not in file
