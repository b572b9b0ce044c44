"""SparseAdam: refused, as there are no sparse gradients."""

from __future__ import annotations

from typing import Any

from .optimizer import Optimizer


class SparseAdam(Optimizer):
    """Raises NotImplementedError."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        raise NotImplementedError(
            "SparseAdam is not offered by jitcore, whose gradients are dense; the nearest is optim.Adam"
        )
