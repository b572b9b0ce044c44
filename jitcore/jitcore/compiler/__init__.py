"""The compiler: graph -> loops -> LLVM (cpu/) or CUDA source (cuda/). `compile_graph` is its door.

Beside it stand the names of `torch.compiler` that model code marks itself with; they change nothing.
"""

from typing import Any

from .compile import compile_graph


def is_compiling() -> bool:
    """False: recordings keep branches apart, so that code needs no special path for them."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """fn itself: what cannot be compiled runs eagerly without being told."""
    return (lambda function: function) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """fn itself."""
    return fn


def reset() -> None:
    """Nothing to forget."""


cudagraph_mark_step_begin = reset

__all__ = [
    "allow_in_graph", "compile_graph", "cudagraph_mark_step_begin", "disable", "is_compiling", "is_dynamo_compiling",
    "is_exporting", "reset",
]  # fmt: skip
