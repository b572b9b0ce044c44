"""What the leaves of a recorded result are made of: how each replay makes them anew.

Tensors of a result may lie in one memory, and then it matters which of them autograd knows as views of one another: a
later write that brings gradients reaches the views of a tensor, and no detached one. So each leaf names its `owner`,
the tensor that it is a view of (itself where it is none), and leaves of one owner get one in every replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jitcore_ir import UNKNOWN, Value
from jitcore_ir.shapes import Dim

from ..autograd.tape import NO_GRAD_VIEW
from ..device import Device
from ..random import Generator
from ..symbolic import SymInt, expression
from ..tensor import Size, Tensor
from .containers import Path
from .numbers import RecordedNumber
from .scalars import SCALARS
from .views import Chain

if TYPE_CHECKING:
    from .recorder import Recorder
    from .sizes import Sizes
    from .watch import Watcher

_UNCHANGING = (*SCALARS, Size, Device)
"""Types of results that need not be made anew."""


@dataclass(frozen=True, slots=True)
class Static:
    """A result leaf that is the same Python object each time."""

    value: Any


@dataclass(frozen=True, slots=True)
class Owner:
    """The tensor that a result leaf is a view of: its number, and how many steps of the leaf's chain lead to it."""

    number: int
    steps: int


@dataclass(frozen=True, slots=True)
class FromRoot:
    """A result leaf in memory from outside: root number `root`; the very tensor where `chain` is None, else another one
    on its memory, cut out by `chain`, without gradient history. `owner` is None for a view of the very tensor, or of
    `base`, from whose whole memory on `chain` leads then: a tensor from outside, or what the argument of that number is
    a view of. `is_fixed`: it takes no gradients later either, as it was made under no_grad."""

    root: int
    chain: Chain | None
    owner: Owner | None = None
    is_fixed: bool = False
    base: Tensor | int | None = None


@dataclass(frozen=True, slots=True)
class FromOutput:
    """A result leaf in new memory: graph output number `output`, seen through `chain`."""

    output: int
    chain: Chain
    requires_grad: bool
    owner: Owner
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """A result leaf that is the very object that leaf number `position` is."""

    position: int


@dataclass(frozen=True, slots=True)
class FromNumber:
    """A result leaf that is a Python float or int: the element of graph output number `output`."""

    output: int


@dataclass(frozen=True, slots=True)
class FromSize:
    """A result leaf that is a size."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class FromContainer:
    """A list or dict among the arguments, which is given back: where it is in (arguments, keywords)."""

    path: Path


Piece = Static | Again | FromContainer | FromRoot | FromOutput | FromNumber | FromSize


@dataclass
class Pieces:
    """Finds the pieces of one run's result. `values` are the graph values among them, with their output numbers;
    `layouts` tells of outputs whose memory is not laid out row by row which axis comes first in it, second, and so
    on."""

    recorder: Recorder
    watcher: Watcher
    values: dict[Value, int] = field(default_factory=dict)
    layouts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _owners: dict[tuple[int, bool], int] = field(default_factory=dict)

    def piece(self, leaf: Any, differentiable: list[tuple[Tensor, int]]) -> Piece:
        """How replays make `leaf`. A tensor with gradient history goes to `differentiable`, with its output number."""
        if type(leaf) is RecordedNumber:
            return FromNumber(self.values.setdefault(leaf.graph_value(), len(self.values)))
        if type(leaf) is SymInt:
            return FromSize(expression(leaf))
        recorder = self.recorder
        if recorder.containers is not None and id(leaf) in recorder.containers:
            return FromContainer(recorder.containers[id(leaf)])
        if not isinstance(leaf, Tensor):
            return self._object(leaf)
        if id(leaf) in recorder.aliases:
            return FromRoot(recorder.returned(leaf), None)
        for number, root in enumerate(recorder.roots):
            if root.tensor is leaf and root.source is not None:
                return FromRoot(number, None)
        is_fixed = leaf._seen == NO_GRAD_VIEW
        if not recorder.is_inside(leaf):
            if id(leaf) in self.watcher.outside:
                return Static(leaf)
            found = recorder.outside_root(leaf)
            if leaf.requires_grad:
                recorder.refuse("a view of an outside tensor, with gradient history, is returned", found.location)
            number, chain = recorder.roots.index(found), leaf._view[len(found.chain) :]
            if leaf._base is None:
                return FromRoot(number, chain, self._owner(leaf, len(found.chain)), is_fixed)
            if leaf._base is whole_of(found.tensor) and chain:
                return FromRoot(number, chain, is_fixed=is_fixed)
            base = self._base(leaf._base)
            if base is None:
                return FromRoot(number, chain, self._owner(leaf, len(found.chain)), is_fixed)
            return FromRoot(number, leaf._view, is_fixed=is_fixed, base=base)
        if leaf._grad is not None:
            recorder.refuse("a tensor made inside the function is returned with a gradient", UNKNOWN)
        if type(leaf) is not Tensor or leaf.__dict__:
            recorder.refuse(
                "a tensor made inside the function is returned with attributes or a class of its own", UNKNOWN
            )
        output = self.values.setdefault(recorder.own_value(leaf), len(self.values))
        whole = leaf._storage.array
        if not whole.flags.c_contiguous:
            self.layouts[output] = tuple(sorted(range(whole.ndim), key=lambda axis: -abs(whole.strides[axis])))
        if leaf.requires_grad:
            if whole_of(leaf)._view:
                recorder.refuse("a part of a detached tensor, with gradient history of its own, is returned", UNKNOWN)
            differentiable.append((whole_of(leaf), output))
        return FromOutput(output, leaf._view, leaf.requires_grad, self._owner(leaf, 0), is_fixed)

    def _base(self, base: Tensor) -> Tensor | int | None:
        """Where replays find a tensor from outside that a result is a view of; None for one of the run's own."""
        for position, argument in enumerate(self.watcher.arguments):
            if isinstance(argument, Tensor) and whole_of(argument) is base:
                return position
        held = [t for t in self.watcher.seen.get(id(base._storage), ()) if id(t) in self.watcher.held]
        views = [t for t in held if whole_of(t) is base]
        for tensor in views:
            self.watcher.checks.same_memory(tensor, "the data of a tensor that the result is a view of was elsewhere")
        return base if views or id(base) in self.watcher.outside else None

    def _object(self, leaf: Any) -> Static:
        recorder = self.recorder
        parts = (leaf.start, leaf.stop, leaf.step) if type(leaf) is slice else ()
        is_made = not isinstance(leaf, _UNCHANGING) or not all(type(part) in (int, type(None)) for part in parts)
        if is_made and id(leaf) not in self.watcher.outside:
            recorder.refuse(f"the function returns a {type(leaf).__name__} that it made itself", UNKNOWN)
        state_tensor = leaf._state if type(leaf) is Generator else leaf
        if any(root.tensor is state_tensor and root.source is not None for root in recorder.roots):
            recorder.refuse("a generator that is an argument is returned", UNKNOWN)
        return Static(leaf)

    def _owner(self, leaf: Tensor, before: int) -> Owner:
        """`before`: how many steps lead to the memory that the piece is cut from."""
        whole = whole_of(leaf)
        number = self._owners.setdefault((id(whole), leaf.requires_grad), len(self._owners))
        return Owner(number, len(whole._view) - before)


def laid_out(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """A copy of `array` in whose memory `axes` follow one another in that order. Whether `reshape` of a result is a
    view depends on it."""
    made = np.empty([array.shape[axis] for axis in axes], array.dtype).transpose(np.argsort(axes))
    np.copyto(made, array)
    return made


def whole_of(leaf: Tensor) -> Tensor:
    """The tensor that a result is a differentiable view of; itself where it is none."""
    return leaf if leaf._base is None else leaf._base


def settled_piece(piece: Piece, sizes: Sizes) -> Piece:
    """A part of the result with its sizes as expressions over the symbols that are left."""
    if isinstance(piece, FromSize):
        dim = sizes.current(piece.dim)
        return Static(dim) if isinstance(dim, int) else FromSize(dim)
    if isinstance(piece, FromRoot | FromOutput) and piece.chain:
        steps = [(spec, {name: _settled(value, sizes) for name, value in given.items()}) for spec, given in piece.chain]
        return replace(piece, chain=tuple(steps))
    return piece


def _settled(attribute: Any, sizes: Sizes) -> Any:
    if isinstance(attribute, tuple | list):
        return tuple(_settled(item, sizes) for item in attribute)
    return sizes.current(attribute.expr) if type(attribute) is SymInt else attribute
