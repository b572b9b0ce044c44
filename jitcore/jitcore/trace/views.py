"""View chains: how a tensor is cut out of its storage, replayed as graph operations, forwards and backwards.

A chain is a tuple of `(spec, attributes)` steps leading from the storage's whole array to the tensor. Reading a view
applies the steps to the storage's value; writing through one puts the new elements back, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitcore_ir import OpSpec, Value, ops

from ..errors import TraceError
from ..symbolic import expression
from ..tensor import alias

Step = tuple[OpSpec, Mapping[str, Any]]
Chain = tuple[Step, ...]
Emit = Callable[[OpSpec, Sequence[Value], Mapping[str, Any]], Value]


def starts_with(chain: Chain, prefix: Chain) -> bool:
    """Whether `chain` continues `prefix`."""
    if len(prefix) > len(chain):
        return False
    return all(a is b or (a[0] is b[0] and a[1] == b[1]) for a, b in zip(chain, prefix, strict=False))


def same_chain(chain: Chain, other: Chain) -> bool:
    """Whether both lead to the same elements in the same way."""
    return len(chain) == len(other) and starts_with(chain, other)


def whole_memory(tensor: Any) -> Any:
    """The storage that `tensor` is in, as a tensor."""
    whole = alias(tensor)
    whole._array, whole._view = tensor._storage.array, ()
    return whole


def graph_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as the IR holds them: symbolic sizes as expressions, lists as tuples."""
    return {name: _graph_attribute(value) for name, value in attributes.items()}


def _graph_attribute(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_graph_attribute(item) for item in value)
    return expression(value) if hasattr(value, "expr") else value


def read_through(emit: Emit, value: Value, chain: Chain) -> Value:
    """`value` after the steps of `chain`."""
    for spec, attributes in chain:
        value = emit(spec, [value], graph_attributes(attributes))
    return value


def write_through(emit: Emit, value: Value, chain: Chain, update: Value) -> Value:
    """`value` with the elements that `chain` leads to replaced by `update`. Raises TraceError where they overlap."""
    if not chain:
        return update
    (spec, given), rest = chain[0], chain[1:]
    attributes = graph_attributes(given)
    inner = write_through(emit, emit(spec, [value], attributes), rest, update) if rest else update
    put_back = _PUT_BACK.get(spec)
    if put_back is None:
        raise TraceError(f"a write through {spec.name}, whose elements share memory, cannot be recorded; clone() first")
    return put_back(emit, value, attributes, inner)


def _unslice(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.SLICE_UPDATE, [value, update], {"starts": attributes["starts"], "steps": attributes["steps"]})


def _unpermute(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    forward = attributes["permutation"]
    inverse = tuple(forward.index(axis) for axis in range(len(forward)))
    return emit(ops.PERMUTE, [update], {"permutation": inverse})


def _unreshape(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.RESHAPE, [update], {"shape": value.type.shape})


def _unreal(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.MAKE_COMPLEX, [update, emit(ops.IMAG, [value], {})], {})


def _unimag(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.MAKE_COMPLEX, [emit(ops.REAL, [value], {}), update], {})


def _join_parts(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.VIEW_AS_COMPLEX, [update], {})


def _split_parts(emit: Emit, value: Value, attributes: Mapping[str, Any], update: Value) -> Value:
    return emit(ops.VIEW_AS_REAL, [update], {})


_PUT_BACK: dict[OpSpec, Callable[[Emit, Value, Mapping[str, Any], Value], Value]] = {
    ops.SLICE: _unslice,
    ops.PERMUTE: _unpermute,
    ops.RESHAPE: _unreshape,
    ops.REAL: _unreal,
    ops.IMAG: _unimag,
    ops.VIEW_AS_REAL: _join_parts,
    ops.VIEW_AS_COMPLEX: _split_parts,
}
