"""Runs generated products and convolutions in this process, with guard zones around all memory they touch."""

from __future__ import annotations

import ctypes
import mmap

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from jitcore.compiler.cpu.conv import conv_packed_size, conv_workspace_size, emit_conv, emit_conv_pack
from jitcore.compiler.cpu.conv_spec import ConvSpec
from jitcore.compiler.cpu.gemm import emit_gemm, emit_pack, packed_size, workspace_size
from jitcore.compiler.cpu.gemm_builder import Code
from jitcore.compiler.cpu.gemm_spec import Epilogue, GemmSpec, PlainStore, row_major
from jitcore.compiler.cpu.microkernel import element_type
from jitcore_ir.shapes import evaluate

GUARD = 256
POISON = 0xA5

# jc_parallel_for for tests. The second runs indices one at a time, last first, as threads might.
_SERIAL = """
define void @jc_parallel_for(ptr %body, ptr %context, i64 %count, i64 %grain) {
  call void %body(ptr %context, i64 0, i64 %count)
  ret void
}
"""
_REVERSED = """
define void @jc_parallel_for(ptr %body, ptr %context, i64 %count, i64 %grain) {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %loop, label %done
loop:
  %end = phi i64 [ %count, %entry ], [ %begin, %loop ]
  %begin = sub i64 %end, 1
  call void %body(ptr %context, i64 %begin, i64 %end)
  %more = icmp sgt i64 %begin, 0
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


class Native:
    """A module, compiled. `call(name, *addresses)`. `reverse`: parallel loops run one index at a time, backwards."""

    def __init__(self, module: ir.Module, target: str, reverse: bool) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module.triple = llvm.get_process_triple()
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        parsed.link_in(llvm.parse_assembly(_REVERSED if reverse else _SERIAL))
        machine = llvm.Target.from_default_triple().create_target_machine(cpu=target, opt=1, jit=True)
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
        builder.getModulePassManager().run(parsed, builder)
        self.engine = llvm.create_mcjit_compiler(parsed, machine)
        self.engine.finalize_object()

    def call(self, name: str, *addresses: int) -> None:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(addresses))
        kind(self.engine.get_function_address(name))(*addresses)


class Guarded:
    """An array that ends where an inaccessible page begins, with poisoned memory before it: reading or writing past its
    end stops the test run, writing before it is found by `check`."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type, align: int = 1) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pages = -(-(size + GUARD + align) // mmap.PAGESIZE) + 1
        self._memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
        self._whole = np.frombuffer(self._memory, np.uint8)[: (pages - 1) * mmap.PAGESIZE]
        self._whole[...] = POISON
        last = self._whole.ctypes.data + self._whole.size
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(last), mmap.PAGESIZE, 0) == 0
        self._start = (self._whole.size - size) // align * align
        self.array = self._whole[self._start : self._start + size].view(dtype).reshape(shape)

    @classmethod
    def of(cls, data: np.ndarray) -> Guarded:
        """A copy of `data`, at the least alignment its dtype allows."""
        found = cls(data.shape, data.dtype)
        found.array[...] = data
        return found

    @property
    def address(self) -> int:
        return self._whole.ctypes.data + self._start

    def check(self, what: str) -> None:
        after = self._whole[self._start + self.array.nbytes :]
        assert (self._whole[: self._start] == POISON).all() and (after == POISON).all(), f"{what}: written outside"


def run(
    spec: GemmSpec | ConvSpec, x: np.ndarray, y: np.ndarray, shape: tuple[int, ...], symbols: dict[str, int],
    plain: bool = True, reverse: bool = False, cpu: str = "",
) -> np.ndarray:  # fmt: skip
    """The result (of `shape`, in the accumulator dtype) of a product or convolution of two row-major buffers.

    `cpu`: what LLVM compiles for, if not the spec's target; the tile sizes are the target's all the same.
    `plain`: by a `PlainStore`; otherwise by an epilogue that stores, and counts that each element came once.
    """
    module = ir.Module()
    is_gemm = isinstance(spec, GemmSpec)
    epilogue = PlainStore(row_major(shape)) if plain else _counting(spec, shape)
    (emit_gemm if is_gemm else emit_conv)(module, "product", spec, epilogue)
    if spec.prepacked:
        (emit_pack if is_gemm else emit_conv_pack)(module, "pack", spec)
    native = Native(module, cpu or spec.target, reverse)

    sizes = np.array([*(evaluate(dim, symbols) for dim in spec.run_time_dims), 0], np.int64)
    left, right, result = Guarded.of(x), Guarded.of(y), Guarded(shape, spec.accumulator.numpy)
    memory = [left, right, result]
    if spec.prepacked:
        size = packed_size(spec) if is_gemm else conv_packed_size(spec)
        memory.append(packed := Guarded((evaluate(size, symbols),), np.uint8, align=64))
        native.call("pack", right.address, packed.address, sizes.ctypes.data)
        right = packed
    size = workspace_size(spec) if is_gemm else conv_workspace_size(spec)
    workspace = Guarded((evaluate(size, symbols),), np.uint8, align=64)
    workspace.array[...] = 0xFF  # NaN, wherever it is read before it is written
    counts = Guarded.of(np.zeros(shape, np.int8))
    memory += [workspace, counts]
    context = np.array([result.address, counts.address], np.uint64)
    native.call(
        "product", left.address, right.address, context.ctypes.data, sizes.ctypes.data, workspace.address
    )  # fmt: skip
    for name, each in zip(("x", "y", "result", "packed or workspace", "workspace or counts", "counts"), memory):
        each.check(name)
    assert plain or (counts.array == 1).all(), "an element of the result did not reach the epilogue exactly once"
    return result.array


def _counting(spec: GemmSpec | ConvSpec, shape: tuple[int, ...]) -> Epilogue:
    element = element_type(spec.accumulator)
    strides = row_major(shape)

    def emit(builder: ir.IRBuilder, total: ir.Value, indices: list[ir.Value], captured: list[ir.Value]) -> None:
        assert isinstance(builder, Code)
        place = 0
        for index, stride in zip(indices, strides, strict=True):
            place = builder.plus(place, builder.times(index, stride))
        builder.store(total, builder.at(captured[0], place, element))
        count = builder.at(captured[1], place, ir.IntType(8))
        builder.store(builder.add(builder.load(count, typ=ir.IntType(8)), ir.Constant(ir.IntType(8), 1)), count)

    return Epilogue(emit, (ir.PointerType(), ir.PointerType()), (0, 1))


def assert_close(found: np.ndarray, exact: np.ndarray, magnitude: np.ndarray, depth: int, unit: float) -> None:
    """`found` is within the rounding of a sum of `depth` products: each of them and each addition rounds once."""
    error = np.abs(found.astype(np.float64) - exact)
    assert not np.isnan(found.astype(np.float64)).any()
    assert (error <= (depth + 1) * unit * magnitude).all(), f"worst {(error / np.maximum(magnitude, 1e-300)).max():g}"
