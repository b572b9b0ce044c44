"""What is compared: PyTorch's namespaces, and the names in them that are no part of its surface."""

from __future__ import annotations

import re

NAMESPACES = (
    "torch",
    "torch.Tensor",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.Module",
    "torch.nn.utils",
    "torch.nn.utils.rnn",
    "torch.nn.utils.parametrize",
    "torch.nn.utils.parametrizations",
    "torch.nn.utils.prune",
    "torch.optim",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler",
    "torch.optim.swa_utils",
    "torch.autograd",
    "torch.autograd.functional",
    "torch.autograd.graph",
    "torch.func",
    "torch.linalg",
    "torch.fft",
    "torch.special",
    "torch.signal.windows",
    "torch.random",
    "torch.distributions",
    "torch.utils.data",
    "torch.utils.checkpoint",
    "torch.testing",
    "torch.amp",
)
"""Modules and classes."""

NOT_SURFACE = {
    "code of one backend": re.compile(
        r"cudnn_|miopen_|mkldnn|fbgemm_|_?cufft|native_|batch_norm_(backward|elemt|gather|stats|update)|grid_sampler"
        r"|is_vulkan|xpu|ipu|mtia|hpu|privateuse|get_num_inter|set_num_inter|conv_tbc|.*_kernel_size_check"
        r"|choose_qparams|q_(per|scale|zero)|int_repr|dequantize|fake_quantize|fused_moving|rnn_(relu|tanh)|lstm$|gru$"
        r"|lstm_cell|gru_cell|.*_fake_quantize.*|hspmm|smm|sspaddmm|saddmm|quantized_|quantize_"
    ),
    "storage classes and pickles": re.compile(
        r".*Storage$|storage|typename|is_storage|.*TypedStorage|untyped_storage|data_ptr|cpp|module_load|reinforce"
    ),
    "sparse and nested tensors": re.compile(
        r"sparse|.*_sparse|to_sparse.*|.*sparse.*|ccol_indices|crow_indices|col_indices|row_indices|coalesce"
        r"|is_coalesced|nested|.*nested.*|to_padded_tensor|jagged"
    ),
    "named dimensions": re.compile(r"names|rename_?|align_(as|to|tensors)|refine_names|has_names"),
    "symbolic shapes of torch.compile": re.compile(r"sym_.*|Sym(Int|Float|Bool)|unravel_.*_sym|vmap_.*"),
    "types of TorchScript": re.compile(
        r".*Type$|FutureType|Graph$|Node$|Value$|Block$|Gradient$|Use$|Argument.*|FunctionSchema|Const(ant)?Dict|JITException"
        r"|.*Observer.*|Script.*|CompilationUnit|Code$|import_ir.*|parse_.*|fork$|wait$|Execution.*|Static.*|Liteb.*|FileCheck"
        r"|DeepCopyMemoTable|DeserializationStorageContext|Disable.*|Await|Future|AggregationType|AnyType|BufferDict"
        r"|Excluded.*|FatalError|Interface.*|Iodescriptor|IODescriptor|LiteScriptModule|LockingLogger|LoggerBase|NoopLogger"
        r"|ModuleDict_|PyTorchFile.*|SerializationStorageContext|StreamObj|ThroughputBenchmark|TracingState|.*Stats|Stream|Event"
        r"|CallStack|Capsule|Callable|ClassType|BenchmarkConfig|ErrorReport|.*Guard$|has_.*|vitals_enabled|set_vital|read_vitals"
        r"|merge_type_from.*|unify_type_list|init_num_threads|.*_jit_.*|classproperty|autocast_.*|.*autocast.*|is_anomaly.*"
    ),
}
"""Patterns of names that are left out of the count, by why."""


def outside(name: str) -> str | None:
    """Why a name is no part of the surface; None where it is."""
    return next((why for why, pattern in NOT_SURFACE.items() if pattern.fullmatch(name)), None)
