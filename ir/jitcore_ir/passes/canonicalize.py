"""One form for what can be written in several ways, so that later passes and CSE meet fewer cases.

```
%0 = constant() {value = splat 2.0} : f32[8]           %0 = constant() {value = 2.0} : f32[]
%1 = mul(%0, %x) : f32[8]                        ->    %1 = mul(%x, %0) : f32[8]
%2 = copy(%1) : f32[8]                                 return(%1)
return(%2)
```

- the constant operand of a commutative operation comes second
- operations that give back their operand go: copy, cast to the same dtype, whole slices, reductions over no axes ...
- a constant of equal elements is a 0-d one, broadcast; elementwise operations broadcast implicitly, so a `broadcast_to`
  before them goes after them, and then mostly goes altogether
- axes of reductions ascend; `size` of an integer is a constant
"""

from __future__ import annotations

from .. import ops
from ..builder import Builder
from ..dtypes import int64
from ..graph import Operation, Value
from ..spec import OPS, Trait
from .match import all_same, constant_of, defined_by, is_commutative, shape_of, tensor, without_leading_ones
from .rewrite import Patterns

canonicalize = Patterns("canonicalize")

_REDUCTIONS = (ops.SUM, ops.PROD, ops.AMAX, ops.AMIN)
_MAY_FAIL = (ops.FLOOR_DIVIDE, ops.REMAINDER, ops.FMOD)
_ELEMENTWISE = [spec for spec in OPS.values() if spec.has(Trait.ELEMENTWISE)]


@canonicalize.on(*(spec for spec in _ELEMENTWISE if spec.has(Trait.COMMUTATIVE)))
def constant_comes_second(op: Operation, build: Builder) -> Value | None:
    x, y = op.operands
    if constant_of(x) is None or constant_of(y) is not None or not is_commutative(op):
        return None
    return build.value(op.spec, y, x)


@canonicalize.on(ops.COPY)
def copy_is_its_operand(op: Operation, build: Builder) -> Value | None:
    return op.operands[0]


@canonicalize.on(ops.CAST, ops.RESHAPE, ops.BROADCAST_TO)
def same_type_is_its_operand(op: Operation, build: Builder) -> Value | None:
    return op.operands[0] if op.operands[0].type == op.result.type else None


@canonicalize.on(ops.PERMUTE)
def permutation_in_order(op: Operation, build: Builder) -> Value | None:
    permutation = op.attributes["permutation"]
    return op.operands[0] if permutation == tuple(range(len(permutation))) else None


@canonicalize.on(ops.SLICE)
def whole_slice(op: Operation, build: Builder) -> Value | None:
    """As many elements as the axis has can only be all of them."""
    return op.operands[0] if op.operands[0].type == op.result.type else None


@canonicalize.on(ops.FLIP)
def flip_of_single_elements(op: Operation, build: Builder) -> Value | None:
    x = op.operands[0]
    axes = tuple(sorted(a for a in op.attributes["axes"] if shape_of(x)[a] not in (0, 1)))
    if axes == op.attributes["axes"]:
        return None if axes else x
    return build.value(ops.FLIP, x, axes=axes)


@canonicalize.on(ops.PAD)
def pad_by_nothing(op: Operation, build: Builder) -> Value | None:
    return op.operands[0] if not any((*op.attributes["low"], *op.attributes["high"])) else None


@canonicalize.on(ops.CONCAT)
def concat_without_empty_parts(op: Operation, build: Builder) -> Value | None:
    axis = op.attributes["axis"]
    parts = [v for v in op.operands if shape_of(v)[axis] != 0] or op.operands[:1]
    if len(parts) == 1:
        return parts[0]
    return build.create(ops.CONCAT, parts, op.attributes).result if len(parts) < len(op.operands) else None


@canonicalize.on(*_REDUCTIONS)
def reduction_over_no_axes(op: Operation, build: Builder) -> Value | None:
    """Not a sum or extreme of floats, which makes 0.0 of -0.0, nor a product of complex numbers."""
    x, dtype = op.operands[0], tensor(op.result).dtype
    changes = dtype.is_complex if op.spec is ops.PROD else not dtype.is_integer and dtype.kind != "bool"
    return None if op.attributes["axes"] or changes else x


@canonicalize.on(*_REDUCTIONS)
def axes_ascend(op: Operation, build: Builder) -> Value | None:
    axes = tuple(sorted(op.attributes["axes"]))
    if axes == op.attributes["axes"]:
        return None
    return build.value(op.spec, op.operands[0], axes=axes, keepdims=op.attributes["keepdims"])


@canonicalize.on(ops.AMAX, ops.AMIN)
def extreme_of_one(op: Operation, build: Builder) -> Value | None:
    """Adding 0.0 makes 0.0 of -0.0, as an extreme of floats does."""
    x, dtype = op.operands[0], tensor(op.result).dtype
    if not op.attributes["axes"] or any(shape_of(x)[a] != 1 for a in op.attributes["axes"]):
        return None
    if dtype.is_floating_point:
        x = build.value(ops.ADD, x, build.constant(0.0, dtype))
    return build.value(ops.RESHAPE, x, shape=shape_of(op.result))


@canonicalize.on(ops.SIZE)
def size_of_integer(op: Operation, build: Builder) -> Value | None:
    dim = op.attributes["dim"]
    return build.constant(dim, int64) if isinstance(dim, int) else None


@canonicalize.on(ops.CONSTANT)
def constant_of_equal_elements(op: Operation, build: Builder) -> Value | None:
    array = op.attributes["value"]
    if array.size < 2 or not all_same(array):
        return None
    return build.constant(array.reshape(-1)[:1].reshape(()), tensor(op.result).dtype)


@canonicalize.on(*_ELEMENTWISE)
def broadcast_after_elementwise(op: Operation, build: Builder) -> Value | None:
    if op.spec in _MAY_FAIL and tensor(op.result).dtype.is_integer:
        return None  # a division of one element by zero must not come from a broadcast to none
    sources = [b.operands[0] if (b := defined_by(v, ops.BROADCAST_TO)) else v for v in op.operands]
    if sources == op.operands:
        return None
    return build.create(op.spec, sources, op.attributes).result


@canonicalize.on(*_ELEMENTWISE)
def leading_ones_before_elementwise(op: Operation, build: Builder) -> Value | None:
    """An operand of lower rank will do, where another one has the rank of the result."""
    operands = [without_leading_ones(v) for v in op.operands]
    if operands == op.operands or max(len(shape_of(v)) for v in operands) < len(shape_of(op.result)):
        return None
    return build.create(op.spec, operands, op.attributes).result
