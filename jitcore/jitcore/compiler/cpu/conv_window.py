"""Forward and transposed convolutions: a weight passed over the windows of an image."""

from __future__ import annotations

from llvmlite import ir

from jitcore_ir import shapes

from .blocking import SERIAL_WORK, TASK_WORK
from .conv_channel import ChannelTask
from .conv_geometry import Geometry, Part, image_elements
from .conv_image import emit_image, emit_position_table, emit_tap_table
from .conv_shift import ShiftTask
from .conv_spec import ConvSpec
from .conv_task import RUN, WindowTask
from .conv_weight import WeightLayout, emit_pack_weight, packed_weight_size, weight_layout
from .gemm import Dimensions
from .gemm_builder import I8, I64, PTR, Code, Frame, Size, define, emit_body, listed, numbered, product, run_parallel
from .gemm_plan import ALIGN, aligned
from .gemm_spec import Dim, Epilogue, PlainStore


def emit_windows(module: ir.Module, name: str, spec: ConvSpec, epilogue: Epilogue | PlainStore) -> ir.Function:
    """Add the function of a forward or transposed convolution."""
    function, code = define(module, name, [PTR] * 5, internal=False)
    x, y, context, sizes, workspace = function.args
    geometry, memory, layout = Geometry(spec), _Workspace(spec), weight_layout(spec)
    dims = Dimensions(code, geometry.run_time_dims, sizes)
    samples, extents = dims[spec.x_shape[0]], dims.all(geometry.extents)
    positions = product(code, dims.all(spec.spatial))
    work = code.times(code.times(samples, positions), spec.groups * layout.rows * layout.steps)
    serial = code.less(work, SERIAL_WORK)

    image, weight = x, y
    if memory.packs:
        weight = code.at(workspace, memory.weight, I8)
        emit_pack_weight(code, f"{name}.weight", spec, y, weight, serial)
    if not memory.plain:
        image = code.at(workspace, memory.image, I8)
        channels = code.times(samples, layout.channels * spec.groups)
        emit_image(code, name, geometry, x, image, dims.all(geometry.sizes), extents, channels, serial)
        elements = dims.all((spec.x_shape[0], *geometry.extents))
        elements.append(layout.channels * spec.groups * geometry.phases)
        bytes = code.times(code.plus(product(code, elements), memory.slack), spec.accumulator.itemsize)
        after_image = code.at(image, code.times(code.ceil_divide(bytes, ALIGN), ALIGN), I8)
    else:
        after_image = code.at(workspace, memory.image, I8)

    task: WindowTask
    if layout.wide:
        task = ChannelTask(module, name, geometry, layout, epilogue)
    else:
        task = ShiftTask(module, name, geometry, layout, epilogue, memory.plain, memory.in_place)
    common: dict[str, Size] = {"image": image, "weight": weight, "context": context, **numbered("extent", extents)}
    body: ir.Function | None = None
    entry, place = 0, after_image
    for part in geometry.parts:
        counts = dims.all(part.counts)
        table = code.at(workspace, 8 * entry, I8)
        runs = code.at(table, layout.channels * len(part.taps), I64)
        entry += (layout.channels + RUN) * len(part.taps)
        emit_tap_table(code, geometry, part, extents, layout.channels, table)
        values = task.divide(code, part, samples, counts, extents)
        values |= {"table": table, "runs": runs, "run_count": _emit_runs(code, geometry, layout, part, runs)}
        if layout.wide:
            emit_position_table(code, counts, extents, place)
            values["positions"] = place
            place = code.at(place, product(code, counts), I64)
        if len(geometry.parts) > 1:  # one body serves all parts
            values = {key: code.value(value) for key, value in values.items()}
        frame = Frame(common | values)
        if body is None:
            body = emit_body(module, f"{name}.windows", frame, task.emit)
        count = product(code, listed(frame.values, "task", geometry.rank + 3))
        grain = code.plus(code.divide(TASK_WORK, code.plus(values["task_work"], 1)), 1)
        run_parallel(code, body, frame, count, serial, grain)
    code.ret_void()
    return function


def windows_workspace(spec: ConvSpec) -> Dim:
    """Bytes of workspace."""
    return _Workspace(spec).size


class _Workspace:
    """What the workspace holds: tables of taps, the weight if it is packed here, the image, tables of positions."""

    def __init__(self, spec: ConvSpec) -> None:
        geometry, layout = Geometry(spec), weight_layout(spec)
        # Kernels over positions read whole strips, so past the end of x unless they are masked.
        self.plain = geometry.is_plain and (layout.wide or spec.machine.masks)
        direct = spec.direction == "forward" and spec.accumulator is spec.dtype and not layout.wide
        self.in_place = direct and not spec.prepacked
        self.packs = not spec.prepacked and not direct
        self.slack = 0 if layout.wide else spec.machine.columns(spec.accumulator)
        taps = sum(len(part.taps) for part in geometry.parts)
        self.weight = -(-taps * (layout.channels + RUN) * 8 // ALIGN) * ALIGN
        self.image = self.weight + (packed_weight_size(spec) if self.packs else 0)
        elements: Dim = 0
        if not self.plain:
            elements = shapes.add(shapes.mul(spec.x_shape[0], image_elements(geometry)), self.slack)
        size = shapes.add(self.image, aligned(shapes.mul(elements, spec.accumulator.itemsize)))
        for part in geometry.parts if layout.wide else []:
            size = shapes.add(size, shapes.mul(shapes.product(part.counts), 8))
        self.size = size


def _emit_runs(code: Code, geometry: Geometry, layout: WeightLayout, part: Part, table: ir.Value) -> int:
    """Describe the runs of taps. A forward convolution is one run through a packed tile from its start."""
    if not geometry.is_transposed:
        return 1
    done = 0
    for number, (first, count) in enumerate(part.runs):
        entries = (first * layout.channels, done * layout.channels, count * layout.channels)
        for entry, value in enumerate(entries):
            code.write(code.value(value), table, RUN * number + entry)
        done += count
    return len(part.runs)
