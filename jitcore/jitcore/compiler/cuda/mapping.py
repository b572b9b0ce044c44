"""How a kernel's loops are spread over a GPU's threads.

"elements": each thread runs whole iterations of the parallel loop. Always right, since they are independent.
"rows": each block runs whole iterations. Within one, every thread computes the scalars, and the threads share the
iterations of each loop that is `distributable`; `reduce` loops end in a tree over the block. Chosen where there is such
a loop that is not short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jitcore_ir import Block, Graph, Operation, OpSpec, Value, ops
from jitcore_ir.shapes import product

from ..loops.ops import ALLOC, CALL_OUT, CONVOLUTION, FOR, GEMM, LOAD, STORE

MINIMUM_SHARED = 32
"""Loops known to be shorter than this, a warp, are not shared among threads unless nothing else is."""

SCRATCH_BYTES = 32 * 1024
"""Row scratch up to this size, all together, is put in shared memory (of 48 KiB; reductions take the rest)."""

COMBINING: tuple[OpSpec, ...] = (ops.ADD, ops.MUL, ops.MAXIMUM, ops.MINIMUM)
"""Operations that `reduce` loops may combine partial results with."""


@dataclass(slots=True)
class Mapping:
    """`kind` is "elements" or "rows"; `shared` holds the loops that a block's threads share, with the operation that
    combines each carried value."""

    kind: str
    parallel: Operation | None
    shared: dict[Operation, tuple[OpSpec, ...]] = field(default_factory=dict)


def choose_mapping(kernel: Graph) -> Mapping:
    """Raises NotImplementedError for a gemm or a convolution, which are no loops."""
    parallel = None
    for operation in _walk(kernel.block):
        if operation.spec in (GEMM, CONVOLUTION, CALL_OUT):
            raise NotImplementedError(
                f"kernel {kernel.name} ({operation.spec.name}) has no CUDA form: only elementwise kernels and"
                " reductions are generated for GPUs; run this program on the CPU"
            )
        if operation.spec is FOR and operation.attributes["kind"] == "parallel":
            parallel = operation
    row = parallel.regions[0].block if parallel is not None else kernel.block
    shared = _share(row)
    if all(_is_short(loop) for loop in shared) or _scratch_bytes(kernel) > SCRATCH_BYTES:
        return Mapping("elements", parallel)
    return Mapping("rows", parallel, shared)


def extent_of(loop: Operation) -> int | None:
    """The number of iterations where it is a constant."""
    made = loop.operands[0].operation
    if made is None or made.spec not in (ops.CONSTANT, ops.SIZE):
        return None
    if made.spec is ops.CONSTANT:
        return int(made.attributes["value"])
    return made.attributes["dim"] if isinstance(made.attributes["dim"], int) else None


def _share(block: Block) -> dict[Operation, tuple[OpSpec, ...]]:
    """The loops to share: outermost ones, but inner ones where the outer is short and they are not."""
    found: dict[Operation, tuple[OpSpec, ...]] = {}
    for operation in block.operations:
        inner: dict[Operation, tuple[OpSpec, ...]] = {}
        for region in operation.regions:
            inner |= _share(region.block)
        combined = distributable(operation) if operation.spec is FOR else None
        if combined is None or (_is_short(operation) and any(not _is_short(loop) for loop in inner)):
            found |= inner
        else:
            found[operation] = combined
    return found


def distributable(loop: Operation) -> tuple[OpSpec, ...] | None:
    """The operations that combine its carried values where the loop's iterations may run in any order on any thread:
    each carried value is only combined with, and each buffer it stores to is touched at places that differ between any
    two iterations. None where that cannot be seen."""
    body = loop.regions[0].block
    if loop.attributes["kind"] == "serial" and loop.results:
        return None
    combined = []
    for number, carried in enumerate(body.arguments[1:]):
        spec = _combination(carried, body.terminator.operands[number])
        if spec is None:
            return None
        combined.append(spec)
    inside = list(_walk(body))
    if any(o.spec is ALLOC for o in inside):
        return None
    stored = {o.operands[1] for o in inside if o.spec is STORE}
    defined = {v for o in inside for v in (*o.results, *(a for r in o.regions for a in r.block.arguments))}
    for buffer in stored:
        places = [o.operands[1:] for o in inside if o.spec is LOAD and o.operands[0] is buffer]
        places += [o.operands[2:] for o in inside if o.spec is STORE and o.operands[1] is buffer]
        if not _separated(places, body.arguments[0], defined):
            return None
    return tuple(combined)


def _combination(carried: Value, following: Value) -> OpSpec | None:
    """The operation that makes the next carried value of this one, which is used for nothing else."""
    made = following.operation
    if len(carried.uses) != 1 or carried.uses[0][0] is not made or made is None:
        return None
    if made.spec in COMBINING:
        return made.spec
    if made.spec is FOR and made.attributes["kind"] == "reduce" and made.operands[0] is not carried:
        number = made.operands.index(carried) - 1
        block = made.regions[0].block
        if made.results[number] is following:
            return _combination(block.arguments[1 + number], block.terminator.operands[number])
    return None


def _separated(places: list[list[Value]], index: Value, inside: set[Value]) -> bool:
    """Whether along some axis every access is at c * index + d, c != 0, with one d that does not vary in the loop."""
    for axis in range(len(places[0])):
        forms = [_linear(indices[axis]) for indices in places]
        first = forms[0]
        varying = [v for v in first if isinstance(v, Value) and v in inside]
        if first.get(index, 0) != 0 and not varying and all(form == first for form in forms):
            return True
    return False


def _linear(value: Value) -> dict[Value | None, int]:
    """The value as a sum of multiples of other values; None stands for 1."""
    made = value.operation
    if made is not None and made.spec is ops.CONSTANT:
        return {None: int(made.attributes["value"])}
    if made is not None and made.spec is ops.ADD:
        total = dict(_linear(made.operands[0]))
        for part, factor in _linear(made.operands[1]).items():
            total[part] = total.get(part, 0) + factor
        return {part: factor for part, factor in total.items() if factor}
    if made is not None and made.spec is ops.MUL:
        for x, y in (made.operands, made.operands[::-1]):
            scale = _linear(y)
            if scale.keys() <= {None}:
                return {part: f * scale[None] for part, f in _linear(x).items()} if scale.get(None) else {}
    return {value: 1}


def _is_short(loop: Operation) -> bool:
    extent = extent_of(loop)
    return extent is not None and extent < MINIMUM_SHARED


def _scratch_bytes(kernel: Graph) -> int:
    sizes = [product(o.attributes["shape"]) for o in _walk(kernel.block) if o.spec is ALLOC]
    types = [o.attributes["dtype"] for o in _walk(kernel.block) if o.spec is ALLOC]
    if not all(isinstance(size, int) for size in sizes):
        return SCRATCH_BYTES + 1
    return sum(int(size) * dtype.itemsize for size, dtype in zip(sizes, types, strict=True))  # type: ignore[arg-type]


def _walk(block: Block) -> Iterator[Operation]:
    for operation in block.operations:
        yield operation
        for region in operation.regions:
            yield from _walk(region.block)
