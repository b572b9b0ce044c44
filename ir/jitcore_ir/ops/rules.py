"""Shape and dtype rules shared by the op families: broadcasting, axis checks, dtype checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..assumptions import at_least, equal
from ..dtypes import DType
from ..errors import AttributeValueError, DTypeError, ShapeError, VerificationError
from ..shapes import Dim, Shape
from ..spec import Kind, OpSpec, Trait, register
from ..types import TensorType, Type

if TYPE_CHECKING:
    from ..graph import Operation


def broadcast_shapes(name: str, shapes: Iterable[Shape]) -> Shape:
    """The shape several shapes broadcast to (aligned right; a dim of 1 stretches). Raises ShapeError."""
    shapes = list(shapes)
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    rank = max(len(s) for s in shapes)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dim: Dim = 1
        for shape in shapes:
            if len(shape) < -axis or shape[axis] == 1:
                continue
            if dim == 1:
                dim = shape[axis]
            elif equal(shape[axis], dim) or equal(shape[axis], 1):
                continue
            elif equal(dim, 1):
                dim = shape[axis]
            else:
                raise ShapeError(
                    f"{name}: shapes {' and '.join(show(s) for s in shapes)} do not broadcast: "
                    f"dimension {rank + axis} is {dim} in one and {shape[axis]} in another"
                )
        result.append(dim)
    return tuple(result)


def show(shape: Sequence[Dim]) -> str:
    """A shape as users write it: [2, 3]."""
    return f"[{', '.join(str(d) for d in shape)}]"


def check_dtype(name: str, operand: str, dtype: DType, allowed: Sequence[DType]) -> None:
    if dtype not in allowed:
        raise DTypeError(f"{name}: {operand} is {dtype.name}; allowed are {', '.join(d.name for d in allowed)}")


def check_axis(name: str, axis: int, rank: int) -> None:
    if not 0 <= axis < rank:
        raise AttributeValueError(f"{name}: axis {axis} is outside a tensor of {rank} dimensions")


def check_axes(name: str, axes: Sequence[int], rank: int) -> None:
    for axis in axes:
        check_axis(name, axis, rank)
    if len(set(axes)) != len(axes):
        raise AttributeValueError(f"{name}: axes {tuple(axes)} repeat one")


def check_sizes(name: str, shape: Sequence[Dim]) -> None:
    """Raise where a dimension is known to be negative."""
    for dim in shape:
        if not at_least(dim, 0):
            raise AttributeValueError(f"{name}: shape {show(shape)} has the negative dimension {dim}")


def check_region(operation: Operation, takes: Sequence[Type], gives: Sequence[Type]) -> None:
    """Raise VerificationError unless the operation's one region takes and yields values of these types."""
    block = operation.regions[0].block
    for what, given, wanted in (
        ("takes", [v.type for v in block.arguments], takes),
        ("yields", [v.type for v in block.terminator.operands], gives),
    ):
        if list(given) != list(wanted):
            given_text, wanted_text = (", ".join(map(str, types)) for types in (given, wanted))
            raise VerificationError(f"{operation.spec.name}: its region {what} ({given_text}), not ({wanted_text})")


def elementwise(
    name: str,
    operands: tuple[str, ...],
    dtypes: Sequence[DType],
    doc: str,
    result: DType | None = None,
    traits: Trait = Trait.NONE,
) -> OpSpec:
    """Register an op whose operands share one dtype out of `dtypes` and broadcast together."""

    def infer(types: tuple[TensorType, ...], attributes: Mapping[str, Any]) -> tuple[Type, ...]:
        dtype = types[0].dtype
        check_dtype(name, operands[0], dtype, dtypes)
        for operand, other in zip(operands[1:], types[1:], strict=True):
            if other.dtype is not dtype:
                raise DTypeError(f"{name}: {operands[0]} is {dtype.name} but {operand} is {other.dtype.name}")
        return (TensorType(result or dtype, broadcast_shapes(name, (t.shape for t in types))),)

    return register(OpSpec(name, operands, infer, {}, doc, Trait.ELEMENTWISE | traits))


def op(
    name: str,
    operands: tuple[str, ...],
    attributes: Mapping[str, Kind],
    doc: str,
    traits: Trait = Trait.NONE,
    regions: int = 0,
    check: Callable[[Operation], None] | None = None,
) -> Callable[[Callable[..., Any]], OpSpec]:
    """Decorator: register an op from its rule `rule(*operand_types, **attributes)`, which gives a type or a tuple of
    types. `check` is what the verifier asks of its regions."""

    def decorate(rule: Callable[..., Any]) -> OpSpec:
        def infer(types: tuple[Type, ...], given: Mapping[str, Any]) -> tuple[Type, ...]:
            found = rule(*types, **given)
            return found if isinstance(found, tuple) else (found,)

        return register(OpSpec(name, operands, infer, dict(attributes), doc, traits, regions, check=check))

    return decorate
