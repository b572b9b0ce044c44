"""Matrix products as LLVM IR.

```
emit_gemm(module, name, spec: GemmSpec, epilogue: Epilogue | PlainStore) -> ir.Function
    void name(ptr x, ptr y, ptr context, ptr sizes, ptr workspace)
emit_pack(module, name, spec: GemmSpec) -> ir.Function
    void name(ptr y, ptr packed, ptr sizes)
packed_size(spec) -> Dim        bytes of the packed y, as a dim
workspace_size(spec) -> Dim     bytes that `workspace` must have (0: may be null), whatever the number of threads
```

- `x`, `y` point at the first element of the operands; `packed` and `workspace` are 64-byte aligned.
- `context` points at a struct with the fields `epilogue.captures` (natural alignment). It is only read.
- `sizes` points at i64 values, one per entry of `spec.run_time_dims`; it may be null where there are none.
- The work is divided by `void jc_parallel_for(ptr body, ptr context, i64 count, i64 grain)`, which is declared in the
  module (tiny products call the body themselves). Tasks own disjoint parts of the result; a task's sums are on its
  stack (at most 128 KiB), shared packed operands in `workspace`. Nothing depends on the number of threads: each sum
  runs over k in order, in blocks of BLOCK_K.
- Every element of the result is handed to the epilogue exactly once. An empty k gives zeros; an empty result does
  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from jitcore_ir import shapes

from .gemm_builder import (
    I8,
    I64,
    PTR,
    Code,
    Frame,
    Size,
    Truth,
    define,
    listed,
    numbered,
    offset,
    parallel,
    product,
    unflatten,
)  # fmt: skip
from .gemm_plan import ALIGN, heights, packed_bytes, plan, workspace_layout
from .gemm_spec import Dim, Dims, Epilogue, GemmSpec, PlainStore
from .gemm_tile import TileTask
from .gemm_vector import emit_vector_product, is_column, is_vector_product, transposed, transposed_epilogue
from .microkernel import element_type
from .packing import GROUP, Source, pack_group


def emit_gemm(module: ir.Module, name: str, spec: GemmSpec, epilogue: Epilogue | PlainStore) -> ir.Function:
    """Add the function that computes `spec` and hands every sum to `epilogue`."""
    function, code = define(module, name, [PTR] * 5, internal=False)
    x, y, context, sizes, workspace = function.args
    dims = Dimensions(code, spec.run_time_dims, sizes)
    if is_column(spec):
        spec, epilogue, x, y = transposed(spec), transposed_epilogue(epilogue), y, x
    batch, m, n, k = dims.all(spec.batch), dims[spec.m], dims[spec.n], dims[spec.k]
    x_strides, y_strides = dims.all(spec.x_strides), dims.all(spec.y_strides)
    values: dict[str, Size] = {"x": x, "y": y, "context": context}
    values |= numbered("x_stride", x_strides) | numbered("y_stride", y_strides)
    if is_vector_product(spec):
        emit_vector_product(code, name, spec, epilogue, values, n, k, batch)
        code.ret_void()
        return function
    how = plan(code, spec, product(code, batch), m, n, k)

    packed_y = y if spec.prepacked else workspace
    size = product(code, [how.batch, how.strips, k, how.width * spec.accumulator.itemsize])
    y_bytes = 0 if how.pack_y is False else code.times(code.ceil_divide(size, ALIGN), ALIGN)
    packed_x = code.at(workspace, y_bytes, I8)
    with code.when(how.pack_y) as possible:
        if possible:
            operand = _Operand("y", y, packed_y, n, k, y_strides, how.width)
            _pack(module, code, f"{name}.pack_y", spec, batch, operand, how.serial)
    with code.when(how.pack_x) as possible:
        if possible:
            operand = _Operand("x", x, packed_x, m, k, x_strides, heights(spec)[-1])
            _pack(module, code, f"{name}.pack_x", spec, batch, operand, how.serial)

    task = TileTask(module, name, spec, epilogue)
    values |= {"packed_x": packed_x, "packed_y": packed_y, **numbered("batch", batch)}
    frame = Frame(values | how.values())
    parallel(module, code, f"{name}.tiles", frame, product(code, how.tasks), how.serial, task.emit)
    code.ret_void()
    return function


def emit_pack(module: ir.Module, name: str, spec: GemmSpec) -> ir.Function:
    """Add the function that packs y once, for products with `spec.prepacked`."""
    function, code = define(module, name, [PTR, PTR, PTR], internal=False)
    y, packed, sizes = function.args
    dims = Dimensions(code, spec.run_time_dims, sizes)
    width = spec.machine.columns(spec.accumulator)
    operand = _Operand("y", y, packed, dims[spec.n], dims[spec.k], dims.all(spec.y_strides), width)
    _pack(module, code, f"{name}.strips", spec, dims.all(spec.batch), operand, serial=False)
    code.ret_void()
    return function


def packed_size(spec: GemmSpec) -> Dim:
    """Bytes of the packed y."""
    return packed_bytes(spec, spec.n, spec.machine.columns(spec.accumulator))


def workspace_size(spec: GemmSpec) -> Dim:
    """Bytes of workspace that the product needs."""
    if is_column(spec):
        spec = transposed(spec)
    if is_vector_product(spec):
        return 0
    return shapes.add(*workspace_layout(spec))


class Dimensions:
    """The values of a spec's dims: integers as they are, the rest loaded from `sizes`."""

    def __init__(self, code: Code, run_time: Sequence[Dim], sizes: ir.Value) -> None:
        self._known = {dim: code.read(sizes, number, I64) for number, dim in enumerate(run_time)}

    def __getitem__(self, dim: Dim) -> Size:
        return dim if isinstance(dim, int) else self._known[dim]

    def all(self, dims: Dims) -> list[Size]:
        return [self[dim] for dim in dims]


@dataclass(frozen=True, slots=True)
class _Operand:
    """An operand to pack. `strides` are over [*B, neighbours, depth] for x and [*B, depth, neighbours] for y."""

    name: str
    pointer: ir.Value
    packed: ir.Value
    neighbours: Size
    depth: Size
    strides: list[Size]
    width: int


def _pack(
    module: ir.Module, code: Code, name: str, spec: GemmSpec, batch: list[Size], operand: _Operand,
    serial: Truth,
) -> None:  # fmt: skip
    """Emit the packing of all strips of all matrices of an operand."""
    strips = code.ceil_divide(operand.neighbours, operand.width)
    groups = code.ceil_divide(strips, GROUP)
    values: dict[str, Size] = {"pointer": operand.pointer, "packed": operand.packed, "groups": groups, "strips": strips}
    values |= {"neighbours": operand.neighbours, "depth": operand.depth}
    values |= numbered("stride", operand.strides) | numbered("batch", batch)
    stride, step = (-2, -1) if operand.name == "x" else (-1, -2)

    def task(inner: Code, v: dict[str, Size], index: ir.Value) -> None:
        matrix, group = unflatten(inner, index, [0, v["groups"]])
        strides = listed(v, "stride", len(operand.strides))
        place = offset(inner, unflatten(inner, matrix, listed(v, "batch", len(batch))), strides[:-2])
        start = inner.at(v["pointer"], place, element_type(spec.dtype))
        strip_size = inner.times(v["depth"], operand.width)
        place = inner.times(matrix, inner.times(v["strips"], strip_size))
        target = inner.at(v["packed"], place, element_type(spec.accumulator))
        source = Source(spec.dtype, start, v["neighbours"], v["depth"], strides[stride], strides[step])
        pack_group(inner, spec.machine, source, operand.width, target, inner.times(group, GROUP))

    parallel(module, code, name, Frame(values), code.times(product(code, batch), groups), serial, task)
