"""Conversions of dtype and device, and leaf-level changes: requires_grad_, copy_, fill_, backward and hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitcore_ir import dtypes as D
from jitcore_ir import ops
from jitcore_ir.dtypes import DType

from ..autograd.hooks import Handle, hooks_of, node_hooks
from ..device import Device, check_device
from ..dispatch import apply, write
from ..promotion import as_operand
from ..state import state
from ..tensor import Tensor, method, sync
from .creation import check_options


@method
def to(
    input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, copy: bool = False, **options: Any
) -> Tensor:
    """input in another dtype: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`. Itself if nothing changes.

    Raises RuntimeError for a device other than the CPU.
    """
    for argument in args:
        if isinstance(argument, DType):
            dtype = argument
        elif isinstance(argument, Tensor):
            dtype = argument.dtype
        elif isinstance(argument, str | Device):
            device = argument
        elif not isinstance(argument, bool) and argument is not None:
            raise TypeError(f"to() received an invalid argument of type {argument.__class__.__name__}")
    check_device(device)
    check_options(options)
    if dtype is None or dtype is input.dtype:
        return apply(ops.COPY, (input,)) if copy else input
    return apply(ops.CAST, (input,), {"dtype": dtype})


def _caster(name: str, dtype: DType) -> Callable:
    def cast(input: Tensor, memory_format: Any = None) -> Tensor:
        return input if input.dtype is dtype else apply(ops.CAST, (input,), {"dtype": dtype})

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"input as {dtype.name}; itself where it is that already."
    return method(cast)


for _name, _dtype in {
    "float": D.float32, "double": D.float64, "half": D.float16, "bfloat16": D.bfloat16, "long": D.int64, "int": D.int32,
    "short": D.int16, "char": D.int8, "byte": D.uint8, "bool": D.bool_, "cfloat": D.complex64, "cdouble": D.complex128,
}.items():  # fmt: skip
    _caster(_name, _dtype)

_OLD_NAMES = {
    "FloatTensor": D.float32, "DoubleTensor": D.float64, "HalfTensor": D.float16, "BFloat16Tensor": D.bfloat16,
    "LongTensor": D.int64, "IntTensor": D.int32, "ShortTensor": D.int16, "CharTensor": D.int8, "ByteTensor": D.uint8,
    "BoolTensor": D.bool_, "ComplexFloatTensor": D.complex64, "ComplexDoubleTensor": D.complex128,
}  # fmt: skip


@method
def type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The old name of the tensor's type, or the tensor converted to a dtype."""
    if dtype is None:
        return "jitcore." + next((n for n, d in _OLD_NAMES.items() if d is input.dtype), input.dtype.name)
    if isinstance(dtype, str):
        name = dtype.rsplit(".", 1)[-1]
        if name not in _OLD_NAMES:
            raise ValueError(f"invalid type: {dtype!r}; known are {', '.join(_OLD_NAMES)}")
        dtype = _OLD_NAMES[name]
    return to(input, dtype if isinstance(dtype, DType) else getattr(dtype, "dtype", dtype))


@method
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """input in other's dtype."""
    return to(input, other.dtype)


@method
def cpu(input: Tensor, memory_format: Any = None) -> Tensor:
    """input itself: it is in host memory already."""
    return input


@method
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Not available: RuntimeError."""
    check_device("cuda")
    return input


@method
def pin_memory(input: Tensor) -> Tensor:
    """input itself."""
    return input


@method
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a real floating one."""
    return input.dtype.is_floating_point


@method
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.dtype.is_complex


@method
def is_inference(input: Tensor) -> bool:
    """False: tensors made in inference mode are ordinary ones here."""
    return False


# Writes


@method
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write src, broadcast and cast, into this tensor's memory."""
    write(self, src if isinstance(src, Tensor) else as_operand(src, self.dtype))
    return self


@method
def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one number to every element."""
    if isinstance(value, Tensor) and value._array.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value._array.ndim} dimensions."
        )
    write(self, value if isinstance(value, Tensor) else as_operand(value, self.dtype))
    return self


@method
def zero_(self: Tensor) -> Tensor:
    """Write 0 to every element."""
    return fill_(self, 0)


@method
def set_(self: Tensor, source: Tensor) -> Tensor:
    """Look at source's memory from now on."""
    self.data = source
    return self


# Gradient flags and hooks


@method
def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Ask for operations on this leaf to be recorded. Raises RuntimeError for integers and for non-leaves."""
    sync(self)
    if requires_grad and self._array.dtype.kind not in "fcV":
        raise RuntimeError(
            f"only Tensors of floating point and complex dtype can require gradients, and this one is {self.dtype.name}"
        )
    if self._node is not None:
        if not requires_grad:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        return self
    if state.undo is not None:
        state.undo.change(self)
    self._requires_grad = bool(requires_grad)
    return self


@method
def detach_(self: Tensor) -> Tensor:
    """Forget this tensor's history; it becomes a leaf. Raises RuntimeError for a view."""
    if self._base is not None and self._requires_grad:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    if state.undo is not None:
        state.undo.change(self)
    self._node = None
    self._requires_grad = False
    return self


@method
def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate this tensor's gradients into the leaves it depends on. See `autograd.backward`."""
    from ..autograd.engine import backward as run

    run(self, gradient, retain_graph, create_graph, inputs)


@method
def retain_grad(self: Tensor) -> None:
    """Keep `.grad` of this non-leaf in backward."""
    import weakref

    sync(self)
    if not self._requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self._node is not None:
        _tell_recorder(self)
        if state.undo is not None:
            state.undo.change(self._node, ("retains",))
        self._node.retains = weakref.ref(self)


@method
def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """Call `hook(grad)` when this tensor's gradient is known; what it returns, if anything, replaces the gradient."""
    sync(self)
    if not self._requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    _tell_recorder(self)
    return Handle(node_hooks(self._node) if self._node is not None else hooks_of(self).before, hook)


@method
def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> Handle:
    """Call `hook(self)` after backward has added to this leaf's `.grad`."""
    sync(self)
    if not self._requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self._node is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    _tell_recorder(self)
    return Handle(hooks_of(self).after, hook)


def _tell_recorder(tensor: Tensor) -> None:
    """That a hook will be put on a tensor, which replays would not do."""
    if (tell := getattr(state.recorder, "hook_is_put", None)) is not None:
        tell(tensor)
