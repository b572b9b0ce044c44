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

    The outer identity sees grad_output first; the inner one sees grad_input, calls the hooks and passes on what they
    return.
    """
    from ..autograd import Function
    from ..tensor import Tensor

    received = _Received()

    class Outputs(Function):
        runs_hooks = True

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
            return gradients

    class Inputs(Function):
        runs_hooks = True

        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Any:
            return tuple(t.view_as(t) for t in tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            for hook in list(module._full_backward_hooks.values()):
                given = hook(module, gradients, received.gradients)
                if given is not None:
                    gradients = given if isinstance(given, tuple) else (given,)
            return gradients

    places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
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
