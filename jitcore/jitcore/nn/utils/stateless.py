"""`functional_call` under its older name; see `jitcore.func`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tensor import Tensor
from ..module import Module


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with the named parameters and buffers replaced for the call."""
    from ...func import functional_call as call

    return call(module, dict(parameters_and_buffers), args, kwargs, tie_weights=tie_weights, strict=strict)


__all__ = ["functional_call"]
