"""`Storage`: memory that one or more tensors look at, with the counters that make sharing it safe."""

from __future__ import annotations

import numpy as np

from jitcore_runtime.arena import address_of

Layout = tuple[tuple[int, ...], tuple[int, ...], np.dtype, int]
"""An array's shape, strides, dtype and flags."""

_MOST_LAYOUTS = 4096
_layouts: dict[Layout, Layout] = {}


def layout_of(array: np.ndarray) -> Layout:
    """The layout of an array: one object for all that are laid out alike, so that `is` compares them."""
    if len(_layouts) >= _MOST_LAYOUTS:
        _layouts.clear()
    found = (array.shape, array.strides, array.dtype, array.flags.num)
    return _layouts.setdefault(found, found)


class Storage:
    """A whole block of memory.

    `version` grows with every write and lets autograd notice that a saved tensor has changed. `rebased` becomes another
    number when the gradient history of the memory changes, so that other views know to derive theirs anew. `shared` is
    True once code that jitcore does not see (NumPy, DLPack) can write the memory. `written_at` is the user's line of
    the latest write, for error messages. `array` is ours alone: what others see is a view of it, so that they cannot
    change its shape. Who replaces it sets `_address` to 0.
    """

    __slots__ = ("__weakref__", "_address", "array", "layout", "rebased", "shared", "version", "written_at")

    layout: Layout
    """Of `array`, known once its address has been asked for."""

    def __init__(self, array: np.ndarray, shared: bool = False) -> None:
        self.array = array
        self.version = 0
        self.rebased = 0
        self.shared = shared
        self.written_at: tuple[str, int] | None = None
        self._address = 0

    @property
    def address(self) -> int:
        """Address of the first element of `array`."""
        return self._address or self.locate()

    def locate(self) -> int:
        """Find out address and layout, and remember them: calls of compiled functions ask again and again. 0 for what
        is no array (an example inside `vmap`)."""
        if type(self.array) is np.ndarray:
            self.is_laid_out(layout_of(self.array))
        return self._address

    def is_laid_out(self, layout: Layout) -> bool:
        """Whether `array` has a layout, one that `layout_of` gave, and at which address, to be remembered."""
        array = self.array
        if type(array) is not np.ndarray or (array.shape, array.strides, array.dtype, array.flags.num) != layout:
            return False
        self.layout = layout
        self._address = address_of(array)
        return True

    def __reduce__(self) -> tuple:
        from .copying import reduced_storage

        return reduced_storage(self)

    def __repr__(self) -> str:
        return f"Storage({self.array.dtype}, {self.array.shape}, version={self.version}, shared={self.shared})"
