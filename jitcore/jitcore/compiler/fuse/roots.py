"""Which values get a loop nest of their own (`roots`); everything else is computed where it is used.

A value is a root when it leaves the program, when it cannot be written as "the element at an index" without loops
(contractions, long reductions, running sums, writes at positions), when a contraction reads it from memory, or when
computing it again at each use costs more than keeping it. Whether a root ends up in memory is decided later: roots
that share a nest hand values over in registers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jitcore_ir import Graph, Operation, OpSpec, Trait, Value, ops
from jitcore_ir.shapes import product

from ..lower.index import Dim
from ..lower.movement import MOVEMENT, dense_view
from ..lower.parts import CALL_OUT_PARTS, INTERLEAVE
from ..lower.pointwise import writes_once
from ..lower.reduction import REDUCTIONS, reduced_extents

CONTRACTIONS = (ops.DOT, ops.CONV, ops.CONV_TRANSPOSE, ops.CONV_WEIGHT_GRADIENT)
SCANS = (ops.CUMSUM, ops.CUMPROD)
WRITES = (ops.PUT, ops.SCATTER, ops.SCATTER_REDUCE, ops.SLICE_UPDATE)
CALL_OUT: set[OpSpec] = {
    ops.ARGSORT, ops.CHOLESKY, ops.CHOLESKY_INFO, ops.COFACTOR, ops.CTC, ops.CTC_POSTERIOR, ops.CUSTOM_CALL, ops.DET,
    ops.EIG, ops.EIGH, ops.EIGVALS, ops.EIGVALSH, ops.FFT, ops.INV, ops.IRFFT, ops.LDL, ops.LDL_SOLVE, ops.LOGCUMSUMEXP,
    ops.LU, ops.MATRIX_EXP, ops.NONZERO, ops.PINV, ops.PIVOT_ORDER, ops.QR, ops.REFLECTORS, ops.RFFT,
    ops.RUNNING_POSITION, ops.SEARCHSORTED, ops.SLOGDET, ops.SOLVE, ops.SOLVE_TRIANGULAR, ops.SPECIAL,
    ops.SPECIAL_OF_TWO, ops.SVD, ops.SVDVALS, ops.TOP_POSITIONS,
}  # fmt: skip
"""Operations without native code: their NumPy kernels are called from the program, on operands in memory."""

ALONE = (*CONTRACTIONS, *SCANS, *WRITES, ops.CONCAT, ops.RANDOM_BITS)
"""Operations that get kernels of their own."""


def stands_alone(operation: Operation) -> bool:
    """True where an operation's result cannot be computed element by element, nor by a reduction's loops."""
    if is_call_out(operation):
        return True
    if operation.spec is ops.RANDOM_BITS:
        return operation.result.type.shape != ()
    return operation.spec in ALONE and not writes_once(operation)


def is_call_out(operation: Operation) -> bool:
    """True where the operation runs by its NumPy kernel."""
    return operation.spec in CALL_OUT or operation.spec is CALL_OUT_PARTS


LONGEST_CHAIN = 64
"""An operation this many operations away from memory is kept: a kernel stays of a size to compile and to read."""

MULTIPLE_USE_COST = 10
"""A value used several times is kept when an element costs this many additions."""

REPEATED_USE_COST = 3
"""The same for one whose every element is used at many indices (broadcast over rows, overlapping windows)."""

MOST_TAPS = 8
"""A reduction over at most this many known elements may be computed where it is used, if they lie apart in memory."""

MOST_WINDOW_TAPS = 32
"""The same for the elements of a window."""

FEW_TAPS = 4
"""The same where they do lie side by side, for a single use."""

_WEIGHTS = {
    ops.DIV: 4, ops.SQRT: 4, ops.RSQRT: 5, ops.FLOOR_DIVIDE: 6, ops.REMAINDER: 6, ops.FMOD: 6, ops.POW: 30,
    ops.TAKE: 4, ops.GATHER: 4, ops.SCATTER: 3, ops.PAD: 2, ops.FOLD_WINDOWS: 8,
}  # fmt: skip
_DEAR = (
    ops.EXP, ops.EXPM1, ops.LOG, ops.LOG1P, ops.LOG2, ops.SIN, ops.COS, ops.TAN, ops.ASIN, ops.ACOS, ops.ATAN, ops.SINH,
    ops.COSH, ops.TANH, ops.SIGMOID, ops.ERF, ops.ATAN2,
)  # fmt: skip
_FREE = (*MOVEMENT, ops.CONSTANT, ops.IOTA, ops.SIZE, ops.CAST, ops.COPY)


def base(value: Value) -> Value:
    """The value whose memory holds `value` as it is: reshapes and copies do not count."""
    while value.operation is not None and value.operation.spec in (ops.RESHAPE, ops.COPY):
        value = value.operation.operands[0]
    return value


def is_leaf(value: Value) -> bool:
    """True for what is in memory before the program starts: graph inputs and constants that are not one number."""
    if value.operation is None:
        return True
    if value.operation.spec is not ops.CONSTANT:
        return False
    array = value.operation.attributes["value"]
    return array.size > 1 and array.tobytes() != array.ravel()[:1].tobytes() * array.size


def is_loop_reduction(operation: Operation) -> bool:
    """True where a reduction needs loops of its own rather than a few operations in a row."""
    if operation.spec not in REDUCTIONS:
        return False
    taps = product(reduced_extents(operation))
    x = operation.operands[0]
    windows = _reads_windows(x)
    if not isinstance(taps, int) or taps > (MOST_WINDOW_TAPS if windows else MOST_TAPS):
        return True
    last = max((a for a, d in enumerate(x.type.shape) if d != 1), default=0)
    if last not in operation.attributes["axes"] or taps <= 1 or windows:
        return False
    return taps > FEW_TAPS or len(operation.result.uses) > 1


def _reads_windows(value: Value) -> bool:
    """True where the elements of `value` are elements of overlapping windows, so that they are not contiguous."""
    while value.operation is not None:
        if value.operation.spec is ops.WINDOWS:
            return True
        if not value.operation.spec.has(Trait.ELEMENTWISE) and value.operation.spec is not ops.RESHAPE:
            return False
        value = value.operation.operands[0]
    return False


@dataclass(slots=True)
class Roots:
    """The roots of a graph in order (the dict is an ordered set), and what an element of each value costs, counted
    from the nearest roots and leaves."""

    values: dict[Value, None] = field(default_factory=dict)
    costs: dict[Value, int] = field(default_factory=dict)

    def in_memory(self, value: Value) -> bool:
        """True for what is read rather than computed where it is used."""
        return value in self.values or is_leaf(value)


def choose_roots(graph: Graph) -> Roots:
    """Decide for each value of an expanded graph."""
    roots = Roots()
    required = {base(v) for v in graph.outputs}
    for operation in graph.operations:
        if operation.spec in CONTRACTIONS:
            required.update(operand_memory(operation))
        elif is_call_out(operation):
            required.update(base(v) for v in operation.operands)
    heavy: dict[Value, bool] = {}
    chains: dict[Value, int] = {}
    for operation in graph.operations:
        for value in operation.results:
            cost, reads_contraction = _cost(value, roots, heavy)
            chains[value] = 1 + max((chains[v] for v in operation.operands if v in chains), default=0)
            if (
                not is_leaf(value)
                and base(value) is value
                and (
                    value in required
                    or stands_alone(operation)
                    or is_loop_reduction(operation)
                    or _worth_keeping(value, cost, reads_contraction)
                    or chains[value] > LONGEST_CHAIN
                    or operation.spec is INTERLEAVE
                )
            ):
                roots.values[value] = None
                chains[value] = 0
            roots.costs[value], heavy[value] = cost, reads_contraction
    return roots


def operand_memory(operation: Operation) -> list[Value]:
    """The values whose memory a contraction reads: its operands, or what they are dense views of."""
    found = []
    for operand in operation.operands:
        view = dense_view(operand, ordered=operation.spec is not ops.DOT)
        found.append(base(operand) if view is None else base(view.source))
    return found


def _cost(value: Value, roots: Roots, heavy: dict[Value, bool]) -> tuple[int, bool]:
    """Additions that one element costs, loads included, and whether a contraction's result is among the operands."""
    operation = value.operation
    if operation is None or is_leaf(value):
        return 1, False
    spec = operation.spec
    total = 15 if spec in _DEAR else 0 if spec in _FREE else _WEIGHTS.get(spec, 1)
    if spec is ops.RANDOM_BITS:
        total = 80
    taps = product(reduced_extents(operation)) if spec in REDUCTIONS else 1
    taps = taps if isinstance(taps, int) else MOST_TAPS
    reads_contraction = False
    for operand in operation.operands:
        if operand in roots.values:
            part = 1
            reads_contraction |= operand.operation is not None and operand.operation.spec in CONTRACTIONS
        else:
            part = roots.costs.get(operand, 1)
            reads_contraction |= heavy.get(operand, False)
        if spec not in REDUCTIONS and spec not in MOVEMENT and operand.type.shape != value.type.shape:
            part = 0  # computed once for many elements, as far out as it depends on
        total += part
    return total * max(taps, 1), reads_contraction


def _worth_keeping(value: Value, cost: int, reads_contraction: bool) -> bool:
    elements = product(value.type.shape)
    if elements == 1 or elements == 0:
        return False
    users: dict[Operation, bool] = {}
    _collect_users(value, elements, False, users)
    if any(users.values()) and cost > REPEATED_USE_COST + 1:
        return True
    if any(u.spec is ops.WINDOWS for u, _ in value.uses) and cost > 1:
        return True
    return len(users) > 1 and (cost >= MULTIPLE_USE_COST or reads_contraction)


def _collect_users(value: Value, elements: Dim, repeated: bool, users: dict[Operation, bool]) -> None:
    """The operations that compute with `value`, through movement, and whether each reads an element at many rows."""
    for user, _ in value.uses:
        again = repeated
        if user.results:
            again |= _repeats(value, user)
        if user.spec in (*MOVEMENT, ops.COPY):
            _collect_users(user.result, elements, again, users)
        else:
            users[user] = users.get(user, False) or again


def _repeats(value: Value, user: Operation) -> bool:
    """True where `user` reads each element of `value` again for every index of an axis outside value's innermost."""
    if user.spec in (ops.TAKE, ops.GATHER):
        return value is user.operands[0]
    if user.spec is ops.WINDOWS:
        window, stride = user.attributes["window"], user.attributes["stride"]
        return any(k > s for k, s in zip(window, stride, strict=True))
    if user.spec is not ops.BROADCAST_TO and not user.spec.has(Trait.ELEMENTWISE):
        return False
    shape, result = value.type.shape, user.result.type.shape
    aligned = (1,) * (len(result) - len(shape)) + shape
    innermost = max((a for a, d in enumerate(aligned) if d != 1), default=0)
    return any(aligned[a] == 1 and result[a] != 1 for a in range(innermost))
