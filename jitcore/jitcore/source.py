"""Which line of the user's program is running: the innermost frame outside jitcore's own packages."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType
from typing import Any

import jitcore_ir
import jitcore_runtime
from jitcore_ir import UNKNOWN, Location

_FILES = (__file__, jitcore_ir.__file__, jitcore_runtime.__file__)
_OWN = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in _FILES)


def is_own_file(file: str) -> bool:
    """Whether a source file belongs to jitcore itself."""
    return file.startswith(_OWN)


def user_frame() -> FrameType | None:
    """The innermost frame that runs the user's code; None where only jitcore is running. About half a microsecond."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return frame


def restore_profile(previous: Any) -> None:
    """Give back the profile hook that `sys.getprofile()` named: a function, or a running `cProfile.Profile`."""
    if previous is None or callable(previous):
        sys.setprofile(previous)
    else:
        sys.setprofile(None)
        previous.enable()


def user_location() -> Location:
    """The user's line as the IR's `Location`."""
    frame = user_frame()
    return UNKNOWN if frame is None else Location(frame.f_code.co_filename, frame.f_lineno)


def warn_user(text: str, category: type[Warning]) -> None:
    """A warning that names the user's line."""
    frame = user_frame()
    if frame is None:
        warnings.warn(text, category, stacklevel=2)
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, category, frame.f_code.co_filename, frame.f_lineno, registry=registry)
