"""`Function`: an operation whose forward and backward the user writes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..state import state
from ..symbolic import hint
from ..tensor import Tensor, alias, wrap
from .engine import Bundle
from .graph import pack
from .modes import enable_grad, no_grad
from .tape import CallNode, Node, OwnResult, Saved, edge_of, rebasings, sized, zeros_like


class FunctionCtx:
    """What `forward` and `backward` of one call share. Any attribute may be set on it."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: list[Saved | None] | None = []
        self._non_differentiable: set[int] = set()
        self._dirty: set[int] = set()
        self._materialize = True
        self._node: weakref.ref[FunctionNode] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, outputs or intermediates; None is allowed) for backward."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but got an object of type {type(t).__name__}"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What save_for_backward kept. Raises RuntimeError where a tensor has been written since, or was freed."""
        if self._saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time: the saved tensors have been freed. Pass "
                "retain_graph=True to the first backward() or grad() call."
            )
        node = None if self._node is None else self._node()
        if node is None:  # still in forward
            return self._to_save
        return tuple(None if s is None else s.unpack(node) for s in self._saved)

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Outputs that carry no gradient."""
        self._non_differentiable = {id(x) for x in outputs}

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Inputs that forward has written in place (and returns)."""
        self._dirty = {id(x) for x in inputs}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward sees zeros (the default) or None for outputs whose gradient is not needed."""
        self._materialize = value


class FunctionNode(Node):
    """The tape step of one call; with several outputs its gradient arrives as a `Bundle`."""

    __slots__ = ("context", "function", "outputs")

    context: FunctionCtx
    function: Any
    outputs: Sequence[Any]
    exposes = True

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def vjp(self, g: Any) -> Sequence[Any]:
        context = self.context
        parts = g.parts if type(g) is Bundle else {0: g}
        given = [
            parts[i] if i in parts else _zeros(kind) if context._materialize else None
            for i, kind in enumerate(self.outputs)
        ]
        returned = self.function.backward(context, *given)
        gradients = returned if isinstance(returned, tuple) else (returned,)
        count = len(self.edges)
        if (len(gradients) > count and any(x is not None for x in gradients[count:])) or len(gradients) < count:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, "
                f"got {len(gradients)})"
            )
        for position, (edge, x) in enumerate(zip(self.edges, gradients)):
            if x is not None and not isinstance(x, Tensor):
                raise RuntimeError(
                    f"function {self.name()} returned a {type(x).__name__} as gradient {position}; "
                    f"expected a Tensor or None"
                )
            if edge is not None and x is not None:
                shape = tuple(map(hint, edge.shape)) if isinstance(edge, Node) else edge._array.shape
                if not _stretches(shape, x._array.shape):
                    raise RuntimeError(
                        f"Function {self.name()} returned an invalid gradient at index {position} - got "
                        f"{list(x._array.shape)} "
                        f"but expected shape compatible with {list(shape)}"
                    )
        return gradients[:count]

    def result_edge(self, position: int, array: np.ndarray) -> Node:
        if len(self.outputs) == 1:
            return self
        return CallNode(self.name(), (self,), array, lambda g: (Bundle({position: g}),))

    def release(self) -> None:
        self.context._saved = None if self.context._saved else []

    def held(self) -> tuple[Any, ...] | None:
        return self.context, "_saved"


class Function:
    """Subclass with static methods `forward(ctx, *args)` and `backward(ctx, *grad_outputs)`; call `apply(*args)`.

    Instead of taking ctx, forward may leave it to a static method `setup_context(ctx, inputs, output)`. backward
    returns one gradient (or None) for each argument of forward.
    """

    beside: ClassVar[str | None] = None
    """What backward does besides giving gradients, in words: such a backward pass is run eagerly under `jit`."""

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the operation computes."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Gradients with respect to forward's arguments, given those with respect to its outputs."""
        raise NotImplementedError("You must implement the backward function to use your custom autograd.Function.")

    setup_context: Callable[..., None] | None = None

    generate_vmap_rule = False
    """Inside vmap, run forward and backward on examples; else a static method `vmap(info, in_dims, *args)` is used. A
    static method `jvp` is never called: jvp is made of two vjps."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and record this call on the tape."""
        if state.batching is not None:
            from ..func.custom import mapped_function

            mapped = mapped_function(cls, args, state.batching)
            if mapped is not None:
                return mapped[0]
        context = FunctionCtx()
        edges = [edge_of(x) if isinstance(x, Tensor) and state.grad_enabled else None for x in args]
        context.needs_input_grad = tuple(e is not None for e in edges)
        with no_grad():
            if cls.setup_context is None:
                output = cls.forward(context, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(context, args, output)
        several = isinstance(output, tuple)
        outputs = list(output) if several else [output]
        if any(context.needs_input_grad):
            _record(cls, context, edges, args, outputs)
        return tuple(outputs) if several else outputs[0]


def _record(cls: type[Function], context: FunctionCtx, edges: list[Any], args: tuple, outputs: list[Any]) -> None:
    node = FunctionNode.__new__(FunctionNode)
    node.context, node.function = context, cls
    tensors = [x for x in outputs if isinstance(x, Tensor)]
    if not tensors:
        raise TypeError(
            f"{cls.__name__}.forward: expected Variables (got {type(outputs[0]).__name__}) for return value 0"
        )
    node._start(edges, tensors[0]._array)
    node.outputs = [x._array if isinstance(x, Tensor) else None for x in outputs]
    saved: list[Saved | None] = []
    arguments = {id(x) for x in args if isinstance(x, Tensor)}
    for position, x in enumerate(outputs):
        if not isinstance(x, Tensor) or id(x) in context._non_differentiable or x._array.dtype.kind not in "fcV":
            continue
        if id(x) in arguments and id(x) not in context._dirty:
            x = outputs[position] = alias(x)  # an input returned as it is must keep its own history
        elif id(x) in context._dirty and x._requires_grad and x._node is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if state.undo is not None and id(x) in context._dirty:
            state.undo.change(x)
        x._node = sized(node.result_edge(position, x._array), x)
        x._requires_grad = True
        if id(x) in context._dirty:
            x._storage.rebased = x._seen = next(rebasings)
    made = {id(x): position for position, x in enumerate(outputs) if isinstance(x, Tensor) and x._requires_grad}
    for position, x in enumerate(context._to_save):
        edge = OwnResult(made[id(x)]) if id(x) in made else None if x is None else edge_of(x)
        kept = None if x is None else Saved(x, edge, f"saved tensor {position}")
        saved.append(kept if x is None or kept is None or state.saved_hooks is None else pack(kept, x))
    context._saved = saved
    context._to_save = ()
    context._node = weakref.ref(node)


def _zeros(like: Any) -> Tensor | None:
    return None if like is None else zeros_like(wrap(like))


def _stretches(shape: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    extra = len(wide) - len(shape)
    return extra >= 0 and all(n == 1 or n == wide[a + extra] for a, n in enumerate(shape))


def once_differentiable(backward: Callable) -> Callable:
    """Decorator for `Function.backward`: its results cannot be differentiated again."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            returned = backward(ctx, *grads)
        if not state.grad_enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return returned
        with enable_grad():
            several = returned if isinstance(returned, tuple) else (returned,)
            edges = [edge_of(g) for g in grads if isinstance(g, Tensor)]
            made = tuple(_forbidden(x, edges) if isinstance(x, Tensor) else x for x in several)
        return made if isinstance(returned, tuple) else made[0]

    return wrapper


def _forbidden(x: Tensor, edges: Sequence[Any]) -> Tensor:
    def fail(g: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")

    x = alias(x)
    x._node = sized(CallNode("OnceDifferentiable", edges, x._array, fail), x)
    x._requires_grad = True
    return x
