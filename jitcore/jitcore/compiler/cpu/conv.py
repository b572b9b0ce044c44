"""Convolutions as LLVM IR, forward and in both gradients.

```
emit_conv(module, name, spec: ConvSpec, epilogue: Epilogue | PlainStore) -> ir.Function
    void name(ptr x, ptr y, ptr context, ptr sizes, ptr workspace)
emit_conv_pack(module, name, spec: ConvSpec) -> ir.Function
    void name(ptr y, ptr packed, ptr sizes)
conv_packed_size(spec) -> Dim
conv_workspace_size(spec) -> Dim
```

Parameters, workspace and threads are as in `gemm`. The indices that the epilogue gets are the position in the result
(see `ConvSpec`), in axis order.
"""
