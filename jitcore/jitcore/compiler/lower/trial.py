"""A trial run of the pointwise rules, in a kernel that is thrown away: which places in memory does a value read?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jitcore_ir import BufferType, Operation, Value

from .emitter import Emitter
from .index import IndexSpace, Indices
from .pointwise import POINTWISE

if TYPE_CHECKING:
    from ..fuse.roots import Roots


class Trial:
    """An emitter for a trial run, and the places in memory that run reads."""

    def __init__(self, space: IndexSpace, variables: Indices, roots: Roots, numbers: Mapping[Operation, int]) -> None:
        self.reads: list[tuple[Value, Indices]] = []
        self._roots = roots
        self._buffers: dict[Value, Value] = {}
        self.emitter = Emitter("trial", self._read, POINTWISE, numbers)
        self.emitter.space = space
        for variable in variables:
            self.emitter.declare(variable)

    def compute(self, value: Value, place: Indices) -> None:
        """Run the rule of `value`'s operation."""
        assert value.operation is not None
        POINTWISE[value.operation.spec](self.emitter, value.operation, place)

    def _read(self, e: Emitter, value: Value, indices: Indices) -> Value | None:
        if not self._roots.in_memory(value):
            return None
        self.reads.append((value, indices))
        if value not in self._buffers:
            self._buffers[value] = e.argument(BufferType(value.type.dtype, value.type.shape))
        return e.load(self._buffers[value], indices)
