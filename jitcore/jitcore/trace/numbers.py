"""`RecordedNumber`: a Python float (or int) whose value belongs to one run, seen by Python while that run is recorded.

A float argument, or what `item()` gives, is a value of the graph, so that a replay computes with the number of its own
call. Arithmetic stays in the graph; a comparison becomes a guard on its outcome; and whatever else Python does with the
number (`int`, `hash`, text, a C function) pins it: the recording then holds for that very number.
"""

from __future__ import annotations

import gc
import math
import operator
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jitcore_ir import OpSpec, Value, ops

from ..plain_numbers import NumberOfRun, PlainNumbersNeeded, beside, compared_beside, mirrored, plainly, straight
from ..symbolic import SymInt, hint
from ..tensor import Tensor, wrap
from .containers import flatten, has_recorded_keys, unflatten

if TYPE_CHECKING:
    from .reads import Reads

Plain = float | int


class RecordedNumber(NumberOfRun):
    """Computes like the float or int `value`; deliberately not a subclass, since C code would read one of those without
    asking. `isinstance` says what Python code expects. Once the recording has ended it is a plain number in disguise.

    emit: appends what computes the number to the graph (0-d float64 or int64), when first needed. leaf: the argument it
    is, if it is one.
    """

    __slots__ = ("__weakref__", "_emit", "_known", "_leaf", "_recorder", "_value")
    is_recorded = True

    def __init__(self, recorder: Reads, value: Plain, emit: Callable[[], Value], leaf: int | None = None) -> None:
        self._recorder = recorder
        self._value = value
        self._emit = emit
        self._known: Value | None = None
        self._leaf = leaf
        recorder.numbers.append(weakref.ref(self))

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return type(self._value)

    # Arithmetic

    def __add__(self, other: Any) -> Any:
        return _arithmetic(operator.add, ops.ADD, self, other)

    def __radd__(self, other: Any) -> Any:
        return _arithmetic(operator.add, ops.ADD, other, self)

    def __sub__(self, other: Any) -> Any:
        return _arithmetic(operator.sub, ops.SUB, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _arithmetic(operator.sub, ops.SUB, other, self)

    def __mul__(self, other: Any) -> Any:
        return _arithmetic(operator.mul, ops.MUL, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _arithmetic(operator.mul, ops.MUL, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _arithmetic(operator.truediv, ops.DIV, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _arithmetic(operator.truediv, ops.DIV, other, self)

    def __neg__(self) -> Any:
        return _arithmetic(operator.mul, ops.MUL, self, -1.0) if type(self._value) is float else -pinned(self)

    def __pos__(self) -> RecordedNumber:
        return self

    def __abs__(self) -> Any:
        if type(self._value) is not float or not self._recorder.open:
            return abs(pinned(self))
        return RecordedNumber(self._recorder, abs(self._value), lambda: self._recorder.combine(ops.ABS, self))

    # Comparison: the outcome is the guard, not the number

    def __lt__(self, other: Any) -> Any:
        return _compare(operator.lt, ops.LT, self, other)

    def __le__(self, other: Any) -> Any:
        return _compare(operator.le, ops.LE, self, other)

    def __gt__(self, other: Any) -> Any:
        return _compare(operator.gt, ops.GT, self, other)

    def __ge__(self, other: Any) -> Any:
        return _compare(operator.ge, ops.GE, self, other)

    def __eq__(self, other: object) -> Any:
        return _compare(operator.eq, ops.EQ, self, other)

    def __ne__(self, other: object) -> Any:
        return _compare(operator.ne, ops.NE, self, other)

    def __bool__(self) -> bool:
        return bool(_compare(operator.ne, ops.NE, self, 0))

    # Everything else pins

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        return beside(operator.pow, self, other) if modulus is None else pow(pinned(self), pinned(other), modulus)

    def __rpow__(self, other: Any) -> Any:
        return beside(operator.pow, other, self)

    def __invert__(self) -> Any:
        return operator.invert(pinned(self))  # type: ignore[arg-type]

    def __round__(self, digits: Any = None) -> Any:
        return round(pinned(self), plainly(digits))

    def __trunc__(self) -> int:
        return math.trunc(pinned(self))

    def __floor__(self) -> int:
        return math.floor(pinned(self))

    def __ceil__(self) -> int:
        return math.ceil(pinned(self))

    def __float__(self) -> float:
        return float(pinned(self))

    def __int__(self) -> int:
        return int(pinned(self))

    def __complex__(self) -> complex:
        return complex(pinned(self))

    def __index__(self) -> int:
        number = pinned(self)
        if type(number) is float:  # a class has this method or not; C code goes another way beside a float
            raise PlainNumbersNeeded("'float' object cannot be interpreted as an integer")
        return number  # type: ignore[return-value]

    def __hash__(self) -> int:
        return hash(pinned(self))

    def __repr__(self) -> str:
        return _text(self, repr(self._value), None)

    def __format__(self, spec: str) -> str:
        return _text(self, format(self._value, spec), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(pinned(self), dtype)

    def __copy__(self) -> RecordedNumber:
        return self

    def __deepcopy__(self, memo: Any) -> RecordedNumber:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(pinned(self), name)

    def in_this_run(self) -> Plain:
        return pinned(self)

    # For the recorder

    @property
    def plain(self) -> Plain:
        """The number itself, without saying so: for code of ours that makes nothing depend on it."""
        return self._value

    @property
    def leaf(self) -> int | None:
        """Which leaf of the arguments it is; None where it is computed."""
        return self._leaf

    @property
    def recorder(self) -> Reads:
        return self._recorder

    def graph_value(self) -> Value:
        """The graph's value for it, 0-d float64 or int64."""
        if self._known is None:
            self._known = self._emit()
            del self._emit  # it may hold other numbers
        return self._known

    def tensor(self) -> Tensor:
        """A 0-d tensor, float64 or int64, that holds it."""
        made = wrap(np.array(self._value, np.float64 if type(self._value) is float else np.int64))
        if self._recorder.open:
            self._recorder.holds(made, self.graph_value())
        return made


for _python in (
    operator.mod, operator.floordiv, divmod, operator.and_, operator.or_, operator.xor, operator.lshift,
    operator.rshift,
):  # fmt: skip
    _name = _python.__name__.strip("_")
    setattr(RecordedNumber, f"__{_name}__", straight(_python))
    setattr(RecordedNumber, f"__r{_name}__", mirrored(_python))


def is_of_the_run(leaf: Any) -> bool:
    """Whether a leaf of a result belongs to one call."""
    return type(leaf) in (RecordedNumber, SymInt) or isinstance(leaf, Tensor)


def plain(x: Any) -> Any:
    """x, or the number that a RecordedNumber has in this run."""
    return x._value if type(x) is RecordedNumber else x


def pinned(x: Any) -> Any:
    """x, or a RecordedNumber's number, on which everything recorded then depends."""
    if type(x) is not RecordedNumber:
        return x
    if x._recorder.open:
        x._recorder.pin(x)
    return x._value


def _text(number: RecordedNumber, text: str, spec: str | None) -> str:
    """`text`, which pins the number unless it is only printed."""
    from .effects import note_text

    return note_text(number, text, spec) if number._recorder.open else text


def same_float(x: float, y: float) -> bool:
    """Equal to the sign of a zero; NaN is itself."""
    return (x == y and (x != 0 or math.copysign(1, x) == math.copysign(1, y))) or (x != x and y != y)


def _arithmetic(python: Callable, spec: OpSpec, left: Any, right: Any) -> Any:
    """Python's operator on two numbers of which one is recorded. For floats only: Python's integers have no
    end."""
    a, b = plain(left), plain(right)
    if SymInt in (type(a), type(b)):
        return NotImplemented
    if type(a) not in (float, int) or type(b) not in (float, int):
        return beside(python, left, right)
    recorder = _recorder(left, right)
    if not recorder.open or float not in (type(a), type(b)) or not _fits(a) or not _fits(b):
        return python(pinned(left), pinned(right))
    if spec is ops.DIV and type(right) is RecordedNumber and not right:
        raise ZeroDivisionError("float division by zero")
    return RecordedNumber(recorder, python(a, b), lambda: recorder.combine(spec, left, right))


def _compare(python: Callable, spec: OpSpec, left: RecordedNumber, right: Any) -> Any:
    a, b = plain(left), plain(right)
    if type(b) not in (float, int, bool):
        return NotImplemented if type(b) is SymInt else compared_beside(python, left, right)
    outcome = python(a, b)
    recorder = left._recorder
    if recorder.open:
        if _compares_alike(a, b):
            recorder.decide(lambda: recorder.combine(spec, left, right), outcome)
        else:
            pinned(left), pinned(right)
    return outcome


def _compares_alike(a: Plain, b: Plain) -> bool:
    """Whether the graph compares two numbers as Python does, to which an int and a float are never rounded."""
    if type(a) is type(b):
        return type(b) is not int or -(2**63) <= b < 2**63
    return (type(a) is float and abs(b) < 2**53) or (type(b) is float and abs(a) < 2**53)


def _fits(x: Plain) -> bool:
    """Whether a number is a float64 to the last bit."""
    return type(x) is float or abs(x) < 2**53


def _recorder(*numbers: Any) -> Reads:
    return next(x._recorder for x in numbers if type(x) is RecordedNumber)


def settled(result: Any, recorder: Reads) -> Any:
    """`result` with plain numbers in it; numbers of this recording that live on in lists, dicts, attributes or closure
    cells of the user's are replaced there too."""
    leaves, structure = flatten(result, is_of_the_run, once=True)
    if any(type(leaf) in (RecordedNumber, SymInt) for leaf in leaves) or has_recorded_keys(result):
        result = unflatten(structure, [hint(plain(leaf)) for leaf in leaves])
    del leaves
    alive: list[Any] = [number for number in (reference() for reference in recorder.numbers) if number is not None]
    if getattr(recorder, "sizes", None):
        alive += [x for x in gc.get_objects() if type(x) is SymInt and x.owner is recorder]
    _settle_holders(alive)
    return result


def _settle_holders(alive: list[Any]) -> None:
    """Put plain numbers wherever the user's objects refer to numbers of a recording. Tuples that hold some are made
    anew, and take the places of the former ones."""
    plain_of: dict[int, Any] = {id(number): hint(plain(number)) for number in alive}
    while alive:
        outer: list[Any] = []
        for holder in gc.get_referrers(*alive):
            if holder is alive or holder is outer:
                continue
            if not isinstance(holder, tuple | frozenset):
                _settle(holder, plain_of)
            elif id(holder) not in plain_of and not type(holder).__module__.startswith("jitcore"):
                items = [plain_of.get(id(item), item) for item in holder]
                plain_of[id(holder)] = holder._make(items) if hasattr(holder, "_make") else type(holder)(items)
                outer.append(holder)
        alive = outer


def _settle(holder: Any, plain_of: dict[int, Any]) -> None:
    """Put other things, given by id, in their places in a list, dict, set, cell or object."""
    if type(holder) is list or type(holder) is deque:
        for position, item in enumerate(holder):
            if id(item) in plain_of:
                holder[position] = plain_of[id(item)]
    elif isinstance(holder, dict):
        entries = list(dict.items(holder))  # whatever a class derived from dict makes of that
        if any(id(key) in plain_of for key, _ in entries):
            dict.clear(holder)
            dict.update(holder, [(plain_of.get(id(key), key), plain_of.get(id(item), item)) for key, item in entries])
        for key, item in entries:
            if id(item) in plain_of and id(key) not in plain_of:
                dict.__setitem__(holder, key, plain_of[id(item)])
    elif type(holder) is set:
        items = [item for item in holder if id(item) in plain_of]
        holder.difference_update(items)
        holder.update(plain_of[id(item)] for item in items)
    elif isinstance(holder, types.CellType):
        holder.cell_contents = plain_of.get(id(holder.cell_contents), holder.cell_contents)
    elif isinstance(holder, BaseException):
        holder.args = plain_of.get(id(holder.args), holder.args)
    elif not type(holder).__module__.startswith("jitcore"):
        if type(getattr(holder, "__dict__", None)) is dict:
            _settle(holder.__dict__, plain_of)  # which an object makes when it is first asked for it
        for slot in _slots(type(holder)):
            item = slot.__get__(holder) if hasattr(holder, slot.__name__) else None
            if id(item) in plain_of:
                slot.__set__(holder, plain_of[id(item)])


def _slots(cls: type) -> list[Any]:
    """What stands for the slots of a class written in Python and of its bases."""
    return [
        item
        for base in cls.__mro__
        if "__slots__" in vars(base)
        for item in vars(base).values()
        if isinstance(item, types.MemberDescriptorType)
    ]
