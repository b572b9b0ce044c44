"""`LatestCall`: the call that the next one is compared with first, at a tenth of the cost of building a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..random import Generator
from ..tensor import Tensor
from .keys import modes
from .tree import Node
from .variant import Variant


@dataclass(frozen=True, slots=True)
class LatestCall:
    """The latest replayed call for which one program did it all: what the next one is compared with first.

    `fits(leaves)` says whether other arguments have the same key; `structure` is theirs, None where every argument is a
    leaf and none is named.
    """

    node: Node
    variant: Variant
    structure: Any
    fits: Callable[[Sequence[Any]], bool]

    @classmethod
    def of(cls, node: Node, leaves: Sequence[Any], structure: Any, plain: bool) -> LatestCall | None:
        tensors = [a for a in leaves if isinstance(a, Tensor)]
        if node.variant is None or len({id(a._storage) for a in tensors}) < len(tensors):
            return None
        if any(type(a) is not Tensor or a.__dict__ for a in tensors) or any(type(a) is Generator for a in leaves):
            return None
        return cls(node, node.variant, None if plain else structure, _same_kind(leaves))


def _same_kind(leaves: Sequence[Any]) -> Callable[[Sequence[Any]], bool]:
    """A function that tells whether other leaves have the types, shapes, dtypes and modes of these, and no memory in
    common. Written out as one expression: 0.2 us a tensor, a tenth of the cost of building a key."""
    names: dict[str, Any] = {"Tensor": Tensor, "modes": modes(), "now": modes}
    conditions = ["modes == now()"]
    for n, leaf in enumerate(leaves):
        if type(leaf) is float:
            conditions.append(f"type(a{n}) is float")
            continue
        if type(leaf) is not Tensor:
            names |= {f"s{n}": leaf, f"t{n}": type(leaf)}
            by_value = f" or (type(a{n}) is t{n} and a{n} == s{n})" if type(leaf) in (int, str, bool) else ""
            conditions.append(f"(a{n} is s{n}{by_value})")
            continue
        array = leaf._array
        names |= {f"s{n}": array.shape, f"t{n}": array.strides, f"d{n}": array.dtype}
        wanted = leaf.requires_grad
        flag = f"(a{n}._requires_grad if a{n}._base is None else a{n}.requires_grad)"
        conditions.append(f"type(a{n}) is Tensor and (x := a{n}._array).shape == s{n} and x.strides == t{n}")
        conditions.append(f"x.dtype == d{n} and {flag} is {wanted} and not a{n}.__dict__")
    storages = [f"a{n}._storage" for n, leaf in enumerate(leaves) if type(leaf) is Tensor]
    if len(storages) > 1:
        conditions.append(f"len({{{', '.join(storages)}}}) == {len(storages)}")
    unpack = "".join(f"a{n}, " for n in range(len(leaves)))
    source = [
        "def fits(arguments):",
        f"    if len(arguments) != {len(leaves)}: return False",
        f"    {unpack}= arguments" if unpack else "    pass",
        f"    return {' and '.join(conditions)}",
    ]
    exec("\n".join(source), names)
    return names["fits"]
