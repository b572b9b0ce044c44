"""What must hold in any archive, checked before one is written and after one is read.

`decode` has made sure by then that every number in the file refers to something; here the parts are held against each
other: graphs against the IR's rules, weights and plans against graphs, images against their own sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jitcore_ir.dtypes import DType, from_numpy, int64
from jitcore_ir.errors import IRError
from jitcore_ir.graph import Graph, Value
from jitcore_ir.ops import CUSTOM_CALL, PART
from jitcore_ir.shapes import Dim, Expr, Shape, mul, product, symbols_of
from jitcore_ir.spec import Kind, Trait
from jitcore_ir.types import TensorType
from jitcore_ir.verifier import verify
from jitcore_runtime.plan import BufferKind, CallOut, Image, Plan

from .archive import Archive, DeviceCode, Entry, Structure
from .dims import INT64_MAX, check_shape
from .errors import ArchiveError
from .layout import MAX_DEPTH, MAX_OPERATIONS

_PAGE = 4096


def check_archive(archive: Archive) -> None:
    """Raise ArchiveError for the first thing that does not fit, naming the entry."""
    if not archive.entries:
        raise ArchiveError("it has no entry")
    if sum(1 for entry in archive.entries.values() for _ in entry.graph.walk()) > MAX_OPERATIONS:
        raise ArchiveError(f"its graphs have more than {MAX_OPERATIONS} operations")
    for target, image in archive.pools.items():
        _named(f"the thread pool for {target}", check_image, image, target)
    for name, entry in archive.entries.items():
        _named(f"entry {name!r}", check_entry, entry, archive)
        if not name or name != entry.name:
            raise ArchiveError(f"the entry {entry.name!r} is listed as {name!r}")


def check_entry(entry: Entry, archive: Archive) -> None:
    """Raise ArchiveError unless the entry's parts fit each other and the archive's weights."""
    graph = entry.graph
    try:
        verify(graph)
    except IRError as error:
        raise ArchiveError(str(error)) from None
    _check_values(graph)
    _check_weights(entry, archive)
    _check_symbols(entry)
    _check_updates(entry)
    _check_guards(entry)
    results = entry.results
    if entry.outputs and (len(entry.outputs) != len(results) or len(set(entry.outputs)) != len(results)):
        raise ArchiveError(f"the names {list(entry.outputs)} for {len(results)} results")
    if entry.structure is not None:
        _check_structure(entry.structure, len(results), 0)
    for target, code in entry.code.items():
        _named(f"code for {target}", check_image, code.image, target)
        _named(f"code for {target}", check_plan, code.plan, graph)
    for target, device_code in entry.device_code.items():
        _named(f"code for {target}", _check_device_code, device_code, graph)


def check_plan(plan: Plan, graph: Graph) -> None:
    """Raise ArchiveError unless every buffer, slot and alias of the plan lies within it and fits the graph."""
    inputs, outputs = [v.type for v in graph.inputs], [v.type for v in graph.outputs]
    counts = {
        BufferKind.INPUT: len(inputs), BufferKind.OUTPUT: len(outputs), BufferKind.TEMPORARY: len(plan.slots),
        BufferKind.FUNCTION: len(plan.call_outs),
    }  # fmt: skip
    known = set(plan.symbols)
    if known - set(_symbols(d for t in inputs for d in t.shape)):
        raise ArchiveError(f"its plan has symbols {plan.symbols}, which the inputs do not all have")
    _check_known((d for b in plan.buffers for d in b.shape), known, "its plan")
    _check_known(plan.slots, known, "its plan")
    for number, buffer in enumerate(plan.buffers):
        what = f"buffer {number} of its plan"
        type = TensorType(buffer.dtype, buffer.shape)
        check_shape(buffer.dtype, buffer.shape)
        if not 0 <= buffer.index < counts.get(buffer.kind, INT64_MAX):
            raise ArchiveError(f"{what} is {buffer.kind.name.lower()} {buffer.index} of {counts[buffer.kind]}")
        if buffer.kind is BufferKind.INPUT and type != inputs[buffer.index]:
            raise ArchiveError(f"{what} is {type}, but the input is {inputs[buffer.index]}")
        if buffer.kind is BufferKind.OUTPUT and type != outputs[buffer.index]:
            raise ArchiveError(f"{what} is {type}, but the output is {outputs[buffer.index]}")
        if buffer.kind is BufferKind.TEMPORARY:
            _check_slot(what, type, plan.slots[buffer.index])
        if (buffer.kind is BufferKind.CONSTANT) != (buffer.data is not None):
            raise ArchiveError(
                f"{what} is {buffer.kind.name.lower()}, {'with' if buffer.data is not None else 'without'} data"
            )
        if buffer.data is not None and type != TensorType(from_numpy(buffer.data.dtype), buffer.data.shape):
            raise ArchiveError(f"{what} is {type}, but its data is {buffer.data.dtype}{list(buffer.data.shape)}")
        if buffer.kind is BufferKind.PREPARED and not all(isinstance(d, int) for d in buffer.shape):
            raise ArchiveError(f"{what} is prepared once, but its shape {type} depends on the call")
        if buffer.kind is BufferKind.FUNCTION:
            _check_function(what, type, plan.call_outs[buffer.index], graph)
    for output, input in plan.aliases:
        if not (output < len(outputs) and input < len(inputs)) or outputs[output] != inputs[input]:
            raise ArchiveError(f"its plan stores output {output} in input {input}, which is not of its type")
    if any(number >= len(inputs) for number in plan.prepared_from):
        raise ArchiveError(f"its plan prepares from inputs {plan.prepared_from} of {len(inputs)}")
    for number, call in enumerate(plan.call_outs):
        _check_call_out(f"call-out {number} of its plan", call, plan, graph)


def _check_function(what: str, type: TensorType, call: CallOut, graph: Graph) -> None:
    """The address of a native function belongs to the call of a custom operation."""
    operations = list(graph.walk())
    if type != TensorType(int64) or call.operation >= len(operations):
        raise ArchiveError(f"{what} is {type} for the function of operation {call.operation} of {len(operations)}")
    if operations[call.operation].spec is not CUSTOM_CALL:
        raise ArchiveError(f"{what} is the function of {operations[call.operation].spec.name}, which has none")


def _check_call_out(what: str, call: CallOut, plan: Plan, graph: Graph) -> None:
    """It names an operation of the graph, and buffers of its operands' and result's dtypes and sizes."""
    operations = list(graph.walk())
    if call.operation >= len(operations):
        raise ArchiveError(f"{what} is of operation {call.operation} of {len(operations)}")
    operation = operations[call.operation]
    if len(operation.results) != 1 or operation.regions:
        raise ArchiveError(f"{what} is of {operation.spec.name}, which has no kernel")
    places, values = (*call.operands, call.result), (*operation.operands, operation.result)
    if len(places) != len(values) or any(p >= len(plan.buffers) for p in places):
        raise ArchiveError(f"{what} has the buffers {places} of {len(plan.buffers)} for {operation.spec.name}")
    for place, value in zip(places, values):
        buffer = plan.buffers[place]
        if _contents(buffer.dtype, buffer.shape) != _contents(value.type.dtype, value.type.shape):
            raise ArchiveError(
                f"{what} takes buffer {place}, {TensorType(buffer.dtype, buffer.shape)}, for {value.type}"
            )


def _contents(dtype: DType, shape: Shape) -> tuple[DType, Dim]:
    """The dtype and number of what lies in memory; complex numbers are pairs of their parts."""
    part = PART.get(dtype, dtype)
    return part, mul(product(shape), 1 if part is dtype else 2)


def check_image(image: Image, target: str) -> None:
    """Raise ArchiveError unless the image is for `target` and its parts, exports and import slots lie within it.

    Whether the code may run here (its ABI, its imports by name, the processor) is for the loader to say.
    """
    text, rodata, data = image.text_size, image.rodata_size, image.data_size
    if image.target != target or not target:
        raise ArchiveError(f"an image for {image.target!r} is listed for {target!r}")
    if min(text, rodata, data) < 0 or any(s % _PAGE for s in (text, rodata, data)) or not text:
        raise ArchiveError(f"an image with parts of {(text, rodata, data)} bytes, which are not whole pages")
    if text + rodata + data != len(image.code):
        raise ArchiveError(f"an image of {len(image.code)} bytes with parts of {(text, rodata, data)}")
    for name, offset in image.exports:
        if not 0 <= offset < text:
            raise ArchiveError(f"the export {name!r} at {offset} lies outside the code of {text} bytes")
    for name, offset in image.imports:
        if offset % 8 or not text + rodata <= offset <= len(image.code) - 8:
            raise ArchiveError(f"the import slot of {name!r} at {offset} lies outside the writable part")
    if any(len({n for n, _ in names}) != len(names) for names in (image.exports, image.imports)):
        raise ArchiveError("an image names an export or import twice")


def argument_names(entry: Entry) -> list[str]:
    """Names of the call's arguments; one without a name goes by its number among the graph's inputs."""
    inputs = entry.graph.inputs
    return [inputs[i].name or f"input{i}" for i in entry.arguments]


def _check_values(graph: Graph) -> None:
    seen: set[TensorType] = set()

    def check(values: Sequence[Value]) -> None:
        for value in values:
            if not isinstance(value.type, TensorType):
                raise ArchiveError(f"{value} is not a tensor")
            if value.type not in seen:
                check_shape(value.type.dtype, value.type.shape)
                seen.add(value.type)

    check(graph.inputs)
    for operation in graph.walk():
        if operation.spec.has(Trait.LOOP):
            raise ArchiveError(f"{operation.spec.name} exists only below the graph level")
        check(operation.results)
        for region in operation.regions:
            check(region.block.arguments)


def _check_weights(entry: Entry, archive: Archive) -> None:
    for number, name in entry.weights.items():
        if name not in archive.weights:
            raise ArchiveError(f"input {number} is the weight {name!r}, which the archive does not hold")
        if not 0 <= number < len(entry.graph.inputs):
            raise ArchiveError(f"the weight {name!r} is input {number} of {len(entry.graph.inputs)}")
        weight, type = archive.weights[name], entry.graph.inputs[number].type
        given = TensorType(from_numpy(weight.dtype), weight.shape)
        if given != type:
            raise ArchiveError(f"the weight {name!r} is {given}, but input {number} is {type}")
    names = argument_names(entry)
    if len(set(names)) != len(names):
        raise ArchiveError(f"two arguments have one name: {names}")


def _check_symbols(entry: Entry) -> None:
    """Every symbol has a value once the arguments are known."""
    graph = entry.graph
    known = set(_symbols(d for i in entry.arguments for d in graph.inputs[i].type.shape))
    _check_known(_dims(graph), known, "its graph")
    for symbol, limits in entry.ranges.items():
        highest = INT64_MAX if limits.maximum is None else limits.maximum
        if symbol not in known or not 0 <= limits.minimum <= highest <= INT64_MAX:
            raise ArchiveError(f"the range {limits.minimum} to {limits.maximum} of the symbol {symbol!r}")


def _check_updates(entry: Entry) -> None:
    inputs, outputs = entry.graph.inputs, entry.graph.outputs
    for output, input in entry.updates:
        if not (0 <= output < len(outputs) and 0 <= input < len(inputs)) or outputs[output].type != inputs[input].type:
            raise ArchiveError(f"output {output} updates input {input}, which is not of its type")
    for which in zip(*entry.updates):
        if len(set(which)) != len(which):
            raise ArchiveError(f"the updates {entry.updates} name an output or input twice")


def _check_guards(entry: Entry) -> None:
    outputs = entry.graph.outputs
    for output, expected in entry.guards:
        value: Any = outputs[output].type if 0 <= output < len(outputs) else None
        kinds = {bool: ("bool",), int: ("int", "uint"), float: ("float",)}.get(type(expected), ())
        if value is None or value.shape or value.dtype.kind not in kinds:
            raise ArchiveError(f"a guard compares output {output}, {value}, with {expected!r}")
    if {output for output, _ in entry.updates} & {output for output, _ in entry.guards}:
        raise ArchiveError("an output is both an update and a guard")


def _check_structure(structure: Structure, results: int, depth: int) -> None:
    if depth > MAX_DEPTH // 2:
        raise ArchiveError(f"the structure of the result is nested deeper than {MAX_DEPTH // 2}")
    if isinstance(structure, dict):
        if not all(isinstance(key, str) for key in structure):
            raise ArchiveError(f"the keys {list(structure)} of the result are not all strings")
        structure = list(structure.values())
    if isinstance(structure, tuple | list):
        for part in structure:
            _check_structure(part, results, depth + 1)
    elif structure is not None and not (type(structure) is int and 0 <= structure < results):
        raise ArchiveError(f"the structure of the result holds {structure!r}, of {results} results")


def _check_slot(what: str, type: TensorType, slot: int | Expr) -> None:
    size = mul(product(type.shape), type.dtype.itemsize)
    if (isinstance(slot, int) and slot < 0) or (isinstance(size, int) and isinstance(slot, int) and size > slot):
        raise ArchiveError(f"{what} is {type}, but its slot has {slot} bytes")


def _check_device_code(code: DeviceCode, graph: Graph) -> None:
    check_plan(code.plan, graph)
    for launch in code.launches:
        dims = (*launch.grid, *launch.scalars, launch.shared_bytes)
        _check_known(dims, set(code.plan.symbols), f"the launch of {launch.kernel!r}")
        if len(launch.grid) != 3 or len(launch.block) != 3 or not all(1 <= n <= 1024 for n in launch.block):
            raise ArchiveError(f"the launch of {launch.kernel!r} on blocks of {launch.block}")
        if any(not 0 <= number < len(code.plan.buffers) for number in launch.buffers):
            raise ArchiveError(
                f"the launch of {launch.kernel!r} on buffers {launch.buffers} of {len(code.plan.buffers)}"
            )


def _dims(graph: Graph) -> Iterable[int | Expr]:
    """The dims of all values and attributes."""
    for value in graph.inputs:
        yield from value.type.shape
    for operation in graph.walk():
        for value in (*operation.results, *(a for r in operation.regions for a in r.block.arguments)):
            yield from value.type.shape
        for name, kind in operation.spec.attributes.items():
            if kind is Kind.DIM:
                yield operation.attributes[name]
            elif kind is Kind.DIMS:
                yield from operation.attributes[name]


def _symbols(dims: Iterable[int | Expr]) -> Iterable[str]:
    for dim in {d for d in dims if isinstance(d, Expr)}:
        yield from symbols_of(dim)


def _check_known(dims: Iterable[int | Expr], known: set[str], where: str) -> None:
    unknown = set(_symbols(dims)) - known
    if unknown:
        raise ArchiveError(f"{where} depends on {', '.join(sorted(unknown))}, which the arguments' shapes do not give")


def _named(where: str, check: Any, *arguments: Any) -> None:
    """`check(*arguments)`, whose complaint says where."""
    try:
        check(*arguments)
    except ArchiveError as error:
        raise ArchiveError(f"{where}: {error.problem}", error.advice) from None
