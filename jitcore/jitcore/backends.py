"""`jitcore.backends`: the flags that training scripts set. They are kept, and change nothing here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any


class Backend(SimpleNamespace):
    """One backend's flags. Unknown flags can be set too; `is_available()` tells whether jitcore runs on it: no."""

    def is_available(self) -> bool:
        return False

    is_built = is_available

    def version(self) -> None:
        return None

    @contextlib.contextmanager
    def flags(self, **values: Any) -> Iterator[None]:
        """Set flags for a `with` block."""
        old = dict(vars(self))
        vars(self).update(values)
        try:
            yield
        finally:
            vars(self).clear()
            vars(self).update(old)


def _tensor_cores() -> Backend:
    return Backend(
        allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True,
        fp32_precision="none",
    )  # fmt: skip


class _Cuda(Backend):
    """CUDA's flags: those of matrix products and of the choice of attention kernels."""

    def flash_sdp_enabled(self) -> bool:
        return False

    mem_efficient_sdp_enabled = cudnn_sdp_enabled = flash_sdp_enabled

    def math_sdp_enabled(self) -> bool:
        return True

    def enable_flash_sdp(self, enabled: bool) -> None:
        """Nothing to choose from."""

    enable_mem_efficient_sdp = enable_math_sdp = enable_cudnn_sdp = enable_flash_sdp

    @contextlib.contextmanager
    def sdp_kernel(self, *arguments: Any, **keywords: Any) -> Iterator[None]:
        """Nothing to choose from."""
        yield


class _Cpu(Backend):
    def get_cpu_capability(self) -> str:
        """The name of the vector instructions that native code is made for."""
        return "DEFAULT"


cuda = _Cuda(matmul=_tensor_cores(), cufft_plan_cache=[], preferred_linalg_library=lambda backend=None: None)
cudnn = Backend(
    enabled=True, benchmark=False, deterministic=False, allow_tf32=True, benchmark_limit=10, conv=_tensor_cores(),
    rnn=_tensor_cores(), fp32_precision="none",
)  # fmt: skip
cpu = _Cpu()
mps = Backend()
mkl = Backend()
mkldnn = Backend(enabled=True, deterministic=False, allow_tf32=True)
openmp = Backend()
xeon = Backend()
opt_einsum = Backend(enabled=True, strategy="auto")
fp32_precision = "none"

__path__: list[str] = []  # so that `import jitcore.backends.cudnn as cudnn` gives the backend itself
for _name in ("cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]

__all__ = ["Backend", "cpu", "cuda", "cudnn", "fp32_precision", "mkl", "mkldnn", "mps", "openmp", "opt_einsum", "xeon"]
