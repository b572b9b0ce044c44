"""`compile_module`: the kernels of a lowered program as PTX; `device_code`: all that an archive stores of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitcore_ir.dtypes import int64
from jitcore_ir.shapes import Expr, add, floordiv, maximum, minimum, symbol
from jitcore_runtime.plan import Buffer, BufferKind
from jitcore_serialize.archive import DeviceCode, Launch

from ..loops.module import KernelCall, LoopModule
from ..memory_plan import plan_memory
from .kernel import THREADS, KernelSource, Parameter, print_kernel
from .ptx import compile_kernel

LARGEST_GRID = 1 << 16
"""Blocks in a grid at most; a kernel's blocks go on to further rows or elements by themselves."""

ERROR_BYTES = 32
TARGET = re.compile(r"ptx-(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A compiled kernel. Its parameters in order: pointers, then int64 scalars (`Parameter.role` says what each is).
    Launch it with `block` threads on any grid; `shared_bytes` is static, so none is to be asked for at launch."""

    name: str
    source: str
    ptx: str
    parameters: tuple[Parameter, ...]
    block: tuple[int, int, int]
    shared_bytes: int
    mapping: str


def compile_module(module: LoopModule, cc: tuple[int, int], threads: int = THREADS) -> list[CudaKernel]:
    """Compile each distinct kernel of `module` for compute capability `cc`; no GPU is needed.

    Raises NotImplementedError for a kernel that has no CUDA form (it names the operation), ImportError where numba-cuda
    is missing, CudaCompileError where the result would not run by itself.
    """
    return [_compiled(source, cc) for source in print_module(module, threads)]


def print_module(module: LoopModule, threads: int = THREADS) -> list[KernelSource]:
    """The source of each distinct kernel, in the order of first use. Needs neither numba nor a GPU."""
    offsets: dict[int, set[int]] = {}
    kernels = {}
    for call in module.kernels:
        kernels[id(call.kernel)] = call.kernel
        moved = {number for number, offset in enumerate(call.offsets) if offset != 0}
        offsets.setdefault(id(call.kernel), set()).update(moved)
    return [print_kernel(kernel, offsets[key], threads) for key, kernel in kernels.items()]


def device_code(module: LoopModule, cc: tuple[int, int]) -> DeviceCode:
    """A program's PTX module, memory plan and launches, to be stored under `target_name(cc)`.

    Where a kernel can fail, the plan's last buffer is int64[4], as `jc_call.error`: whoever runs the launches puts -1
    into its first place before them and looks at it after them. Raises what `compile_module` does.
    """
    if not module.is_straight:
        raise NotImplementedError("branches and loops (cond, while_loop, scan) have no CUDA form; export for CPUs only")
    kernels = compile_module(module, cc)
    plan = plan_memory(module, (), (), {}, {}).plan
    if any(p.role == "error" for kernel in kernels for p in kernel.parameters):
        error = Buffer(BufferKind.TEMPORARY, int64, (ERROR_BYTES // 8,), len(plan.slots))
        plan = replace(plan, buffers=(*plan.buffers, error), slots=(*plan.slots, ERROR_BYTES))
    by_name = {kernel.name: kernel for kernel in kernels}
    launches = tuple(launch(call, by_name[call.kernel.name], len(plan.buffers) - 1) for call in module.kernels)
    return DeviceCode(merge_ptx([kernel.ptx for kernel in kernels]).encode(), plan, launches)


def launch(call: KernelCall, kernel: CudaKernel, error_buffer: int) -> Launch:
    """How `call` is launched."""
    buffers, scalars = [], []
    for parameter in kernel.parameters:
        if parameter.role in ("buffer", "error"):
            buffers.append(call.arguments[parameter.index] if parameter.role == "buffer" else error_buffer)
        else:
            scalars.append(call.offsets[parameter.index] if parameter.role == "offset" else symbol(parameter.symbol))
    blocks = grid_size(call.parallel, kernel.mapping, kernel.block[0])
    return Launch(kernel.name, (blocks, 1, 1), kernel.block, tuple(buffers), tuple(scalars))


def grid_size(parallel: int | Expr, mapping: str, threads: int) -> int | Expr:
    """Blocks for a parallel loop of so many iterations: one per row, or enough threads; at least one."""
    needed = parallel if mapping == "rows" else floordiv(add(parallel, threads - 1), threads)
    return minimum(maximum(needed, 1), LARGEST_GRID)


def target_name(cc: tuple[int, int]) -> str:
    """The archive's name for code from compute capability `cc` on: "ptx-8.0"."""
    return f"ptx-{cc[0]}.{cc[1]}"


def parse_target(target: str) -> tuple[int, int]:
    """The compute capability of "ptx-8.0". Raises ValueError for another form."""
    found = TARGET.fullmatch(target)
    if found is None:
        raise ValueError(f"CUDA target {target!r} is not of the form 'ptx-8.0'")
    return int(found[1]), int(found[2])


def merge_ptx(parts: Sequence[str]) -> str:
    """One PTX module with the entries of all. Their other names differ already (`stable_names`)."""
    if not parts:
        return ""
    header = re.compile(r"^\.(?:version|target|address_size)\b.*\n", re.MULTILINE)
    return "\n".join([parts[0], *(header.sub("", part) for part in parts[1:])])


def _compiled(source: KernelSource, cc: tuple[int, int]) -> CudaKernel:
    ptx = compile_kernel(source.text, tuple(p.type for p in source.parameters), cc, source.double)
    block = (source.threads, 1, 1)
    return CudaKernel(source.name, source.text, ptx, source.parameters, block, source.shared_bytes, source.mapping)
