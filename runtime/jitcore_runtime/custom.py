"""Operations that users define: the registry that programs and archives find them in, by name.

An operation is a Python function of NumPy arrays, a native function, or both. A native function is called by compiled
programs directly, with no Python in between:

    int64_t f(const int64_t counts[4], void *const *data, const int64_t *dtypes, const int64_t *ranks,
              const int64_t *const *shapes, const int64_t *integers, const double *reals);

`counts` says how many operands, results, integers and reals there are. `data`, `dtypes`, `ranks` and `shapes` have one
entry for each tensor: the operands in order, then the results. Memory is row-major and aligned to its elements;
operands must not be written. A dtype is its place in `jitcore_ir.dtypes.ALL` (float32 is 8, float64 9). `integers`
holds the other arguments that are ints and bools, `reals` those that are floats, each in order. The function returns 0,
or another number where it failed. Several threads may call it at once. An archive may ask for any tensors and numbers:
a function that is called for files one does not trust checks what it relies on.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitcore_ir.custom_call import NumberAt, TensorAt, check_name, fill, leaves, tensors_of
from jitcore_ir.dtypes import ALL as DTYPES
from jitcore_ir.dtypes import DType, from_numpy
from jitcore_ir.errors import AttributeValueError
from jitcore_ir.types import TensorType

from .arena import address_of, empty_aligned

Resolver = Callable[[tuple[TensorType, ...], tuple[TensorType, ...]], int | None]
"""The address of the native function for operands and results of these types (dtypes and ranks count), or None."""

_CFUNCTION = ctypes.CFUNCTYPE(None).__mro__[1]
"""What every ctypes function is."""
_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 7)


class CustomOpError(RuntimeError):
    """A custom operation that gave something else than it should."""


class MissingCustomOp(CustomOpError):
    """A custom operation that a program needs and nobody has registered, or another version of it."""


@dataclass(frozen=True, slots=True)
class CustomOp:
    """One registered operation. `function` takes NumPy arrays (read-only) and the other arguments in order, and gives
    an array or a tuple of arrays. `resolve` finds the native function. `kept` holds what must not be freed."""

    name: str
    version: int
    function: Callable[..., Any] | None
    resolve: Resolver | None = None
    kept: Any = None

    def run(
        self, arrays: Sequence[np.ndarray], arguments: tuple[Any, ...], results: Sequence[TensorType] | None
    ) -> list[np.ndarray]:
        """The results, in memory of their own. `results` are the types they must have (with known sizes); None takes
        what the Python function gives.

        Raises CustomOpError for a result of another type, RuntimeError for a native function that fails, and what the
        Python function raises.
        """
        address = self.native_address(arrays, arguments, results)
        if address and results is not None:
            return call_native(self.name, address, arrays, arguments, results)
        if self.function is None:
            raise CustomOpError(
                f"{self.name} has a native function alone, which needs the shapes and dtypes of its results, and takes "
                "tensors, ints, bools and floats; give it a shape rule, or a Python function too"
            )
        given = [_read_only(a) for a in arrays]
        made = self.function(*fill(arguments, given.__getitem__, lambda k: given[k].item()))
        return self._checked(made, arrays, results)

    def takes(self, count: int) -> bool:
        """Whether the Python function, where there is one, can be called with so many arguments."""
        if self.function is None:
            return True
        try:
            inspect.signature(self.function).bind(*[None] * count)
        except TypeError:
            return False
        except ValueError:  # one that does not tell, as functions of C
            return True
        return True

    def native_address(
        self, arrays: Sequence[np.ndarray], arguments: tuple[Any, ...], results: Sequence[TensorType] | None
    ) -> int | None:
        """The address of the native function for such arrays, None where there is none."""
        if self.resolve is None or results is None or not is_numeric(arguments):
            return None
        tensors = tensors_of(arguments, arrays)
        return self.resolve(tuple(TensorType(from_numpy(a.dtype), a.shape) for a in tensors), tuple(results))

    def _checked(
        self, made: Any, arrays: Sequence[np.ndarray], results: Sequence[TensorType] | None
    ) -> list[np.ndarray]:
        found = [self._array(part) for part in (made if isinstance(made, tuple | list) else (made,))]
        if not found:
            raise CustomOpError(f"{self.name} gave no result; a custom operation returns one array or several")
        if results is not None:
            given = [TensorType(from_numpy(a.dtype), a.shape) for a in found]
            if given != list(results):
                raise CustomOpError(
                    f"{self.name} gave {', '.join(map(str, given))}, but its shape rule says "
                    f"{', '.join(map(str, results))}"
                )
        return [
            a.copy() if not a.flags.writeable or any(np.may_share_memory(a, x) for x in (*arrays, *found[:n])) else a
            for n, a in enumerate(found)
        ]

    def _array(self, part: Any) -> np.ndarray:
        if not isinstance(part, np.ndarray | np.generic | int | float | complex):
            raise CustomOpError(f"{self.name} gave a {type(part).__name__}; a custom operation returns arrays")
        try:
            from_numpy(np.asarray(part).dtype)
        except TypeError as error:
            raise CustomOpError(f"{self.name} gave an array that no tensor can hold: {error}") from None
        return np.asarray(part)


def register_custom_op(
    name: str, function: Callable[..., Any] | None = None, *, native: Any = None, version: int = 1
) -> None:
    """Make the operation `name` ("namespace::name") known to this process, for programs and archives that call it.

    function: takes NumPy arrays, which it must not change, and the operation's other arguments, in order; returns an
        array or a tuple of arrays.
    native: a C function that does the same (see the head of this file): its address, a ctypes function, or an object
        with an `address`, such as what `numba.cfunc` gives. Compiled programs then call it directly.
    version: a program made for another version of the operation is refused.

    An operation of that name is replaced, also in programs that are loaded already. Raises ValueError for a name
    that is none, and TypeError where neither or something else is given.
    """
    if function is None and native is None:
        raise TypeError(f"{name}: give a Python function, a native function, or both")
    if function is not None and not callable(function):
        raise TypeError(f"{name}: function is a {type(function).__name__}, which cannot be called")
    resolve: Resolver | None = None
    if native is not None:
        address = native_address(name, native)
        resolve = lambda operands, results: address  # noqa: E731
    add(CustomOp(name, version, function, resolve, native))


def native_address(name: str, native: Any) -> int:
    """The address of a native function given as a number, a ctypes function, or an object with `address`."""
    if isinstance(native, _CFUNCTION):
        pointer: Any = native
        native = ctypes.cast(pointer, ctypes.c_void_p).value
    elif not isinstance(native, int):
        native = getattr(native, "address", None)
    if isinstance(native, bool) or not isinstance(native, int) or native <= 0:
        raise TypeError(
            f"{name}: native is no address of a function; give a number, a ctypes function or what numba.cfunc returns"
        )
    return native


_ops: dict[str, CustomOp] = {}
_cells: dict[tuple[Any, ...], ctypes.c_void_p] = {}
_replaced: list[CustomOp] = []
"""Operations that were replaced: another thread may be running their native functions."""
_lock = threading.RLock()


def add(op: CustomOp) -> None:
    """Register an operation, in the place of one of its name."""
    try:
        check_name(op.name)
    except AttributeValueError as error:
        raise ValueError(str(error)) from None
    with _lock:
        if op.name in _ops:
            _replaced.append(_ops[op.name])
        _ops[op.name] = op
        for key, cell in _cells.items():
            if key[0] == op.name:
                cell.value = _resolved(*key)


def registered(name: str, version: int) -> CustomOp:
    """The operation of that name and version. Raises MissingCustomOp, which says what to do."""
    op = _ops.get(name)
    if op is None:
        raise MissingCustomOp(
            f"the custom operation {name!r} (version {version}) is not registered in this process: import the module "
            f"that defines it, or call jitcore_runtime.register_custom_op({name!r}, function) first"
        )
    if op.version != version:
        raise MissingCustomOp(
            f"version {version} of the custom operation {name!r} is needed, but version {op.version} is registered: "
            f"import the module that defines version {version}"
        )
    return op


def native_cell(
    name: str, version: int, operands: Sequence[TensorType], results: Sequence[TensorType]
) -> ctypes.c_void_p:
    """Eight bytes that hold the address of the operation's native function for such tensors (no numbers), or 0 where
    there is none; they follow when an operation of that name is registered. Of the types, dtypes and ranks count."""
    key = (name, version, _kinds(operands), _kinds(results))
    with _lock:
        cell = _cells.get(key)
        if cell is None:
            cell = _cells[key] = ctypes.c_void_p(_resolved(*key))
    return cell


Kinds = tuple[tuple[DType, int], ...]


def _resolved(name: str, version: int, operands: Kinds, results: Kinds) -> int | None:
    op = _ops.get(name)
    if op is None or op.version != version or op.resolve is None:
        return None
    return op.resolve(
        tuple(TensorType(d, (0,) * r) for d, r in operands), tuple(TensorType(d, (0,) * r) for d, r in results)
    )


def _kinds(types: Sequence[TensorType]) -> Kinds:
    return tuple((t.dtype, t.rank) for t in types)


def is_numeric(arguments: tuple[Any, ...]) -> bool:
    """Whether a native function can take the arguments: tensors and numbers."""
    return all(isinstance(leaf, TensorAt | NumberAt | int | float) for leaf in leaves(arguments))


def numbers(
    arguments: tuple[Any, ...], operand: Callable[[int], Any], is_integer: Callable[[int], bool]
) -> tuple[list[Any], list[Any]]:
    """The integers (and bools) and the reals among the arguments, in the order in which a native function gets them.
    `operand(k)` is what stands for the number in operand k, `is_integer(k)` says of which kind that is."""
    integers: list[Any] = []
    reals: list[Any] = []
    for leaf in leaves(arguments):
        if isinstance(leaf, NumberAt):
            (integers if is_integer(leaf.index) else reals).append(operand(leaf.index))
        elif isinstance(leaf, int):
            integers.append(int(leaf))
        elif isinstance(leaf, float):
            reals.append(leaf)
    return integers, reals


def call_native(
    name: str,
    address: int,
    arrays: Sequence[np.ndarray],
    arguments: tuple[Any, ...],
    results: Sequence[TensorType],
) -> list[np.ndarray]:
    """Call a native function from Python."""
    given = [np.require(a, requirements=("C", "ALIGNED")) for a in tensors_of(arguments, arrays)]
    made = [empty_aligned(tuple(t.shape), t.dtype.numpy) for t in results]  # type: ignore[arg-type]
    tensors = [*given, *made]
    integers, reals = numbers(arguments, lambda k: arrays[k].item(), lambda k: arrays[k].dtype.kind == "i")
    rows = [(ctypes.c_int64 * max(a.ndim, 1))(*a.shape) for a in tensors]
    counts = (len(given), len(made), len(integers), len(reals))
    status = _PROTOTYPE(address)(
        (ctypes.c_int64 * 4)(*counts),
        (ctypes.c_void_p * len(tensors))(*map(address_of, tensors)),
        (ctypes.c_int64 * len(tensors))(*(DTYPES.index(from_numpy(a.dtype)) for a in tensors)),
        (ctypes.c_int64 * len(tensors))(*(a.ndim for a in tensors)),
        (ctypes.c_void_p * len(tensors))(*map(ctypes.addressof, rows)),
        (ctypes.c_int64 * max(len(integers), 1))(*integers),
        (ctypes.c_double * max(len(reals), 1))(*reals),
    )
    if status:
        raise failed(name, status)
    return made


def failed(name: str, status: int) -> RuntimeError:
    """The error for a native function that did not return 0."""
    return RuntimeError(f"the native function of {name} returned {status}, which means that it failed")


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
