"""Matrix products as LLVM IR.

```
emit_gemm(module, name, spec: GemmSpec, epilogue: Epilogue | PlainStore) -> ir.Function
    void name(ptr x, ptr y, ptr context, ptr sizes, ptr workspace)
emit_pack(module, name, spec: GemmSpec) -> ir.Function
    void name(ptr y, ptr packed, ptr sizes)
packed_size(spec) -> Dim        bytes of the packed y, as a dim
workspace_size(spec) -> Dim     bytes that `workspace` must have (0: may be null), whatever the number of threads
```

- `x`, `y` point at the first element of the operands; `packed` and `workspace` are 64-byte aligned.
- `context` points at a struct with the fields `epilogue.captures` (natural alignment; for a `PlainStore` the one field
  is the result's pointer). It is only read.
- `sizes` points at i64 values, one per entry of `spec.run_time_dims`; it may be null where there are none.
- The work is divided by `void jc_parallel_for(ptr body, ptr context, i64 count, i64 grain)`, which is declared in the
  module (tiny products call the body themselves). Tasks own disjoint parts of the result; a task's sums are on its
  stack (at most 112 KiB), shared packed operands in `workspace`. Nothing depends on the number of threads: each sum
  runs over k in order, in blocks of BLOCK_K.
- Every element of the result is handed to the epilogue exactly once. An empty k gives zeros; an empty result does
  nothing.
"""
