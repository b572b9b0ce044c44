"""`OpSpec`: what an operation is. Behaviour lives elsewhere, in tables keyed by the spec.

One table per concern: NumPy kernels in `jitcore_runtime.kernels`, derivatives in `jitcore.autograd`, lowerings in
`jitcore.compiler`. `OPS` is the registry of every spec by name, filled when `jitcore_ir.ops` is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any

from .types import Type

if TYPE_CHECKING:
    from .graph import Operation, Region

# The types are Any so that a rule may name the ones it expects; the verifier sees to it that they are tensors.
InferRule = Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Type, ...]]


class Trait(Flag):
    """Facts about an operation that passes and lowerings may rely on."""

    NONE = 0
    ELEMENTWISE = auto()  # result[i] depends on operands[i] only; operands broadcast by NumPy's rules
    COMMUTATIVE = auto()  # swapping the two operands gives the same result (not for complex mul, to the bit)
    VIEW = auto()  # the NumPy kernel may return a view of its first operand's memory
    REDUCTION = auto()  # combines elements along `axes`
    TERMINATOR = auto()  # ends a block
    IMPURE = auto()  # has an effect beyond its results, so it is never removed, merged or folded
    LOOP = auto()  # exists only below the graph level
    CLOSED = auto()  # its regions use no values from outside: what they read are their arguments


class Kind(Enum):
    """What an attribute may hold. The text form, the archive and the verifier all follow this."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STRING = "string"
    DTYPE = "dtype"
    DIM = "dim"  # int or Expr
    INTS = "ints"  # tuple of int
    DIMS = "dims"  # tuple of int or Expr
    PAIRS = "pairs"  # tuple of (int, int)
    DENSE = "dense"  # numpy.ndarray, never written to


@dataclass(frozen=True, eq=False, slots=True)
class OpSpec:
    """An operation: its name, operand names (a last one starting with `*` takes any number), attribute kinds,
    the rule that gives result types (raising ShapeError, DTypeError or AttributeValueError), traits and version.

    `regions` is how many regions it owns; `check`, where given, raises VerificationError for an operation whose regions
    do not suit it (the rule sees operand types and attributes only). Where the result types follow from the regions,
    `infer_regions` gives them instead of the rule.
    """

    name: str
    operands: tuple[str, ...]
    infer: InferRule
    attributes: Mapping[str, Kind] = field(default_factory=dict)
    doc: str = ""
    traits: Trait = Trait.NONE
    regions: int = 0
    version: int = 1
    check: Callable[[Operation], None] | None = None
    infer_regions: Callable[[tuple[Any, ...], Mapping[str, Any], Sequence[Region]], tuple[Type, ...]] | None = None

    @property
    def is_variadic(self) -> bool:
        return bool(self.operands) and self.operands[-1].startswith("*")

    def takes(self, count: int) -> bool:
        """Whether the operation may have so many operands."""
        return count >= len(self.operands) - 1 if self.is_variadic else count == len(self.operands)

    def result_types(
        self, types: tuple[Any, ...], attributes: Mapping[str, Any], regions: Sequence[Region] = ()
    ) -> tuple[Type, ...]:
        """The types of the results. Raises what the rule raises."""
        if self.infer_regions is not None:
            return self.infer_regions(types, attributes, regions)
        return self.infer(types, attributes)

    def has(self, trait: Trait) -> bool:
        return bool(self.traits & trait)

    def __repr__(self) -> str:
        return f"OpSpec({self.name})"

    def __reduce__(self) -> tuple:
        return (spec_named, (self.name,))


OPS: dict[str, OpSpec] = {}


def register(spec: OpSpec) -> OpSpec:
    """Add `spec` to `OPS`. Raises ValueError where the name is taken."""
    if spec.name in OPS:
        raise ValueError(f"operation {spec.name!r} is defined twice")
    OPS[spec.name] = spec
    return spec


def spec_named(name: str) -> OpSpec:
    """The spec called `name`. Raises ValueError for an unknown one."""
    try:
        return OPS[name]
    except KeyError:
        raise ValueError(f"unknown operation {name!r}") from None
