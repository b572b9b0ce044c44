"""Convolutions as LLVM IR, forward and in both gradients.

```
emit_conv(module, name, spec: ConvSpec, epilogue: Epilogue | PlainStore) -> ir.Function
    void name(ptr x, ptr y, ptr context, ptr sizes, ptr workspace)
emit_conv_pack(module, name, spec: ConvSpec) -> ir.Function
    void name(ptr y, ptr packed, ptr sizes)
conv_packed_size(spec) -> int
conv_workspace_size(spec) -> Dim
```

Parameters, workspace and threads are as in `gemm`. The indices that the epilogue gets are the position in the result
(see `ConvSpec`), in axis order.

Windows are not gathered into a matrix. x is copied once into an image with its border of zeros, where each tap of a
window is a shifted view of it; a kernel's step for (channel, tap) loads neighbouring results' elements from there.
"""

from __future__ import annotations

from llvmlite import ir

from .conv_gradient import emit_weight_gradient, gradient_workspace
from .conv_spec import ConvSpec
from .conv_weight import emit_pack_weight, packed_weight_size
from .conv_window import emit_windows, windows_workspace
from .gemm_builder import PTR, define
from .gemm_spec import Dim, Epilogue, PlainStore


def emit_conv(module: ir.Module, name: str, spec: ConvSpec, epilogue: Epilogue | PlainStore) -> ir.Function:
    """Add the function that computes `spec` and hands every sum to `epilogue`."""
    emit = emit_weight_gradient if spec.direction == "weight" else emit_windows
    return emit(module, name, spec, epilogue)


def emit_conv_pack(module: ir.Module, name: str, spec: ConvSpec) -> ir.Function:
    """Add the function that packs the weight once, for convolutions with `spec.prepacked`."""
    function, code = define(module, name, [PTR, PTR, PTR], internal=False)
    y, packed, _ = function.args
    emit_pack_weight(code, f"{name}.tiles", spec, y, packed, serial=False)
    code.ret_void()
    return function


def conv_packed_size(spec: ConvSpec) -> int:
    """Bytes of the packed weight."""
    return packed_weight_size(spec)


def conv_workspace_size(spec: ConvSpec) -> Dim:
    """Bytes of workspace that the convolution needs."""
    return gradient_workspace(spec) if spec.direction == "weight" else windows_workspace(spec)
