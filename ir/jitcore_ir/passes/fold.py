"""Constant folding: an operation on constants becomes a constant, computed by its NumPy kernel.

```
graph @main() {                          graph @main() {
  %a = constant() {value = 2.0} : f32[]    %0 = constant() {value = 4.0} : f32[]
  %b = mul(%a, %a) : f32[]          ->     return(%0)
  return(%b)                             }
}
```

The kernels are the ones eager mode runs, so folding does not change a bit of what eager mode gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..builder import Builder
from ..dtypes import from_numpy
from ..errors import IRError
from ..graph import Graph, Operation, Value
from ..ops import BROADCAST_TO, CUSTOM_CALL
from ..shapes import Expr
from ..spec import OpSpec, Trait
from ..types import TensorType
from .match import constant_of
from .rewrite import Patterns

Kernel = Callable[..., np.ndarray]


class ConstantFold:
    """The pass. `kernels` computes an operation: `kernels[spec](*arrays, **attributes)`.

    Operations that give more than `result_bytes`, or read more than `operand_bytes`, stay: folding them would bloat the
    program or take long. So do those whose kernel raises (the error belongs to the run), `broadcast_to` (its
    operand is smaller), `custom_call` (the user's own code) and what starts from no operands.
    """

    name = "fold"

    def __init__(
        self, kernels: Mapping[OpSpec, Kernel], result_bytes: int = 1 << 16, operand_bytes: int = 1 << 20
    ) -> None:
        self.kernels = kernels
        self.result_bytes = result_bytes
        self.operand_bytes = operand_bytes
        self.patterns = Patterns(self.name)
        unwanted = Trait.IMPURE | Trait.TERMINATOR
        kept = (BROADCAST_TO, CUSTOM_CALL)
        self.patterns.on(*(s for s in kernels if s.operands and not s.has(unwanted) and s not in kept))(self.fold)

    def __call__(self, graph: Graph) -> bool:
        return self.patterns(graph)

    def fold(self, operation: Operation, build: Builder) -> Value | None:
        arrays = [constant_of(v) for v in operation.operands]
        if not arrays or not self.is_small(operation, arrays):
            return None
        try:
            with np.errstate(all="ignore"):
                array = self.kernels[operation.spec](*arrays, **operation.attributes)
        except (ArithmeticError, IndexError, ValueError):
            return None
        array = np.array(array, order="C")
        array.flags.writeable = False
        found = TensorType(from_numpy(array.dtype), array.shape)
        if found != operation.result.type:
            raise IRError(f"the kernel of {operation.spec.name} gives {found}, not {operation.result.type}")
        return build.constant(array, found.dtype)

    def is_small(self, operation: Operation, arrays: list[np.ndarray | None]) -> bool:
        """Whether every operand is a constant and all sizes are known and within the bounds."""
        if any(array is None or array.nbytes > self.operand_bytes for array in arrays):
            return False
        type = operation.result.type
        if any(isinstance(d, Expr) for d in type.shape) or _has_symbols(operation):
            return False
        return math.prod(type.shape) * type.dtype.itemsize <= self.result_bytes  # type: ignore[arg-type]


def _has_symbols(operation: Operation) -> bool:
    values = operation.attributes.values()
    return any(isinstance(v, Expr) or (isinstance(v, tuple) and any(isinstance(d, Expr) for d in v)) for v in values)
