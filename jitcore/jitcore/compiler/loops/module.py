"""`LoopModule`: a graph lowered to loops. What `lower_graph` gives and the CPU and CUDA printers take.

A module is plain data: the buffers a program touches and the kernels it runs, in order. Nothing is decided yet about
where temporaries live, how work is split over threads, or how an innermost loop is vectorized.

What a kernel looks like (`KernelCall.kernel`, a `Graph` of the operations in `loops.ops`):

- Its inputs are buffers, one per entry of `arguments`. A kernel may see a buffer in another shape of as many elements
  (axes merged or split: memory is row-major and contiguous), so go by the kernel's own input types. One buffer may be
  passed twice, in two shapes, when it is only read.
- Its top level is scalar operations and `alloc`s followed by ONE of: a `parallel` loop, a `gemm`, a `convolution`, or
  (where there is nothing to divide) `serial`/`reduce` loops and stores; Inside a `parallel` loop there is no other
  `parallel` loop: the rows of several axes are one loop whose index is taken apart by `floor_divide` and `remainder`.
- Float16 and bfloat16 exist only in buffers and in explicit `cast`s: everything between a load and a store is float32.
- A kernel may also be one `call_out` and nothing else.
- A `reduce` loop may also store (what it computes on the way); its carried values are the accumulators.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from jitcore_ir import UNKNOWN, Graph, Location, Operation, OpSpec
from jitcore_ir.dtypes import DType
from jitcore_ir.printer import format_attribute
from jitcore_ir.shapes import Expr
from jitcore_runtime.plan import BufferKind

from .steps import Run, Step, place_text, print_steps

Dim = int | Expr
Dims = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a PREPARED buffer is computed from another: the packed second operand of `operation` (GEMM or CONVOLUTION).

    `source` is the INPUT or CONSTANT buffer; the kernels that read the prepared one see it in `LoopBuffer.shape`, which
    is the source's shape or a reshaping of it. `permutation` is gemm's `y_permutation` (() for a convolution), `groups`
    the convolution's (1 for a gemm). The packed layout and its size are the code generator's business.
    """

    source: int
    operation: OpSpec
    permutation: tuple[int, ...] = ()
    groups: int = 1
    direction: str = ""


@dataclass(frozen=True, slots=True)
class LoopBuffer:
    """Row-major memory for `shape` elements of `dtype`.

    `index` is the number of the graph input (INPUT) or graph output (OUTPUT), else 0. `data` is a CONSTANT's array.
    """

    kind: BufferKind
    dtype: DType
    shape: Dims
    index: int = 0
    data: np.ndarray | None = None
    preparation: Preparation | None = None
    name: str = ""

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        source = f" of b{self.preparation.source}" if self.preparation else ""
        return f"{self.kind.name.lower()}{source}{name}: {self.dtype.short}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One run of a kernel.

    `arguments[k]` is the number of the buffer that is the kernel's input k, which starts `offsets[k]` elements into it
    (so that equal kernels over different rows of one buffer share their code); `reads` and `writes` are positions in
    `arguments`. A buffer may be written by several calls, each its own part, before it is read.
    `in_place` holds pairs (written position, read position) whose buffers may be the same memory: same dtype and
    number of elements, and each element of the read one is last read before the store to that place.
    `work` estimates the scalar operations of the whole call; `parallel` how many iterations its parallel loop has (1
    where there is none); a grain follows from the two. `operation` numbers the graph operation at `location`, that it
    is mainly for; -1 where there is none.
    """

    kernel: Graph
    arguments: tuple[int, ...]
    offsets: tuple[Dim, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    in_place: tuple[tuple[int, int], ...] = ()
    work: Dim = 1
    parallel: Dim = 1
    label: str = ""
    location: Location = UNKNOWN
    operation: int = -1

    @property
    def name(self) -> str:
        """Its operations."""
        return self.label or self.kernel.name

    def __str__(self) -> str:
        where = f" at {self.location}" if self.location is not UNKNOWN else ""
        return f"{self.name}{where}"


@dataclass(slots=True)
class LoopModule:
    """A lowered graph.

    `buffers`: first one INPUT per graph input, then one OUTPUT per graph output (each is written, even where it equals
    an input or another output), then the rest. `kernels` in execution order; equal kernels share one `Graph` object, so
    that `{id(c.kernel) for c in kernels}` counts the distinct bodies. `operations[n]` names what an IndexError number n
    is about (`check_index`'s `operation`); `call_outs[n]` is the graph operation that a `call_out` numbers n.
    `steps` are the kernels in order, in the branches and loops around them.
    """

    name: str
    buffers: list[LoopBuffer] = field(default_factory=list)
    kernels: list[KernelCall] = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    call_outs: dict[int, Operation] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def is_straight(self) -> bool:
        """Whether the program is its kernels, one after the other."""
        return all(isinstance(step, Run) for step in self.steps)

    def __str__(self) -> str:
        lines = [f"module {self.name}"]
        lines += [f"  b{number} = {buffer}" for number, buffer in enumerate(self.buffers)]
        lines += print_steps(self.steps, [_call_text(call) for call in self.kernels])
        lines += [f"  operation {number} is {_called(operation)}" for number, operation in self.call_outs.items()]
        seen: dict[int, Graph] = {id(call.kernel): call.kernel for call in self.kernels}
        return "\n".join(lines + [str(kernel) for kernel in seen.values()])


def _call_text(call: KernelCall) -> str:
    return f"{call.kernel.name}({', '.join(map(place_text, zip(call.arguments, call.offsets)))})  # {call}"


def _called(operation: Operation) -> str:
    spec = operation.spec
    attributes = (f"{n} = {format_attribute(kind, operation.attributes[n])}" for n, kind in spec.attributes.items())
    return f"{spec.name} {{{', '.join(attributes)}}}"
