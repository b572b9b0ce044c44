"""The call of an operation that the user has defined."""

from __future__ import annotations

from typing import Any

from ..custom_call import NumberAt, TensorAt, check_name, leaves, read_arguments, read_results
from ..dtypes import DType, float64, int64
from ..errors import AttributeValueError
from ..shapes import Dim, add, product
from ..spec import Kind
from ..types import TensorType
from .rules import check_sizes, op

__all__ = ["CUSTOM_CALL"]


@op(
    "custom_call",
    ("*xs",),
    {
        "name": Kind.STRING, "version": Kind.INT, "arguments": Kind.STRING,
        "dtypes": Kind.STRING, "ranks": Kind.INTS, "dims": Kind.DIMS, "dtype": Kind.DTYPE,
    },
    """What the operation registered as `name` gives for xs and the rest of `arguments` (JSON; see `custom_call`), whose
    results have `dtypes` and the shapes in `dims`, cut by `ranks`. An only result is given as it is; of several, those
    of `dtype`, each flattened, side by side.""",
)  # fmt: skip
def CUSTOM_CALL(
    *xs: TensorType, name: str, version: int, arguments: str, dtypes: str, ranks: tuple[int, ...],
    dims: tuple[Dim, ...], dtype: DType,
) -> TensorType:  # fmt: skip
    check_name(name)
    taken = [leaf for leaf in leaves(read_arguments(arguments)) if isinstance(leaf, TensorAt | NumberAt)]
    found = [leaf.index for leaf in taken]
    if found != list(range(len(xs))):
        raise AttributeValueError(f"custom_call: {name} takes the operands {found}, but {len(xs)} are given")
    for leaf, x in zip(taken, xs):
        if isinstance(leaf, NumberAt) and x not in (TensorType(float64), TensorType(int64)):
            raise AttributeValueError(f"custom_call: {name} takes a number from {x}, which is no f64[] or i64[]")
    results = read_results(dtypes, ranks, dims)
    check_sizes("custom_call", dims)
    chosen = [t for t in results if t.dtype is dtype]
    if not chosen:
        raise AttributeValueError(f"custom_call: no result of {name} is {dtype.name}, but {dtypes}")
    if len(results) == 1:
        return results[0]
    total: Any = 0
    for type in chosen:
        total = add(total, product(type.shape))
    return TensorType(dtype, (total,))
