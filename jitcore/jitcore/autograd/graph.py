"""Looking into the tape: hooks on its nodes, on saved tensors and on several gradients at once; forward lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..source import user_frame
from ..state import state
from ..tensor import Tensor, alias, memory
from .hooks import Handle
from .tape import Node, OwnResult, Saved, edge_of, with_history

__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version",
    "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


# Saved tensors


class Packed:
    """A saved tensor in the form that the user's pack hook gave it."""

    __slots__ = ("edge", "packed", "role", "unpack_hook")

    storage = None  # what in-place operations ask a Saved for

    def __init__(self, saved: Saved, tensor: Tensor, hooks: tuple[Callable, Callable]) -> None:
        self.edge, self.role, self.unpack_hook = saved.edge, saved.role, hooks[1]
        with _no_hooks():
            given = saved.tensor if saved.tensor is not None else alias(tensor)
            before = given._storage.version
            self.packed = hooks[0](given)
            if given._storage.version != before:
                raise RuntimeError(
                    "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook "
                    "can not be modified by in-place operations as this can lead to unexpected side-effects. Please "
                    "open an issue if you need to perform in-place operations on the input to a pack hook."
                )

    def unpack(self, node: Node) -> Tensor:
        """What the unpack hook makes of it, with the history of the tensor that was saved."""
        with _no_hooks():
            made = self.unpack_hook(self.packed)
        if not isinstance(made, Tensor):
            raise TypeError("Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                            f"{type(made).__name__}")  # fmt: skip
        if not isinstance(self.edge, OwnResult) and edge_of(made) is self.edge:
            return made
        return with_history(Saved(alias(made), self.edge, self.role), node)


def pack(saved: Saved, tensor: Tensor) -> Any:
    """`saved`, a Saved of `tensor`, as the hooks in force keep it."""
    assert state.saved_hooks is not None
    return Packed(saved, tensor, state.saved_hooks)


@contextlib.contextmanager
def _no_hooks() -> Iterator[None]:
    before = state.saved_hooks, state.grad_enabled
    state.saved_hooks, state.grad_enabled = None, False
    try:
        yield
    finally:
        state.saved_hooks, state.grad_enabled = before


class saved_tensors_hooks:
    """Inside, tensors saved for backward are kept as `pack_hook(tensor)` and used as `unpack_hook(packed)`."""

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook
        self._before: list[tuple[Any, bool]] = []

    def __enter__(self) -> None:
        if _disabled:
            raise RuntimeError(_disabled[-1])
        self._before.append((state.saved_hooks, state.eager_only))
        state.saved_hooks, state.eager_only = (self.pack_hook, self.unpack_hook), True

    def __exit__(self, *exception: object) -> None:
        state.saved_hooks, state.eager_only = self._before.pop()


class save_on_cpu(saved_tensors_hooks):
    """Inside, copies of saved tensors are kept in main memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor.detach().clone(), lambda packed: packed)


_disabled: list[str] = []


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, `saved_tensors_hooks` raises RuntimeError with this message."""
    _disabled.append(error_message)
    try:
        yield
    finally:
        _disabled.pop()


# Nodes


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor goes: result number `output_nr` of `node`."""

    node: Any
    output_nr: int


class AccumulateGrad:
    """Stands for the step that adds to a leaf's `.grad`."""

    __slots__ = ("variable",)
    next_functions = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        return "struct torch::autograd::AccumulateGrad"

    def register_prehook(self, fn: Callable) -> Handle:
        """Call `fn((gradient,))` before it is added to the leaf's `.grad`."""
        return self.variable.register_hook(lambda g: _first(fn((g,))))

    def register_hook(self, fn: Callable) -> Handle:
        """Call `fn((), (gradient,))` after it has been added."""
        return self.variable.register_post_accumulate_grad_hook(lambda leaf: fn((), (leaf.grad,)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash(id(self.variable))

    def __repr__(self) -> str:
        return "<AccumulateGrad>"


def _first(replacement: Any) -> Any:
    return replacement[0] if isinstance(replacement, tuple) else replacement


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where `tensor`'s gradient goes. Raises RuntimeError for one that requires none."""
    edge = edge_of(tensor)
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(edge if isinstance(edge, Node) else AccumulateGrad(edge), 0)


def increment_version(tensor: Any) -> None:
    """Count a write to the tensor (or tensors) that was made behind autograd's back."""
    for x in [tensor] if isinstance(tensor, Tensor) else tensor:
        x._storage.version += 1


class Extra:
    """What a node has beside its derivative: hooks, metadata, and in anomaly mode the line that made it."""

    __slots__ = ("after", "before", "metadata")

    def __init__(self) -> None:
        self.before: dict[int, Callable] = {}
        self.after: dict[int, Callable] = {}
        self.metadata: dict[str, Any] = {}

    def register(self, hooks: dict[int, Callable], hook: Callable) -> Handle:
        return Handle(hooks, hook)

    def remember_line(self) -> None:
        frame = user_frame()
        if frame is not None:
            self.metadata["forward line"] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def run(self, node: Node, g: Any, settle: Callable[[Tensor, Any], Tensor]) -> Sequence[Any]:
        """The node's vjp with the hooks around it."""
        for hook in list(self.before.values()):
            replacement = hook((g,))
            if replacement is not None:
                g = settle(_first(replacement), node)
        try:
            found = node.vjp(g)
        except RuntimeError as error:
            line = self.metadata.get("forward line")
            if line is not None and state.anomaly is not None and "of the forward call" not in str(error):
                raise type(error)(
                    f"{error}\nError detected in {node.name()}; line of the forward call: {line}"
                ) from error
            raise
        if state.anomaly == "nan":
            self._check(node, found)
        if self.after:
            inputs = tuple(None if e is None or x is None else settle(x, e) for e, x in zip(node.edges, found))
            for hook in list(self.after.values()):
                replacement = hook(inputs, (g,))
                if replacement is not None:
                    inputs = tuple(replacement) if isinstance(replacement, tuple | list) else (replacement,)
                    if len(inputs) != len(node.edges):
                        raise RuntimeError(
                            f"hook '{getattr(hook, '__name__', hook)}' has returned an incorrect number of values "
                            f"(got {len(inputs)}, but expected {len(node.edges)})"
                        )
            return inputs
        return found

    def _check(self, node: Node, found: Sequence[Any]) -> None:
        for position, x in enumerate(found):
            if isinstance(x, Tensor) and x._array.dtype.kind in "fc" and np.isnan(memory(x)).any():
                raise RuntimeError(
                    f"Function '{node.name()}' returned nan values in its {position}th output. "
                    f"The line of the forward call: {self.metadata.get('forward line', 'before anomaly mode was on')}"
                )


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all") -> Handle:
    """`fn(gradients)` once all (mode "all"; None for those not reached) or `fn(gradient)` once the first ("any") of the
    tensors' gradients is known in a backward."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    found: dict[int, Tensor] = {}
    done: dict[int, bool] = {}

    def hook(position: int, g: Tensor) -> None:
        if mode == "any":
            if not done:
                done[0] = True
                fn(g)
            return
        found[position] = g
        if len(found) == len(tensors):
            gradients = [found[i] for i in range(len(tensors))]
            found.clear()
            fn(gradients)

    handles = [x.register_hook(lambda g, i=i: hook(i, g)) for i, x in enumerate(tensors)]
    together: dict[int, Any] = {}
    handle = Handle(together, fn)
    plain = handle.remove

    def remove() -> None:
        plain()
        for one in handles:
            one.remove()

    handle.remove = remove  # type: ignore[method-assign]
    return handle


# Anomaly mode


class set_detect_anomaly:
    """Turns anomaly mode on or off: errors of backward, and (check_nan) NaN gradients, name the line of the forward
    call. Acts at once; used with `with`, the old mode comes back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = state.anomaly, state.eager_only
        state.anomaly = ("nan" if check_nan else "lines") if mode else None
        state.eager_only = mode or state.saved_hooks is not None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        state.anomaly, state.eager_only = self._before


class detect_anomaly(set_detect_anomaly):
    """`with detect_anomaly():` anomaly mode inside."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check = check_nan

    def __enter__(self) -> None:
        set_detect_anomaly.__init__(self, True, self._check)


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return state.anomaly is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN gradients."""
    return state.anomaly == "nan"
