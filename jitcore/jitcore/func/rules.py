"""The table of batching rules: `BATCHING[spec]` runs a primitive for a whole batch of examples at once.

A rule gets (spec, operands, batches, attributes, size): for each operand the batch it stands for, [size, *example],
or None where the operand itself serves every example. It returns the batch of results. Rules are made of operations,
so that what is further out (gradients, a trace, another vmap) sees those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitcore_ir import OPS, OpSpec, Trait, ops

from ..dispatch import apply
from ..tensor import Tensor, shape_of

Batches = Sequence[Tensor | None]
Rule = Callable[[OpSpec, Sequence[Tensor], Batches, Mapping[str, Any], Any], Tensor]


def to_shape(batch: Tensor, rank: int) -> Tensor:
    """`batch` with axes of size 1 after its first, so that its examples have rank - 1 axes."""
    shape = shape_of(batch)
    if len(shape) == rank:
        return batch
    return apply(ops.RESHAPE, (batch,), {"shape": (shape[0], *(1,) * (rank - len(shape)), *shape[1:])})


def whole(operand: Tensor, batch: Tensor | None, size: Any) -> Tensor:
    """The operand as a batch, repeated (without copying) where it is the same for all examples."""
    if batch is not None:
        return batch
    return apply(ops.BROADCAST_TO, (operand,), {"shape": (size, *shape_of(operand))})


def _wholes(operands: Sequence[Tensor], batches: Batches, size: Any) -> list[Tensor]:
    return [whole(x, b, size) for x, b in zip(operands, batches, strict=True)]


def _elementwise(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    rank = max(x._array.ndim for x in operands) + 1
    return apply(spec, [x if b is None else to_shape(b, rank) for x, b in zip(operands, batches)], attributes)


def _leading(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    """For operations on the last axes, with any number before them."""
    return apply(spec, _wholes(operands, batches, size), attributes)


def _along(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    """For operations on named axes, which move up by one."""
    moved = dict(attributes)
    if "axis" in moved:
        moved["axis"] += 1
    if "axes" in moved:
        moved["axes"] = tuple(a + 1 for a in moved["axes"])
    return apply(spec, _wholes(operands, batches, size), moved)


def _shape(spec: OpSpec, operands: Any, batches: Any, attributes: Any, size: Any) -> Tensor:
    shape = (size, *attributes["shape"])
    return apply(
        spec, (to_shape(batches[0], len(shape)) if spec is ops.BROADCAST_TO else batches[0],), {"shape": shape}
    )


def _permute(spec: OpSpec, operands: Any, batches: Any, attributes: Any, size: Any) -> Tensor:
    return apply(spec, batches, {"permutation": (0, *(p + 1 for p in attributes["permutation"]))})


def _slice(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    first = {"starts": 0, "sizes": size, "steps": 1}
    return apply(spec, _wholes(operands, batches, size), {n: (first[n], *v) for n, v in attributes.items()})


def _pad(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    if batches[1] is not None:
        return _one_by_one(spec, operands, batches, attributes, size)
    widths = {name: (0, *width) for name, width in attributes.items()}
    return apply(spec, (whole(operands[0], batches[0], size), operands[1]), widths)


def _dot(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    x, y = batches
    if x is not None and y is None and x._array.ndim == 3:  # one matrix for all: a single larger product
        _, rows, inner = shape_of(x)
        flat = apply(ops.RESHAPE, (x,), {"shape": (size * rows, inner)})
        return apply(
            ops.RESHAPE, (apply(spec, (flat, operands[1])),), {"shape": (size, rows, shape_of(operands[1])[1])}
        )
    return _leading(spec, operands, batches, attributes, size)


def _positions(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    """take and put: as they are where all examples share the positions, else as gather and scatter."""
    axis = attributes["axis"] + 1
    if batches[1] is None:
        moved = [x if i == 1 else whole(x, b, size) for i, (x, b) in enumerate(zip(operands, batches))]
        return apply(spec, moved, {**attributes, "axis": axis})
    x, indices = whole(operands[0], batches[0], size), batches[1]
    shape, positions = shape_of(x), shape_of(indices)[1:]
    count: Any = 1
    for n in positions:
        count = count * n
    flat = (size, *shape[1:axis], count, *shape[axis + 1 :])
    lone = (size, *(1 for _ in shape[1:axis]), count, *(1 for _ in shape[axis + 1 :]))
    indices = apply(ops.BROADCAST_TO, (apply(ops.RESHAPE, (indices,), {"shape": lone}),), {"shape": flat})
    if spec is ops.TAKE:
        found = apply(ops.GATHER, (x, indices), {"axis": axis})
        return apply(ops.RESHAPE, (found,), {"shape": (*shape[:axis], *positions, *shape[axis + 1 :])})
    updates = apply(ops.RESHAPE, (whole(operands[2], batches[2], size),), {"shape": flat})
    return apply(ops.SCATTER, (x, indices, updates), {"axis": axis, "mode": attributes["mode"]})


def _conv(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    """Examples side by side: as more images where they share the weight, as more groups of channels where not."""
    x, weight = batches
    if weight is None:
        return _split(apply(spec, (_join(x, 0), operands[1]), attributes), 0, size)
    grouped = {**attributes, "groups": attributes["groups"] * size}
    channels = _join(whole(operands[0], x, size), 1)
    return _split(apply(spec, (channels, _join(weight, 0)), grouped), 1, size)


def _conv_weight_gradient(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    grouped = {**attributes, "groups": attributes["groups"] * size}
    channels = [_join(x, 1) for x in _wholes(operands, batches, size)]
    return _split(apply(spec, channels, grouped), 0, size)


def _join(batch: Any, axis: int) -> Tensor:
    """[size, ...] with the examples side by side along an axis of theirs."""
    rank = batch._array.ndim
    order = (*range(1, axis + 1), 0, *range(axis + 1, rank))
    shape = shape_of(batch)
    moved = apply(ops.PERMUTE, (batch,), {"permutation": order})
    return apply(
        ops.RESHAPE, (moved,), {"shape": (*shape[1 : axis + 1], shape[0] * shape[axis + 1], *shape[axis + 2 :])}
    )


def _split(x: Tensor, axis: int, size: Any) -> Tensor:
    """The inverse of `_join`."""
    shape = shape_of(x)
    parts = apply(ops.RESHAPE, (x,), {"shape": (*shape[:axis], size, shape[axis] // size, *shape[axis + 1 :])})
    rank = len(shape) + 1
    order = (axis, *(a for a in range(rank) if a != axis))
    return apply(ops.PERMUTE, (parts,), {"permutation": order})


def _one_by_one(spec: OpSpec, operands: Any, batches: Batches, attributes: Any, size: Any) -> Tensor:
    """For everything else: each example on its own."""
    if not int(size):
        raise NotImplementedError(f"vmap: {spec.name} over a batch of no examples")
    made = []
    for example in range(int(size)):
        own = [x if b is None else b[example] for x, b in zip(operands, batches)]
        result = apply(spec, own, attributes)
        made.append(apply(ops.RESHAPE, (result,), {"shape": (1, *shape_of(result))}))
    return apply(ops.CONCAT, made, {"axis": 0})


_LAST_AXES = (
    ops.WINDOWS, ops.FOLD_WINDOWS, ops.REAL, ops.IMAG, ops.VIEW_AS_REAL, ops.VIEW_AS_COMPLEX, ops.CHOLESKY,
    ops.CHOLESKY_INFO, ops.LU, ops.PIVOT_ORDER, ops.SOLVE, ops.SOLVE_TRIANGULAR, ops.INV, ops.PINV, ops.DET,
    ops.COFACTOR, ops.SLOGDET, ops.QR, ops.REFLECTORS, ops.SVD, ops.SVDVALS, ops.EIGH, ops.EIGVALSH, ops.EIG,
    ops.EIGVALS, ops.MATRIX_EXP, ops.LDL, ops.LDL_SOLVE,
)  # fmt: skip

BATCHING: dict[OpSpec, Rule] = {
    spec: _elementwise
    if spec.has(Trait.ELEMENTWISE)
    else _along
    if len(spec.operands) == 1 and set(spec.attributes) & {"axis", "axes"}
    else _one_by_one
    for spec in OPS.values()
    if not spec.has(Trait.LOOP | Trait.TERMINATOR | Trait.CLOSED)
}
BATCHING.update(dict.fromkeys(_LAST_AXES, _leading))
BATCHING.update(dict.fromkeys((ops.RESHAPE, ops.BROADCAST_TO), _shape))
BATCHING.update(dict.fromkeys((ops.SLICE, ops.SLICE_UPDATE), _slice))
BATCHING.update(dict.fromkeys((ops.GATHER, ops.SCATTER, ops.SCATTER_REDUCE), _along))
BATCHING.update(dict.fromkeys((ops.TAKE, ops.PUT), _positions))
BATCHING.update(dict.fromkeys((ops.CONV, ops.CONV_TRANSPOSE), _conv))
BATCHING.update({
    ops.PERMUTE: _permute, ops.PAD: _pad, ops.DOT: _dot, ops.CONV_WEIGHT_GRADIENT: _conv_weight_gradient,
})  # fmt: skip
