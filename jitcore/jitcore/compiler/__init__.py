"""The compiler: graph -> loops -> LLVM (cpu/) or CUDA source (cuda/). `compile_graph` is its door."""

from .compile import compile_graph

__all__ = ["compile_graph"]
