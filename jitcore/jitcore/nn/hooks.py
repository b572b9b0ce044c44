"""Hook tables and the handles that take hooks out again."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

_numbers = itertools.count()


class RemovableHandle:
    """Returned when a hook is registered; `remove()`, or leaving its `with` block, takes the hook out."""

    def __init__(self, table: OrderedDict[int, Any], number: int) -> None:
        self._table = table
        self._number = number

    @classmethod
    def add(cls, table: OrderedDict[int, Any], entry: Any, prepend: bool = False) -> RemovableHandle:
        """Put `entry` in `table`, first where `prepend`."""
        number = next(_numbers)
        table[number] = entry
        if prepend:
            table.move_to_end(number, last=False)
        return cls(table, number)

    def remove(self) -> None:
        self._table.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class WithoutModule:
    """A hook that is called without the module: older hooks of PyTorch take none."""

    def __init__(self, hook: Any) -> None:
        self.hook = hook

    def __call__(self, module: Any, *arguments: Any) -> Any:
        return self.hook(*arguments)


class _Received:
    """The gradients that came in, for the hooks; on an object of ours, which a recording does not watch."""

    __slots__ = ("gradients",)

    def __init__(self) -> None:
        self.gradients: tuple = ()


def forward_with_backward_hooks(module: Any, arguments: tuple, keywords: dict) -> Any:
    """`module.forward` with an identity around its inputs and outputs where the full backward hooks listen.

    The outer identity sees grad_output first; the inner one sees grad_input (zeros for tensors without gradient, None
    for what is no tensor), calls the hooks and passes on what they return. Where no argument requires grad the outer
    one calls them. Raises RuntimeError where a hook then returns a gradient.
    """
    from ..autograd import Function
    from ..ops import zeros_like
    from ..state import state
    from ..tensor import Tensor

    received = _Received()
    places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad and state.grad_enabled]
    count, given_arguments = len(arguments), arguments

    class Outputs(Function):
        beside = "a hook of a module on its gradients"

        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Any:
            return tuple(t.view_as(t) for t in tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            for hook in list(module._full_backward_pre_hooks.values()):
                given = hook(module, gradients)
                if given is not None:
                    gradients = given if isinstance(given, tuple) else (given,)
            received.gradients = gradients
            if not places:
                for hook in list(module._full_backward_hooks.values()):
                    given = hook(module, (None,) * count, gradients)
                    if given is not None and any(g is not None for g in given):
                        raise RuntimeError(
                            "Backward hook for Modules where no input requires gradient should always return None or "
                            "None for all gradients."
                        )
            return gradients

    class Inputs(Function):
        beside = "a hook of a module on its gradients"

        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Any:
            return tuple(t.view_as(t) for t in tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            whole: list[Any] = [zeros_like(x) if isinstance(x, Tensor) else None for x in given_arguments]
            for place, gradient in zip(places, gradients, strict=True):
                whole[place] = gradient
            packed = tuple(whole)
            for hook in list(module._full_backward_hooks.values()):
                given = hook(module, packed, received.gradients)
                if given is not None:
                    packed = given if isinstance(given, tuple) else (given,)
            return tuple(packed[place] for place in places)

    if places:
        wrapped = Inputs.apply(*(arguments[i] for i in places))
        fresh = list(arguments)
        for place, tensor in zip(places, wrapped if isinstance(wrapped, tuple) else (wrapped,), strict=True):
            fresh[place] = tensor
        arguments = tuple(fresh)
    result = module.forward(*arguments, **keywords)
    if isinstance(result, Tensor):
        made = Outputs.apply(result)
        return made[0] if isinstance(made, tuple) else made
    if isinstance(result, tuple) and all(isinstance(r, Tensor) for r in result):
        return Outputs.apply(*result)
    return result
