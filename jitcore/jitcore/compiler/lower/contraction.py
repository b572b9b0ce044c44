"""Matrix products and convolutions: one operation over whole buffers, whose region is the fused epilogue.

What follows the product element by element (bias, activation, residual, also through reshape and permute) is computed
in the region from the finished accumulator and stored where it belongs; see `fuse.anchor`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from jitcore_ir import Operation, TensorType, Value, ops
from jitcore_runtime.plan import BufferKind

from ..fuse.cluster import Cluster
from ..fuse.node import Node
from ..fuse.roots import base
from ..loops.module import LoopBuffer, Preparation
from ..loops.ops import CONVOLUTION, GEMM
from .emitter import carrier
from .index import Indices
from .kernel import KernelBuilder, Memory
from .movement import DenseView, dense_view

DIRECTIONS = {ops.CONV: "forward", ops.CONV_TRANSPOSE: "input", ops.CONV_WEIGHT_GRADIENT: "weight"}


def emit_contraction(
    kernel: KernelBuilder,
    memory: Memory,
    cluster: Cluster,
    constants: Collection[int],
    finish: Callable[[KernelBuilder, Node, Indices], None],
) -> None:
    """The kernel of a cluster anchored at a contraction. `constants` are buffers that never change; `finish` stores
    what becomes of the result at its indices."""
    e, anchor = kernel.e, cluster.anchor
    operation = anchor.operation
    x, y = (_view(v, ordered=operation.spec is not ops.DOT) for v in operation.operands)
    prepacked = memory.of[y.source] in constants and y.offset == 0 and operation.spec is not ops.CONV_WEIGHT_GRADIENT
    attributes = _attributes(operation, x, y, prepacked)
    buffer = _prepared(memory, operation, y) if prepacked else memory.of[y.source]
    left = kernel.argument(memory.of[x.source], x.shape, x.offset)
    right = kernel.argument(buffer, y.shape, y.offset)
    e.space = anchor.space
    with e.region() as block:
        accumulator = e.own(block.add_argument(TensorType(carrier(anchor.value.type.dtype))))
        for variable in anchor.place:
            e.declare(variable)
        e.remember((anchor.value, anchor.place), accumulator)
        finish(kernel, anchor, anchor.place)
        block.append(ops.YIELD)
    e.append(GEMM if operation.spec is ops.DOT else CONVOLUTION, (left, right), attributes, block)
    kernel.finish()


def _view(operand: Value, ordered: bool) -> DenseView:
    """How an operand lies in memory: as a view of what it was moved from, else as it is."""
    view = dense_view(operand, ordered)
    if view is not None:
        return replace(view, source=base(view.source))
    return DenseView(base(operand), operand.type.shape, tuple(range(operand.type.rank)), 0)


def _attributes(operation: Operation, x: DenseView, y: DenseView, prepacked: bool) -> dict[str, Any]:
    if operation.spec is ops.DOT:
        return {"x_permutation": x.permutation, "y_permutation": y.permutation, "prepacked": prepacked}
    given = {k: operation.attributes[k] for k in ("stride", "padding", "dilation", "groups")}
    spatial = operation.result.type.shape[2:]
    return {"direction": DIRECTIONS[operation.spec], "prepacked": prepacked, **given, "spatial": spatial}


def _prepared(memory: Memory, operation: Operation, y: DenseView) -> int:
    """The PREPARED buffer for a constant second operand; equal ones are shared."""
    if operation.spec is ops.DOT:
        how = Preparation(memory.of[y.source], GEMM, y.permutation)
    else:
        groups, direction = operation.attributes["groups"], DIRECTIONS[operation.spec]
        how = Preparation(memory.of[y.source], CONVOLUTION, groups=groups, direction=direction)
    wanted = LoopBuffer(BufferKind.PREPARED, y.source.type.dtype, y.shape, preparation=how)
    buffers = memory.module.buffers
    return buffers.index(wanted) if wanted in buffers else memory.add(wanted)
