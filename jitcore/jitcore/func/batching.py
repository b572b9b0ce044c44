"""`Batching`: how operations run inside `vmap`.

A tensor that vmap hands to the user's function has the shape of one example, and its `_array` is a `BatchArray`: one
example's memory that carries the tensor of the whole batch (axis 0) along. Code that looks at shapes and dtypes sees an
example; `dispatch.apply` gives operations on such tensors to the running `Batching`, which applies the operation's rule
of `rules.BATCHING` to the whole batches, one level further out: another vmap, a trace, or eager execution. Gradients of
either level are recorded by the tape of that level.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from jitcore_ir import OpSpec
from jitcore_runtime.kernels import KERNELS

from .. import dispatch
from ..autograd import tape
from ..autograd.tape import edge_of
from ..state import Recorder, state
from ..symbolic import concrete
from ..tensor import Tensor, alias, wrap
from .rules import BATCHING, to_shape


class BatchArray(np.ndarray):
    """One example's memory, with the tensor of the whole batch. NumPy refuses to compute with it."""

    value: Tensor
    level: Batching

    def __array_ufunc__(self, *given: Any, **options: Any) -> NoReturn:
        raise RuntimeError(_READ)

    def __array_function__(self, function: Any, *given: Any) -> Any:
        if function is np.may_share_memory:  # of addresses alone
            return super().__array_function__(function, *given)
        raise RuntimeError(_READ)


class Batching:
    """One running vmap over batches of `size`; `with` it, it is both the recorder and `state.batching`.

    randomness: "error", "same" or "different" numbers for the examples.
    """

    def __init__(self, size: Any, randomness: str) -> None:
        self.size = size
        self.randomness = randomness
        self.alive = False
        self.made_up = state.recorder is not None and state.recorder.made_up
        self.forgiven = () if state.recorder is None else state.recorder.forgiven
        self.began = 0
        """Nodes of the tape with higher numbers were made inside."""
        self.recorder: Recorder | None = None
        self.outer: Batching | None = None

    def __enter__(self) -> Batching:
        self.recorder, self.outer = state.recorder, state.batching
        state.recorder = state.batching = self
        self.alive = True
        self.began = next(tape._sequence)
        return self

    def __exit__(self, *exception: object) -> None:
        state.recorder, state.batching = self.recorder, self.outer
        self.alive = False

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Run as if this vmap were not there."""
        before = state.recorder, state.batching
        state.recorder, state.batching = self.recorder, self.outer
        try:
            yield
        finally:
            state.recorder, state.batching = before

    # Tensors in and out

    def wrap(self, value: Tensor) -> Tensor:
        """One example's tensor standing for the batch `value`, whose axis 0 counts the examples."""
        return wrap(self._array(value))

    def _array(self, value: Tensor) -> BatchArray:
        whole = value._array
        example = whole[0, ...] if whole.shape[0] else np.broadcast_to(np.zeros((), whole.dtype), whole.shape[1:])
        array = example.view(BatchArray)
        array.value, array.level = value, self
        return array

    def batch_of(self, x: Tensor) -> Tensor | None:
        """The batch x stands for; None where x is the same for all examples. Raises RuntimeError if its vmap ended."""
        array = x._array
        if type(array) is not BatchArray:
            return None
        if array.level is self:
            return array.value
        if not array.level.alive:
            raise RuntimeError("a tensor of one example is used after the vmap that made it has ended")
        return None

    # What dispatch asks for

    def kernel(self, spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any]) -> np.ndarray:
        """The memory of the operation's result."""
        batches = [self.batch_of(x) for x in operands]
        if any(b is not None for b in batches):
            with self.outside():
                return self._array(BATCHING[spec](spec, operands, batches, attributes, self.size))
        if self.outer is not None:
            return self.outer.kernel(spec, operands, attributes)
        return KERNELS[spec](*[x._array for x in operands], **{k: concrete(v) for k, v in attributes.items()})

    def bits(self, generator: Any, shape: tuple) -> Tensor:
        """Random bits: of the same, or of each example."""
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                "'different' randomness flags on vmap or perform the randomness operation out of vmap"
            )
        different = self.randomness == "different"
        with self.outside():
            drawn = generator.bits((self.size, *shape) if different else shape)
        return self.wrap(drawn) if different else drawn

    def detach(self, x: Tensor) -> Tensor:
        """x without history, here and further out."""
        value = self.batch_of(x)
        if value is None:
            return alias(x) if self.outer is None else self.outer.detach(x)
        with self.outside():
            inner = value.detach()
        made = alias(x)
        made._array = self._array(inner)
        return made

    def operation(
        self, spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any], result: Tensor
    ) -> None:
        if self.recorder is not None and self.batch_of(result) is None:
            self.recorder.operation(spec, operands, attributes, result)

    def write(self, target: Tensor, value: Tensor) -> bool | None:
        into, batch = self.batch_of(target), self.batch_of(value)
        if into is None and batch is not None:
            raise RuntimeError(
                "vmap: an in-place operation writes a tensor that differs between the examples to one that is the same "
                "for all of them. Use the operation that is not in place, or make the written tensor inside the "
                "function from a mapped input (x.new_zeros(...), zeros_like(x))"
            )
        if into is None:
            return None if self.recorder is None else self.recorder.write(target, value)
        with self.outside():
            dispatch.write(into, value if batch is None else to_shape(batch, into._array.ndim))
        return True

    def replace(self, tensor: Tensor) -> None:
        if self.recorder is not None:
            self.recorder.replace(tensor)

    def create(self, tensor: Tensor) -> None:
        if self.recorder is not None:
            self.recorder.create(tensor)

    def read(self, tensor: Tensor, kind: str, outcome: Any) -> Any:
        if self.batch_of(tensor) is not None:
            raise RuntimeError(_BRANCH if kind == "bool" else _ITEM if kind == "item" else _READ)
        return outcome if self.recorder is None else self.recorder.read(tensor, kind, outcome)

    def get_grad(self, tensor: Tensor) -> None:
        if self.recorder is not None:
            self.recorder.get_grad(tensor)

    def set_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        if self.recorder is not None:
            self.recorder.set_grad(tensor, grad)

    def look(self, tensor: Tensor, what: str) -> None:
        if self.recorder is not None:
            self.recorder.look(tensor, what)

    def backward(self, node: tape.Node) -> None:
        if self.recorder is not None:
            self.recorder.backward(node)

    def run_hooks(self, tensor: Tensor) -> None:
        if self.recorder is not None:
            self.recorder.run_hooks(tensor)

    def refuse(self, what: str, location: Any) -> None:
        refuse = getattr(self.recorder, "refuse", None)
        if refuse is not None:
            refuse(what, location)

    def scalar(self, number: float, name: str, source: Any, make: Any) -> Tensor:
        return make(number) if self.recorder is None else self.recorder.scalar(number, name, source, make)

    def shape(self, tensor: Tensor) -> tuple | None:
        if self.recorder is None:
            return None
        value = self.batch_of(tensor)
        found = self.recorder.shape(tensor if value is None else value)
        return found if found is None or value is None else found[1:]


def carries(x: Tensor) -> bool:
    """Whether x has gradient history, here or in a batch it stands for."""
    return any(edge_of(y) is not None for y in (x, *all_below(x)))


def all_below(x: Tensor) -> Iterator[Tensor]:
    """The batch that x stands for, of whichever vmap, and what that stands for, and so on."""
    while type(x._array) is BatchArray:
        x = x._array.value
        yield x


_READ = "vmap: the values of a mapped tensor differ between the examples, so Python and NumPy cannot read them"
_ITEM = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
    "please try to rewrite what you're doing with other operations."
)
_BRANCH = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that: "
    "use jitcore.where instead of `if`."
)
