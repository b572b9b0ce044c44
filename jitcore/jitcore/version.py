"""`jitcore.version`: versions of this build; there is no CUDA or ROCm in it."""

from jitcore_ir.version import __version__

cuda = hip = xpu = git_version = None
debug = False
surface = "2.13.0"
"""The version of PyTorch whose names and meanings jitcore follows."""

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "surface", "xpu"]
