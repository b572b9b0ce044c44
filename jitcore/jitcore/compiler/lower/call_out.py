"""Operations that run by their NumPy kernels, called from the middle of the native program."""

from __future__ import annotations

from collections.abc import Callable

from jitcore_ir import Operation

from ..fuse.node import Node
from ..fuse.roots import base
from ..loops.ops import CALL_OUT
from .kernel import KernelBuilder, Memory


def emit_call_out(new_kernel: Callable[[str], KernelBuilder], memory: Memory, node: Node, called: Operation) -> None:
    """The kernel of one such operation: its operands, in memory, and its result as whole buffers. `called` is the
    operation of the graph given, which the node's may stand for."""
    operation = node.operation
    kernel = new_kernel(f"call out to {called.spec.name}")
    sources = [base(v) for v in operation.operands]
    buffers = [kernel.argument(memory.of[v], v.type.shape) for v in sources]
    buffers.append(kernel.argument(memory.of[node.value], node.value.type.shape, reads=False))
    number = memory.numbers[operation]
    memory.module.call_outs[number] = called
    kernel.e.append(CALL_OUT, buffers, {"operation": number})
    kernel.finish()
