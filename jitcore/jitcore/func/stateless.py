"""Modules as functions of their parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..nn.module import Module
from ..ops.join import stack
from ..tensor import Tensor


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with the named parameters and buffers in place of its own for this call.

    tie_weights: a parameter known by several names is replaced under all of them. strict: every name must be given,
    and no other. Raises RuntimeError (strict), KeyError for unknown names.
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        given = dict(parameter_and_buffer_dicts)
    else:
        given = {}
        for one in parameter_and_buffer_dicts:
            twice = set(given) & set(one)
            if twice:
                raise ValueError(f"{sorted(twice)[0]} appears in multiple dictionaries; behavior of functional call "
                                 f"is ambiguous")  # fmt: skip
            given.update(one)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


@contextlib.contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    known: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name in table:
                known[f"{prefix}.{name}" if prefix else name] = (table, name)
    if strict:
        missing = [n for n, (table, name) in known.items() if n not in given and table[name] is not None]
        unexpected = [n for n in given if n not in known]
        if missing or unexpected:
            raise RuntimeError(
                "Error(s) in loading state_dict: "
                + (f"Missing key(s): {missing}. " if missing else "")
                + (f"Unexpected key(s): {unexpected}." if unexpected else "")
            )
    for name in given:
        if name not in known:
            raise AttributeError(f"functional_call: {type(module).__name__} has no parameter or buffer {name!r}")
    replacements = dict(given)
    if tie_weights:
        owners: dict[int, list[str]] = {}
        for full, (table, name) in known.items():
            if table[name] is not None:
                owners.setdefault(id(table[name]), []).append(full)
        for names in owners.values():
            values = {id(given[n]): given[n] for n in names if n in given}
            if len(values) > 1:
                raise ValueError(f"functional_call got multiple values for keys {names}, which are tied. Consider "
                                 f"using tie_weights=False")  # fmt: skip
            for value in values.values():
                replacements.update(dict.fromkeys(names, value))
    before = [(table, name, table[name]) for table, name in (known[n] for n in replacements)]
    try:
        for full, value in replacements.items():
            table, name = known[full]
            table[name] = value
        yield
    finally:
        for table, name, value in before:
            table[name] = value


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of several models of one class, each name's tensors stacked along a new first axis, for
    vmap over functional_call. The stacked parameters are leaves of their own."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if not all(type(m) is type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {name: _stacked([p[name] for p in parameters]) for name in parameters[0]},
        {name: _stacked([b[name] for b in buffers]) for name in buffers[0]},
    )


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    needs = tensors[0].requires_grad
    if any(t.requires_grad != needs for t in tensors):
        raise RuntimeError("Expected tensors for one name to have the same .requires_grad")
    return stack([t.detach() for t in tensors]).requires_grad_(needs)
