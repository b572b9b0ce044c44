"""Operations that hold a graph together."""

from __future__ import annotations

from ..spec import Trait
from ..types import TensorType
from .rules import op

__all__ = ["RETURN", "YIELD"]


@op("return", ("*values",), {}, "Ends a graph; its operands are the graph's outputs.", Trait.TERMINATOR | Trait.IMPURE)
def RETURN(*values: TensorType) -> tuple[TensorType, ...]:
    return ()


@op(
    "yield",
    ("*values",),
    {},
    "Ends a region's block; its operands are what the region gives.",
    Trait.TERMINATOR | Trait.IMPURE,
)
def YIELD(*values: TensorType) -> tuple[TensorType, ...]:
    return ()
