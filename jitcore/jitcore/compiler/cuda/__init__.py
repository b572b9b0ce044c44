"""Loop IR as CUDA kernels: printed as numba.cuda source, compiled to PTX where numba-cuda is installed.

No GPU is needed to compile. numba is imported by `compile_kernel` alone, when it is called.
"""

from .kernel import KernelSource, Parameter, print_kernel
from .module import CudaKernel, compile_module, device_code, parse_target, print_module, target_name
from .ptx import CudaCompileError, can_compile, compile_kernel

__all__ = [
    "CudaCompileError",
    "CudaKernel",
    "KernelSource",
    "Parameter",
    "can_compile",
    "compile_kernel",
    "compile_module",
    "device_code",
    "parse_target",
    "print_kernel",
    "print_module",
    "target_name",
]
