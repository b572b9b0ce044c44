"""Runs a module's generated source in numba's CUDA simulator: threads of Python on NumPy arrays, a tiny grid."""

import numpy as np

from jitcore.compiler.cuda import print_module
from jitcore.compiler.cuda.names import host_names
from jitcore.compiler.loops.interpret import poison
from jitcore_ir.shapes import evaluate
from jitcore_runtime.plan import BufferKind

BLOCKS, THREADS = 2, 8


def bits(array):
    """Flat memory in the type that kernels see: bool as bytes, 16-bit floats as their bits, complex as parts."""
    flat = np.array(array).reshape(-1)
    if flat.dtype.kind == "c":
        return flat.view(flat.real.dtype)
    return flat.view(np.uint8) if flat.dtype == bool else flat.view(np.uint16) if _is_half(flat.dtype) else flat


def _is_half(dtype):
    return dtype.itemsize == 2 and dtype.kind in "fV"


def arguments(source, call, memory, error, symbols):
    """What the kernel's parameters get."""
    found = []
    for parameter in source.parameters:
        if parameter.role == "buffer":
            found.append(memory[call.arguments[parameter.index]])
        elif parameter.role == "error":
            found.append(error)
        elif parameter.role == "offset":
            found.append(evaluate(call.offsets[parameter.index], symbols))
        else:
            found.append(symbols[parameter.symbol])
    return found


def fill(module, arrays, symbols):
    """Flat memory for each buffer; what no kernel has written yet is poisoned."""
    memory = []
    for buffer in module.buffers:
        count = int(np.prod([evaluate(d, symbols) for d in buffer.shape]))
        if buffer.kind is BufferKind.INPUT:
            memory.append(bits(arrays[buffer.index]))
        else:
            memory.append(bits(buffer.data if buffer.data is not None else poison(buffer.dtype, count)))
    return memory


def collect(module, memory, symbols):
    """The outputs, in their dtypes and shapes."""
    return [
        m.view(b.dtype.numpy).reshape([evaluate(d, symbols) for d in b.shape])
        for b, m in zip(module.buffers, memory, strict=True)
        if b.kind is BufferKind.OUTPUT
    ]


def simulate(module, arrays, symbols, threads=THREADS, blocks=BLOCKS):
    """(the outputs, the error fields) of a module."""
    from numba import cuda
    from numba.cuda.simulator.api import jit

    sources = {source.name: source for source in print_module(module, threads)}
    memory, error = fill(module, arrays, symbols), np.array([-1, 0, 0, 0])
    with np.errstate(all="ignore"):
        for call in module.kernels:
            source = sources[call.kernel.name]
            names = host_names(cuda)
            exec(compile(source.text, source.name, "exec"), names)
            jit(names[source.name])[blocks, source.threads](*arguments(source, call, memory, error, symbols))
    return collect(module, memory, symbols), error
