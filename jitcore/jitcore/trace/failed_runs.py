"""Whether a recorded run has failed because library code, in Python or C, takes none but plain numbers.

`json.dumps(x.shape[0])` and `np.random.default_rng(seed)` see that a recorded number is no int, and raise what Python's
own numbers would not have made them raise. The call is then run once more with plain numbers: tensors are what they
were before the first run, but what that did to Python objects is done twice. So it is done only where the traceback
leaves it open whether plain numbers would fail too; never where the user's code, or ours, has raised by itself.
"""

from __future__ import annotations

import ast
import dis
import linecache
import os
import types
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import plain_numbers, symbolic
from ..plain_numbers import NumberOfRun, PlainNumbersNeeded
from ..source import is_own_file
from ..tensor import Tensor
from . import numbers
from .libraries import is_library

if TYPE_CHECKING:
    from .recorder import Recorder

NOT_PLAIN = "a number of the recording is given to code that takes plain ones only (json, say)"


def needs_plain_numbers(error: Exception, recorder: Recorder) -> bool:
    """Whether the run of `recorder` shall be done again with plain numbers, since it ended in `error`."""
    if not recorder.numbers and not recorder.sizes:
        return False
    return any(_is_about_numbers(part) for part in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that were being handled when it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_about_numbers(error: BaseException) -> bool:
    if isinstance(error, PlainNumbersNeeded):
        return True
    if isinstance(error, TypeError) and any(name in str(error) for name in _NAMES):
        return True
    steps = list(_steps(error.__traceback__))
    if not steps:
        return False
    last = steps[-1]
    if is_own_file(_file(last)):  # where operators of our numbers fail, those of plain ones do
        is_unforeseen = isinstance(error, TypeError | AttributeError) and not _is_at(last, _RAISES)
        return is_unforeseen and _file(last) not in _NUMBERS
    if _is_foreign(last):
        return any(_lead_to_numbers(step.tb_frame.f_locals.values()) for step in steps if _is_foreign(step))
    return _is_at(last, _CALLS) and _call_is_of_numbers(last)


_NAMES = ("RecordedNumber", "SymInt")
_NUMBERS = (plain_numbers.__file__, symbolic.__file__, numbers.__file__)
_CALLS = {number for name, number in dis.opmap.items() if name.startswith(("CALL", "PRECALL"))}
_RAISES = {dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE")}


def _steps(step: types.TracebackType | None) -> Iterator[types.TracebackType]:
    """Without the frames that Cython makes up, which are C code."""
    while step is not None:
        if not _file(step).endswith((".pyx", ".pxd", ".pxi")):
            yield step
        step = step.tb_next


def _file(step: types.TracebackType) -> str:
    return step.tb_frame.f_code.co_filename


def _is_foreign(step: types.TracebackType) -> bool:
    """Whether it is code of a library, but not ours."""
    file = _file(step)
    return not is_own_file(file) and (is_library(file) or "-packages" + os.sep in file)


def _is_at(step: types.TracebackType, instructions: set[int]) -> bool:
    return step.tb_frame.f_code.co_code[step.tb_lasti] in instructions


def _call_is_of_numbers(step: types.TracebackType) -> bool:
    """Whether what the user's code was calling may have got a number of the recording, by the names that the call is
    written with: `int(text)` has not, `Random(x.shape[0])` and `deque(items, self.most)` may have."""
    text = _source(step)
    try:
        tree = ast.parse(f"({text})") if text else None
    except SyntaxError:
        tree = None
    if tree is None:
        return True
    frame = step.tb_frame
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    values = [
        next((table[name] for table in (frame.f_locals, frame.f_globals) if name in table), None) for name in names
    ]
    return _lead_to_numbers(values)


def _source(step: types.TracebackType) -> str:
    """What the instruction was compiled from; empty where that is not known."""
    code = step.tb_frame.f_code
    first, last, begin, end = next(islice(code.co_positions(), step.tb_lasti // 2, None), (None,) * 4)
    if first is None or last is None:
        return ""
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    if len(lines) == 1:
        lines[0] = lines[0][begin:end]
    else:
        lines[0], lines[-1] = lines[0][begin:], lines[-1][:end]
    return b"".join(lines).decode()


def _lead_to_numbers(values: Iterable[Any], depth: int = 3) -> bool:
    """Whether there is a number of a recording among them, or a tensor, which gives some, also in containers and
    attributes."""
    return any(_leads_to_numbers(value, depth) for value in values)


def _leads_to_numbers(value: Any, depth: int) -> bool:
    if issubclass(type(value), NumberOfRun | Tensor):
        return True
    if depth == 0 or isinstance(value, types.ModuleType | types.FunctionType | type):
        return False
    if isinstance(value, dict):
        return _lead_to_numbers(islice(dict.values(value), _MOST), depth - 1)
    if type(value) in (list, tuple, set, frozenset, deque):
        return _lead_to_numbers(islice(value, _MOST), depth - 1)
    attributes = getattr(value, "__dict__", None)
    return isinstance(attributes, dict) and _lead_to_numbers(islice(attributes.values(), _MOST), depth - 1)


_MOST = 1000
"""Parts of one container that are looked at."""
