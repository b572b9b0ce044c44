"""`_foreach_*`: a function of every tensor in a list, as PyTorch's optimizers call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor

_FUNCTIONS = [
    "abs",
    "acos",
    "add",
    "addcdiv",
    "addcmul",
    "asin",
    "atan",
    "ceil",
    "clamp_max",
    "clamp_min",
    "clone",
    "cos",
    "cosh",
    "div",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "frac",
    "lerp",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "max",
    "maximum",
    "minimum",
    "mm",
    "mul",
    "neg",
    "norm",
    "pow",
    "reciprocal",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "sub",
    "tan",
    "tanh",
    "trunc",
]
_IN_PLACE = ("copy", "zero")


def _each(method: str, name: str) -> Callable[..., Any]:
    """The function that calls `method` of each tensor; arguments that are lists go element by element."""
    writes = method.endswith("_")

    def run(self: Sequence[Tensor], *arguments: Any, **keywords: Any) -> Any:
        results = []
        for number, x in enumerate(self):
            given = [a[number] if isinstance(a, list | tuple) else a for a in arguments]
            named = {k: v[number] if isinstance(v, list | tuple) else v for k, v in keywords.items()}
            results.append(_call(x, method, given, named))
        return None if writes else results

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"`x.{method}(...)` for each x of a list{', in place' if writes else ''}."
    return run


def _call(x: Tensor, method: str, given: list[Any], named: dict[str, Any]) -> Any:
    base = method.rstrip("_")
    if base in ("addcdiv", "addcmul") and len(given) == 3:  # the factor is positional in these forms
        *given, named["value"] = given
    if base in ("maximum", "minimum") and not isinstance(given[0], Tensor):
        method = method.replace(base, "clamp_min" if base == "maximum" else "clamp_max")
    return getattr(x, method)(*given, **named)


FOREACH: dict[str, Callable[..., Any]] = {
    f"_foreach_{name}": _each(name, f"_foreach_{name}") for name in _FUNCTIONS
} | {
    f"_foreach_{name}_": _each(f"{name}_", f"_foreach_{name}_")
    for name in (*_FUNCTIONS, *_IN_PLACE)
    if hasattr(Tensor, f"{name}_")
}
"""By PyTorch's names; `jitcore.__getattr__` finds them here."""
