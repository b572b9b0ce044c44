"""The operations of loop IR: what a graph becomes before it is printed as LLVM or as CUDA source.

A kernel is a `Graph` whose inputs are buffers. Its body is made of the operations here, and of the elementwise and
`size` operations of `jitcore_ir.ops` on 0-d values. Indices and extents are `i64[]`. Nothing here assumes a device.

```
graph @row_max(%x: buffer<f32[N,768]>, %y: buffer<f32[N]>) {
  %rows = size() {dim = N} : i64[]
  for(%rows) {kind = "parallel"} { ^(%i: i64[]):
    %columns = size() {dim = 768} : i64[]
    %low = constant() {value = -inf} : f32[]
    %m = for(%columns, %low) {kind = "reduce"} : f32[] { ^(%j: i64[], %best: f32[]):
      %v = load(%x, %i, %j) : f32[]
      %next = maximum(%best, %v) : f32[]
      yield(%next)
    }
    store(%m, %y, %i)
    yield()
  }
  return()
}
```
"""

from __future__ import annotations

from jitcore_ir import BufferType, DType, Graph, Kind, Operation, ShapeError, TensorType, Trait
from jitcore_ir.dtypes import int64
from jitcore_ir.ops import ACCUMULATOR
from jitcore_ir.ops.rules import check_region, op
from jitcore_ir.shapes import Expr

Dims = tuple[int | Expr, ...]
_INDEX = TensorType(int64)
KINDS = ("parallel", "serial", "reduce")


def _check_indices(name: str, buffer: BufferType, indices: tuple[TensorType, ...]) -> None:
    if not isinstance(buffer, BufferType) or len(indices) != buffer.rank or any(i != _INDEX for i in indices):
        raise ShapeError(f"{name}: {buffer} is indexed by ({', '.join(map(str, indices))})")


def _check_loop(operation: Operation) -> None:
    """The region of a `for` takes the index and the carried values, and yields their next ones."""
    carried = [v.type for v in operation.results]
    check_region(operation, [_INDEX, *carried], carried)


def _check_branch(operation: Operation) -> None:
    check_region(operation, [], [v.type for v in operation.results])


def _check_epilogue(operation: Operation) -> None:
    """The region takes the finished accumulator and as many indices as the result has axes, which is x's number."""
    x = operation.operands[0].type
    check_region(operation, [TensorType(ACCUMULATOR[x.dtype]), *[_INDEX] * x.rank], [])


@op(
    "for",
    ("extent", "*carried"),
    {"kind": Kind.STRING},
    """A loop of `extent` iterations. Its region's block takes the index and the carried values and yields their next
    ones; the results are the last. `parallel` iterations are independent (and carry nothing); `serial` ones run in
    order; `reduce` ones may be regrouped: the carried values combine by an associative operation.""",
    Trait.LOOP | Trait.IMPURE,
    regions=1,
    check=_check_loop,
)
def FOR(extent: TensorType, *carried: TensorType, kind: str) -> tuple[TensorType, ...]:
    if kind not in KINDS or (kind == "parallel" and carried) or extent != _INDEX:
        raise ShapeError(f"for: kind {kind!r} with extent {extent} and {len(carried)} carried values")
    return carried


@op(
    "if",
    ("condition", "*otherwise"),
    {},
    """Runs its region where the condition holds; the results are what the region yields, else `otherwise`.""",
    Trait.LOOP | Trait.IMPURE,
    regions=1,
    check=_check_branch,
)
def IF(condition: TensorType, *otherwise: TensorType) -> tuple[TensorType, ...]:
    return otherwise


@op("load", ("buffer", "*indices"), {}, "One element of a buffer.", Trait.LOOP)
def LOAD(buffer: BufferType, *indices: TensorType) -> TensorType:
    _check_indices("load", buffer, indices)
    return TensorType(buffer.dtype)


@op("store", ("value", "buffer", "*indices"), {}, "Write one element of a buffer.", Trait.LOOP | Trait.IMPURE)
def STORE(value: TensorType, buffer: BufferType, *indices: TensorType) -> tuple[TensorType, ...]:
    _check_indices("store", buffer, indices)
    if value != TensorType(buffer.dtype):
        raise ShapeError(f"store: {value} into {buffer}")
    return ()


@op(
    "alloc",
    (),
    {"dtype": Kind.DTYPE, "shape": Kind.DIMS},
    "Scratch memory private to one iteration of the enclosing parallel loop; its contents start undefined.",
    Trait.LOOP | Trait.IMPURE,
)
def ALLOC(dtype: DType, shape: Dims) -> BufferType:
    return BufferType(dtype, tuple(shape))


@op(
    "check_index",
    ("index", "size"),
    {"operation": Kind.INT, "axis": Kind.INT},
    """`index` where 0 <= index < size; otherwise 0, and the program ends with an IndexError that names the number of
    the graph operation, the index, the size and the axis.""",
    Trait.LOOP | Trait.IMPURE,
)
def CHECK_INDEX(index: TensorType, size: TensorType, operation: int, axis: int) -> TensorType:
    return _INDEX


@op(
    "gemm",
    ("x", "y"),
    {"x_permutation": Kind.INTS, "y_permutation": Kind.INTS, "prepacked": Kind.BOOL},
    """[*B, M, K] x [*B, K, N], where the logical operands are the buffers' axes permuted. The region's block takes the
    finished accumulator (in the accumulator dtype) and its position (*B, M, N) and stores what becomes of it; it
    carries the fused epilogue. `prepacked`: y is a PREPARED buffer in the packed layout.""",
    Trait.LOOP | Trait.IMPURE,
    regions=1,
    check=_check_epilogue,
)
def GEMM(
    x: BufferType, y: BufferType, x_permutation: tuple, y_permutation: tuple, prepacked: bool
) -> tuple[TensorType, ...]:
    return ()


@op(
    "call_out",
    ("*buffers",),
    {"operation": Kind.INT},
    """Run the NumPy kernel of a graph operation, by its number, on whole buffers; the last buffer takes its result.""",
    Trait.LOOP | Trait.IMPURE,
)
def CALL_OUT(*buffers: BufferType, operation: int) -> tuple[TensorType, ...]:
    if not buffers:
        raise ShapeError("call_out: no buffer for the result")
    return ()


_CONV = {"stride": Kind.INTS, "padding": Kind.PAIRS, "dilation": Kind.INTS, "groups": Kind.INT, "spatial": Kind.DIMS}


@op(
    "convolution",
    ("x", "y"),
    {"direction": Kind.STRING, "prepacked": Kind.BOOL, **_CONV},
    """`direction` "forward" is ops.CONV, "input" ops.CONV_TRANSPOSE (`spatial`: its result's spatial sizes), "weight"
    ops.CONV_WEIGHT_GRADIENT (`spatial`: the kernel's). The region's block takes the finished accumulator and its
    position in the result and stores what becomes of it.""",
    Trait.LOOP | Trait.IMPURE,
    regions=1,
    check=_check_epilogue,
)
def CONVOLUTION(
    x: BufferType, y: BufferType, direction: str, prepacked: bool, stride: tuple, padding: tuple, dilation: tuple,
    groups: int, spatial: Dims,
) -> tuple[TensorType, ...]:  # fmt: skip
    return ()


def call_out(kernel: Graph) -> Operation | None:
    """The `call_out` that a kernel is, None for other kernels."""
    return next((o for o in kernel.operations if o.spec is CALL_OUT), None)
