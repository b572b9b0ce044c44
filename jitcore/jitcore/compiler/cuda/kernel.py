"""`print_kernel`: one loop kernel as a Python function for numba.cuda, with its parameters and launch shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jitcore_ir import Graph, Value, ops
from jitcore_ir.dtypes import float64
from jitcore_ir.shapes import symbols_of

from ..loops import ops as loops
from .dims import symbol_parameter
from .mapping import Mapping, choose_mapping, extent_of
from .printer import Printer
from .scalars import memory_name

THREADS = 256
"""Threads in a block at most. A power of two."""

WARP = 32

_DOUBLE_INSIDE = (ops.SIN, ops.COS, ops.TAN)
"""Functions that the device library reduces large float32 arguments for in float64."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A kernel parameter. `type` is "int64", or a memory type and "*" for a pointer; `role` says what to pass:
    "buffer" (argument `index` of the kernel call), "error" (int64[4], with -1 in its first place), "offset" (of
    argument `index`, in elements) or "symbol" (the value of `symbol`)."""

    name: str
    type: str
    role: str
    index: int = 0
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class KernelSource:
    """A printed kernel. `mapping` is "elements" (threads x blocks cover the parallel loop) or "rows" (blocks do); any
    grid is right. `shared_bytes` is static. `double` tells whether float64 arithmetic may occur in it."""

    name: str
    text: str
    parameters: tuple[Parameter, ...]
    mapping: str
    threads: int
    shared_bytes: int
    double: bool


def print_kernel(kernel: Graph, offset_inputs: Collection[int] = (), threads: int = THREADS) -> KernelSource:
    """Print `kernel`. The inputs in `offset_inputs` (by number) get an offset parameter. At most `threads` per block.

    Raises NotImplementedError for a gemm, a convolution, a complex dtype or scratch memory of symbolic size.
    """
    mapping = choose_mapping(kernel)
    threads = _threads(mapping, threads)
    buffers = {value: f"b{number}" for number, value in enumerate(kernel.inputs)}
    offsets = {value: f"offset{number}" for number, value in enumerate(kernel.inputs) if number in offset_inputs}
    printer = Printer(mapping, threads, buffers, offsets)
    printer.kernel(kernel.block)
    parameters = _parameters(kernel, offset_inputs, "error" in "\n".join(printer.lines))
    head = f"def {kernel.name}({', '.join(p.name for p in parameters)}):"
    text = "\n".join([head, *printer.lines, ""])
    double = _uses_double(kernel)
    return KernelSource(kernel.name, text, parameters, mapping.kind, threads, printer.shared_bytes, double)


def _threads(mapping: Mapping, limit: int) -> int:
    """As many as the longest shared loop has iterations, as far as known: a power of two, from a warp on."""
    if mapping.kind == "elements":
        return limit
    extents = [extent_of(loop) for loop in mapping.shared]
    wanted = limit if None in extents else max(e for e in extents if e is not None)
    threads = min(WARP, limit)
    while threads < min(wanted, limit):
        threads *= 2
    return threads


def _parameters(kernel: Graph, offset_inputs: Collection[int], error: bool) -> tuple[Parameter, ...]:
    found = [
        Parameter(f"b{number}", f"{memory_name(value.type.dtype)}*", "buffer", number)
        for number, value in enumerate(kernel.inputs)
    ]
    if error:
        found.append(Parameter("error", "int64*", "error"))
    found += [Parameter(f"offset{number}", "int64", "offset", number) for number in sorted(offset_inputs)]
    found += [Parameter(symbol_parameter(name), "int64", "symbol", 0, name) for name in _symbols(kernel)]
    return tuple(found)


def _symbols(kernel: Graph) -> list[str]:
    """The symbols that sizes in the kernel are made of."""
    found: dict[str, None] = {}
    dims = [dim for value in _buffers(kernel) for dim in value.type.shape]
    dims += [o.attributes["dim"] for o in kernel.walk() if o.spec is ops.SIZE]
    for dim in dims:
        found.update(dict.fromkeys(symbols_of(dim)))
    return list(found)


def _buffers(kernel: Graph) -> list[Value]:
    return [*kernel.inputs, *(o.result for o in kernel.walk() if o.spec is loops.ALLOC)]


def _uses_double(kernel: Graph) -> bool:
    return any(
        operation.spec in _DOUBLE_INSIDE
        or any(v.type.dtype is float64 for v in (*operation.operands, *operation.results))
        for operation in kernel.walk()
    )
