"""Which operations are run again wherever their results are needed, rather than kept."""

from __future__ import annotations

from . import ops
from .graph import Operation
from .spec import Trait

MADE_FROM_NOTHING = (ops.CONSTANT, ops.IOTA, ops.SIZE)
"""Operations whose results come from attributes and sizes alone."""


def is_cheap(operation: Operation) -> bool:
    """Whether an operation costs less to run again, from its operands, than its result to keep: it makes its result
    from nothing, or looks at an operand in another way."""
    return operation.spec in MADE_FROM_NOTHING or operation.spec.has(Trait.VIEW)
