"""`Builder`: makes operations at one place, for one line of the user's program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .dtypes import DType
from .graph import Block, Operation, Region, Value, create_operation
from .location import UNKNOWN, Location
from .ops import CONSTANT
from .spec import OpSpec


class Builder:
    """Creates operations at the end of `block`, or before the operation `before` of it."""

    def __init__(self, block: Block, before: Operation | None = None, location: Location = UNKNOWN) -> None:
        self.block = block
        self.before = before
        self.location = location

    def create(
        self,
        spec: OpSpec,
        operands: Sequence[Value] = (),
        attributes: Mapping[str, Any] | None = None,
        regions: Sequence[Region] = (),
    ) -> Operation:
        """A new operation here. Raises as `create_operation` does."""
        return self.place(create_operation(spec, operands, attributes, self.location, regions))

    def place(self, operation: Operation) -> Operation:
        """Put a free-standing operation here."""
        if self.before is not None:
            return self.block.insert_before(self.before, operation)
        operation.block = self.block
        self.block.operations.append(operation)
        return operation

    def value(self, spec: OpSpec, *operands: Value, **attributes: Any) -> Value:
        """The result of a new operation that has one: `build.value(ops.SUM, x, axes=(0,), keepdims=False)`."""
        return self.create(spec, operands, attributes).result

    def constant(self, value: Any, dtype: DType) -> Value:
        """An array or a Python scalar as a value of `dtype`."""
        array = np.asarray(value, dtype.numpy)
        return self.value(CONSTANT, value=array)
