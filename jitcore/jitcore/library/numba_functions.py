"""Functions that numba has compiled, as native functions: one small `cfunc` around the user's for each combination of
dtypes and ranks. numba is imported only where the user has."""

from __future__ import annotations

import inspect
import threading
from typing import Any

from jitcore_ir.types import TensorType
from jitcore_runtime.custom import Resolver

_NUMBERS = {"float": "reals", "int": "integers", "bool": "integers"}

FAILED, WRONG_SHAPE, WRONG_COUNT = 1, 2, 3
"""What the native function returns where the user's raised, where its result has another shape than the rule's, and
where other tensors or numbers are given than the user's takes."""


def is_numba_function(function: Any) -> bool:
    """Whether `numba.njit` (or `jit`) made the function."""
    return type(function).__module__.startswith("numba.") and hasattr(function, "py_func")


def native_resolver(name: str, function: Any) -> Resolver:
    """The native function of a numba-compiled one, made when it is first asked for; None where numba cannot compile it
    for such arrays without Python, or gives other dtypes than the rule says: the function is then called as it is,
    which raises the error that explains it."""
    made: dict[Any, Any] = {}
    lock = threading.Lock()

    def resolve(operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> int | None:
        key = tuple((t.dtype, t.rank) for t in operands), tuple((t.dtype, t.rank) for t in results)
        with lock:
            if key not in made:
                made[key] = _compile(function, operands, results)
        return None if made[key] is None else made[key].address

    return resolve


def _compile(function: Any, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> Any:
    from numba import cfunc, types
    from numba.core.errors import NumbaError

    text = _source(function, operands, results)
    if text is None:
        return None
    addresses, integers = types.CPointer(types.voidptr), types.CPointer(types.int64)
    signature = types.int64(
        integers, addresses, integers, integers, types.CPointer(integers), integers, types.CPointer(types.double)
    )
    namespace: dict[str, Any] = {"function": function}
    exec(text, namespace)
    try:
        return cfunc(signature)(namespace["native"])
    except (NumbaError, NotImplementedError):
        return None


def _source(function: Any, operands: tuple[TensorType, ...], results: tuple[TensorType, ...]) -> str | None:
    """The text of `native`, which makes arrays of the pointers and calls `function`. None where the function's
    parameters are not first tensors and then numbers with annotations, which would not say how to pass these (`calls`
    sees to it that numbers are of the kind annotated)."""
    parameters = list(inspect.signature(function.py_func).parameters.values())
    every = [*operands, *results]
    lines = []
    for k, type in enumerate(every):
        shape = "".join(f"shapes[{k}][{axis}], " for axis in range(type.rank))
        dtype = "bool_" if type.dtype.name == "bool" else type.dtype.name
        if dtype == "bfloat16":
            return None
        lines.append(f"        t{k} = carray(data[{k}], ({shape}), np.{dtype})")
    given = [f"t{k}" for k in range(len(operands))]
    counts = {"integers": 0, "reals": 0}
    if any(annotation_of(p) in _NUMBERS for p in parameters[: len(operands)]):
        return None
    for parameter in parameters[len(operands) :]:
        kind = annotation_of(parameter)
        if kind not in _NUMBERS:
            return None
        source = _NUMBERS[kind]
        given.append(f"{source}[{counts[source]}]" + (" != 0" if kind == "bool" else ""))
        counts[source] += 1
    lines.append(f"        made = function({', '.join(given)})")
    for n in range(len(results)):
        k = len(operands) + n
        part = "made" if len(results) == 1 else f"made[{n}]"
        lines.append(f"        if np.shape({part}) != t{k}.shape:")
        lines.append(f"            return {WRONG_SHAPE}")
        lines.append(f"        t{k}[...] = {part}")
    wanted = (len(operands), len(results), counts["integers"], counts["reals"])
    head = [
        "from numba import carray",
        "import numpy as np",
        "def native(counts, data, dtypes, ranks, shapes, integers, reals):",
        f"    if (counts[0], counts[1], counts[2], counts[3]) != {wanted}:",
        f"        return {WRONG_COUNT}",
        "    try:",
    ]
    return "\n".join([*head, *lines, "    except Exception:", f"        return {FAILED}", "    return 0", ""])


def annotation_of(parameter: Any) -> str:
    """A parameter's annotation by name, such as "float"; empty where there is none."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
