"""NumPy kernels of the elementwise operations. Results may keep the memory order of their operands."""

from __future__ import annotations

import numpy as np

from jitcore_ir import ops
from jitcore_ir.dtypes import DType
from jitcore_ir.spec import OpSpec

from ..errors import DivisionError
from .floating import Kernel, binary, exact, in_float32, of_reals, quiet, unary
from .special import erf


@in_float32
@quiet
def rsqrt(x: np.ndarray) -> np.ndarray:
    root = np.asarray(np.sqrt(x))
    return np.divide(1, root, out=root)


@in_float32
@quiet
def sigmoid(x: np.ndarray) -> np.ndarray:
    # For x far below 0 the exponential overflows to inf and the result is 0, which is right to 1e-38.
    y = np.asarray(np.negative(x))
    np.exp(y, out=y)
    np.add(y, 1, out=y)
    return np.divide(1, y, out=y)


def _checked_division(name: str, ufunc: np.ufunc) -> Kernel:
    divide = binary(ufunc)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        result = divide(x, y)
        if y.dtype.kind in "iu" and result.size and not y.all():
            raise DivisionError(f"{name}: an integer is divided by zero")
        return result

    return kernel


_power = binary(np.power)


@quiet
def _root(x: np.ndarray) -> np.ndarray:
    """x**0.5: inf for -inf and 0.0 for -0.0, as pow has it and sqrt has not."""
    return np.where(x == -np.inf, x.dtype.type(np.inf), np.sqrt(x) + x.dtype.type(0))


_FORMS: dict[float, Kernel] = {2.0: unary(np.square), 0.5: _root, -1.0: unary(np.reciprocal)}
"""Powers of real numbers that are not made by logarithms. NumPy does so too, but only for exponents that it sees to be
equal by their strides; here it goes element by element."""


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x**y. Squares, roots and reciprocals are products, `sqrt` and divisions; an integer to a negative power is
    1 / x**-y truncated towards 0 (0**-1 gives 0)."""
    kind = x.dtype.kind
    if y.ndim == 0:
        form = _FORMS.get(y.item())
        if form is not None and (kind not in "iubc" or y == 2):
            return form(x)
    if kind == "i" and (y < 0).any():
        odd = (y & 1) != 0
        inverse = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0))
        return np.where(y < 0, inverse.astype(x.dtype), np.power(x, np.maximum(y, 0)))
    result = _power(x, y)
    if kind not in "iub" and y.ndim:
        for exponent, form in _FORMS.items():
            found = y == exponent
            if found.any() and (kind != "c" or exponent == 2):
                np.copyto(result, form(x), where=found)
    return result


def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(condition, x, y)


@quiet
def cast(x: np.ndarray, dtype: DType) -> np.ndarray:
    """x as `dtype`, in memory of its own. Where the truncated value does not fit an integer, its low bits are kept
    (through int64), so that -1.0 becomes 255 as uint8 on every machine."""
    target = dtype.numpy
    if x.dtype.kind == "c" and target.kind not in "bc":
        x = x.real
    if target.kind in "iu" and target.itemsize < 8 and x.dtype.kind not in "biu":
        x = x.astype(np.int64)
    return x.astype(target)


def copy(x: np.ndarray) -> np.ndarray:
    """x in fresh row-major memory."""
    return x.copy()


KERNELS: dict[OpSpec, Kernel] = {
    ops.NEG: unary(np.negative),
    ops.ABS: unary(np.absolute),
    ops.SIGN: of_reals(unary(np.sign)),
    ops.FLOOR: unary(np.floor),
    ops.CEIL: unary(np.ceil),
    ops.ROUND: of_reals(unary(np.rint)),
    ops.TRUNC: unary(np.trunc),
    ops.EXP: unary(np.exp),
    ops.EXPM1: unary(np.expm1),
    ops.LOG: unary(np.log),
    ops.LOG1P: unary(np.log1p),
    ops.LOG2: unary(np.log2),
    ops.SQRT: unary(np.sqrt),
    ops.RSQRT: rsqrt,
    ops.SIN: unary(np.sin),
    ops.COS: unary(np.cos),
    ops.TAN: unary(np.tan),
    ops.ASIN: unary(np.arcsin),
    ops.ACOS: unary(np.arccos),
    ops.ATAN: unary(np.arctan),
    ops.SINH: unary(np.sinh),
    ops.COSH: unary(np.cosh),
    ops.TANH: unary(np.tanh),
    ops.SIGMOID: sigmoid,
    ops.ERF: of_reals(in_float32(quiet(erf))),
    ops.LOGICAL_NOT: exact(np.logical_not),
    ops.BITWISE_NOT: exact(np.invert),
    ops.ISNAN: exact(np.isnan),
    ops.ISINF: exact(np.isinf),
    ops.ADD: binary(np.add),
    ops.SUB: binary(np.subtract),
    ops.MUL: binary(np.multiply),
    ops.DIV: binary(np.true_divide),
    ops.FLOOR_DIVIDE: _checked_division("floor_divide", np.floor_divide),
    ops.REMAINDER: _checked_division("remainder", np.remainder),
    ops.FMOD: _checked_division("fmod", np.fmod),
    ops.POW: power,
    ops.MAXIMUM: of_reals(binary(np.maximum)),
    ops.MINIMUM: of_reals(binary(np.minimum)),
    ops.ATAN2: binary(np.arctan2),
    ops.BITWISE_AND: exact(np.bitwise_and),
    ops.BITWISE_OR: exact(np.bitwise_or),
    ops.BITWISE_XOR: exact(np.bitwise_xor),
    ops.SHIFT_LEFT: exact(np.left_shift),
    ops.SHIFT_RIGHT: exact(np.right_shift),
    ops.EQ: binary(np.equal),
    ops.NE: binary(np.not_equal),
    ops.LT: of_reals(binary(np.less)),
    ops.LE: of_reals(binary(np.less_equal)),
    ops.GT: of_reals(binary(np.greater)),
    ops.GE: of_reals(binary(np.greater_equal)),
    ops.WHERE: where,
    ops.CAST: cast,
    ops.COPY: copy,
}
