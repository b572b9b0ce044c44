"""The few context variables of eager execution, one set per thread: grad mode, the trace recorder, what undoes a
failing call, inference mode, the dtype of autocast."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from jitcore_ir import OpSpec
    from jitcore_ir.dtypes import DType

    from .autograd.tape import Node
    from .func.batching import Batching
    from .tensor import Tensor
    from .undo import Undo


class Recorder(Protocol):
    """What a tracer implements to see everything eager execution does. Called only while it is `state.recorder`.

    `made_up`: the inputs hold made-up values, and an operation that does not take them (it raises one of `forgiven`)
    gives zeros.
    """

    made_up: bool
    forgiven: tuple[type[Exception], ...]

    def operation(
        self, spec: OpSpec, operands: Sequence[Tensor], attributes: Mapping[str, Any], result: Tensor
    ) -> None:
        """An operation ran; its kernel is done. Attributes may hold symbolic sizes."""

    def write(self, target: Tensor, value: Tensor) -> bool | None:
        """`target`'s memory is about to become `value`, which has its shape and dtype. True: that has been done."""

    def replace(self, tensor: Tensor) -> None:
        """The tensor itself is about to get other memory or another shape."""

    def create(self, tensor: Tensor) -> None:
        """A tensor was made from Python or NumPy data: a constant of the trace."""

    def read(self, tensor: Tensor, kind: str, outcome: Any) -> Any:
        """Python is about to see a value. `kind` is "bool", "int", "float", "item", "tolist" or "numpy". Returns what
        it shall see: `outcome`, or numbers in its place that report what becomes of them."""

    def get_grad(self, tensor: Tensor) -> None:
        """`.grad` of a leaf is about to be read."""

    def set_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        """`.grad` of a leaf is about to be replaced."""

    def look(self, tensor: Tensor, what: str) -> None:
        """Python is about to see what a tensor has besides elements and shape: "is_leaf", or what is another in each
        run, such as "data_ptr()"."""

    def backward(self, node: Node) -> None:
        """Gradients are about to flow through a node of the tape."""

    def run_hooks(self, tensor: Tensor) -> None:
        """The hooks of a leaf, if it has any, are about to be run with its gradient."""

    def scalar(self, number: float, name: str, source: Any, make: Any) -> Tensor:
        """A Python number that each replay reads anew, as a 0-d tensor that `make(number)` gives."""

    def shape(self, tensor: Tensor) -> tuple | None:
        """The tensor's sizes where some are symbolic, else None."""


class State(threading.local):
    """Class attributes are each new thread's defaults."""

    grad_enabled: bool = True
    inference: bool = False
    captures: bool = False
    """Whether the user's running backward is one for chosen inputs."""
    wanted: Set[Any] | None = None
    """In a backward for chosen inputs: the edges that lead to them. None in one for all leaves."""
    recorder: Recorder | None = None
    undo: Undo | None = None
    """What keeps tensors as they were before a call that is to leave no trace if it fails; see `undo`."""
    autocast: DType | None = None
    saved_hooks: tuple[Any, Any] | None = None
    """(pack, unpack) for tensors that are saved for backward; see `autograd.graph`."""
    anomaly: str | None = None
    """Anomaly mode: "nan" checks gradients too, "lines" only remembers the forward lines."""
    eager_only: bool = False
    """Python looks into the tape (the two above): compiled functions run eagerly."""
    batching: Batching | None = None
    """The innermost `vmap` that is running; it is then the recorder too, so that eager calls ask for one of them."""


state = State()
