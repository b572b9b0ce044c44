"""`Storage`: memory that one or more tensors look at, with the counters that make sharing it safe."""

from __future__ import annotations

import numpy as np


class Storage:
    """A whole block of memory.

    `version` grows with every write and lets autograd notice that a saved tensor has changed. `rebased` becomes another
    number when the gradient history of the memory changes, so that other views know to derive theirs anew. `shared` is
    True once code that jitcore does not see (NumPy, DLPack) can write the memory. `written_at` is the user's line of
    the latest write, for error messages.
    """

    __slots__ = ("__weakref__", "_address", "array", "rebased", "shared", "version", "written_at")

    def __init__(self, array: np.ndarray, shared: bool = False) -> None:
        self.array = array
        self.version = 0
        self.rebased = 0
        self.shared = shared
        self.written_at: tuple[str, int] | None = None
        self._address = 0

    @property
    def address(self) -> int:
        """Address of the first element of `array`. Cached, as asking NumPy costs about a microsecond."""
        if not self._address:
            self._address = self.array.ctypes.data
        return self._address

    def __reduce__(self) -> tuple:
        from .copying import reduced_storage

        return reduced_storage(self)

    def __repr__(self) -> str:
        return f"Storage({self.array.dtype}, {self.array.shape}, version={self.version}, shared={self.shared})"
