"""`functional_call`: a module's forward with other tensors in place of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...tensor import Tensor
from ..module import Module


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with the named parameters and buffers replaced for the call.

    tie_weights: a tensor that the module holds under several names is replaced under all of them. strict: raises
    RuntimeError where a name is missing or unknown.
    """
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


@contextmanager
def replaced(module: Module, given: Mapping[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    """While it lasts, the module holds the given tensors."""
    places: dict[str, tuple[dict[str, Any], str]] = {}
    names_of: dict[int, list[str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                full = f"{prefix}.{name}" if prefix else name
                places[full] = (table, name)
                if value is not None:
                    names_of.setdefault(id(value), []).append(full)
    unknown = [name for name in given if name not in places]
    missing = [name for name, (table, own) in places.items() if table[own] is not None and name not in given]
    new: dict[str, Tensor] = {}
    for name, tensor in given.items():
        if name in places:
            table, own = places[name]
            for twin in names_of.get(id(table[own]), [name]) if tie_weights else [name]:
                if twin != name and twin in given and given[twin] is not tensor:
                    raise ValueError(f"functional_call got different tensors for {name!r} and {twin!r}, which are tied")
                new[twin] = tensor
    missing = [name for name in missing if name not in new]
    if strict and (unknown or missing):
        raise RuntimeError(f"Unexpected key(s): {unknown}; missing key(s): {missing}")
    if unknown:
        raise AttributeError(f"{type(module).__name__} has no parameter or buffer {unknown[0]!r}")
    before = {name: places[name][0][places[name][1]] for name in new}
    try:
        for name, tensor in new.items():
            places[name][0][places[name][1]] = tensor
        yield
    finally:
        for name, tensor in before.items():
            places[name][0][places[name][1]] = tensor


__all__ = ["functional_call"]
