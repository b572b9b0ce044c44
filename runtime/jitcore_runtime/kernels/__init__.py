"""NumPy kernels: what eager execution and the interpreter run.

`KERNELS[spec](*arrays, **attributes)` gives the one result as an ndarray (0-d included, never a NumPy scalar), whose
dtype and shape are those of the spec's rule. Dims among the attributes are integers by now. The kernel of a VIEW spec
may return a view of its first operand; every other result owns its memory. Results need not be row-major.
Kernels trust shapes and dtypes (the spec's rule checks those); they check what only the data shows: positions
(IndexError) and integer divisors (ZeroDivisionError).
"""

from jitcore_ir.spec import OpSpec

from . import (
    alignment,
    complex_numbers,
    contraction,
    creation,
    custom,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    movement,
    order,
    reduction,
    special_functions,
)  # fmt: skip
from .floating import Kernel

KERNELS: dict[OpSpec, Kernel] = {
    **elementwise.KERNELS,
    **movement.KERNELS,
    **creation.KERNELS,
    **reduction.KERNELS,
    **indexing.KERNELS,
    **contraction.KERNELS,
    **complex_numbers.KERNELS,
    **linear_algebra.KERNELS,
    **fourier.KERNELS,
    **special_functions.KERNELS,
    **order.KERNELS,
    **alignment.KERNELS,
    **custom.KERNELS,
}

__all__ = ["KERNELS", "Kernel"]
