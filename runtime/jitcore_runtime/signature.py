"""`Signature`: what a program takes. Checks arrays against it and finds the symbols' values from their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jitcore_ir import Graph, ShapeError, TensorType
from jitcore_ir.dtypes import DType
from jitcore_ir.shapes import Expr, Symbol, evaluate, symbols_of

from .errors import InputError

Dim = int | Expr


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: its name (never empty), element type and shape, whose dims may be expressions over symbols."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype.name}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a program, in order."""

    inputs: tuple[InputSpec, ...]

    @staticmethod
    def of(graph: Graph) -> Signature:
        """The signature of a graph; an input without a name is called `input0`, `input1` ..."""
        specs = []
        for number, value in enumerate(graph.inputs):
            assert isinstance(value.type, TensorType)
            specs.append(InputSpec(value.name or f"input{number}", value.type.dtype, tuple(value.type.shape)))
        return Signature(tuple(specs))

    def outside(self, symbol: str, value: int, minimum: int, maximum: int | None) -> str:
        """Words for a value outside the symbol's range, as a dimension that depends on it alone where there is one."""
        name, dim = symbol, None
        for spec in self.inputs:
            for axis, size in enumerate(spec.shape):
                if dim is None and symbols_of(size) == [symbol]:
                    name, dim = f"dimension {axis} of input {spec.name!r}", size
        given, low, high = (
            n if n is None or dim is None else evaluate(dim, {symbol: n}) for n in (value, minimum, maximum)
        )
        return f"{name} is {given}, expected {low} to {'more' if high is None else high}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols in the shapes, in order of first appearance."""
        return tuple(dict.fromkeys(s for spec in self.inputs for dim in spec.shape for s in symbols_of(dim)))

    def bind(self, arrays: Sequence[np.ndarray]) -> dict[str, int]:
        """Check count, dtypes, ranks and every dim of `arrays`, and give the symbols' values.

        Raises InputError naming the input, what was given and what is expected.
        """
        if len(arrays) != len(self.inputs):
            raise InputError(f"{len(arrays)} inputs were given, expected {len(self.inputs)}: {self}")
        for spec, array in zip(self.inputs, arrays):
            _check_kind(spec, array)
        values: dict[str, int] = {}
        origins: dict[str, str] = {}
        dims = [
            (spec, axis, dim, array.shape[axis])
            for spec, array in zip(self.inputs, arrays)
            for axis, dim in enumerate(spec.shape)
        ]
        # Plain symbols first, then expressions in one unknown such as 2*N + 1, then everything is checked.
        for solve in (_plain, _linear):
            for spec, axis, dim, size in dims:
                found = solve(dim, size, values)
                if found is not None and found[0] not in values:
                    values[found[0]] = found[1]
                    origins[found[0]] = f"dimension {axis} of input {spec.name!r}"
        for spec, axis, dim, size in dims:
            _check_dim(spec, axis, dim, size, values, origins)
        return values

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.inputs))})"


def bind_symbols(graph: Graph, arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """`Signature.of(graph).bind(arrays)`."""
    return Signature.of(graph).bind(arrays)


def _check_kind(spec: InputSpec, array: np.ndarray) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"input {spec.name!r} is a {type(array).__name__}, expected a NumPy array for {spec}")
    if array.dtype != spec.dtype.numpy:
        raise InputError(f"input {spec.name!r} has dtype {array.dtype}, expected {spec.dtype.name}")
    if array.ndim != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} has shape {list(array.shape)} of {array.ndim} dimensions, "
            f"expected {len(spec.shape)}: {spec}"
        )


def _check_dim(
    spec: InputSpec, axis: int, dim: Dim, size: int, values: Mapping[str, int], origins: Mapping[str, str]
) -> None:
    if isinstance(dim, int):
        if size != dim:
            raise InputError(f"input {spec.name!r}: dimension {axis} is {size}, expected {dim} ({spec})")
        return
    unknown = [s for s in symbols_of(dim) if s not in values]
    if unknown:
        multiple = _multiple(dim)
        raise InputError(
            f"input {spec.name!r}: dimension {axis} is {size}, expected "
            + (multiple or f"{dim}, which no {' or '.join(unknown)} gives")
        )
    try:
        expected = evaluate(dim, values)
    except ShapeError as error:
        raise InputError(f"input {spec.name!r}: dimension {axis} cannot be {dim}: {error}") from error
    if size != expected:
        known = ", ".join(f"{s} = {values[s]} from {origins[s]}" for s in symbols_of(dim))
        raise InputError(f"input {spec.name!r}: dimension {axis} is {size}, expected {dim} = {expected} ({known})")


def _multiple(dim: Expr) -> str | None:
    """Words for the sizes that `8*N` or `8*N + 3` may be."""
    constant = sum(c for c, atoms in dim.terms if not atoms)
    slopes = [c for c, atoms in dim.terms if atoms]
    if len(slopes) > 1 or slopes[0] < 2:
        return None
    return f"a multiple of {slopes[0]}" + (f" plus {constant}" if constant > 0 else "")


def _plain(dim: Dim, size: int, values: Mapping[str, int]) -> tuple[str, int] | None:
    """The symbol and its value where dim is a symbol alone."""
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        coefficient, atoms = dim.terms[0]
        if coefficient == 1 and len(atoms) == 1 and isinstance(atoms[0], Symbol):
            return atoms[0].name, size
    return None


def _linear(dim: Dim, size: int, values: Mapping[str, int]) -> tuple[str, int] | None:
    """The symbol and its value where dim is a multiple of one unknown symbol plus what is known."""
    if isinstance(dim, int):
        return None
    unknown = [s for s in symbols_of(dim) if s not in values]
    if len(unknown) != 1:
        return None
    symbol = unknown[0]
    try:
        base, slope = (evaluate(dim, {**values, symbol: n}) for n in (0, 1))
        slope -= base
        if slope == 0 or (size - base) % slope:
            return None
        value = (size - base) // slope
        # Divisions and extremes are not linear: the answer must give the size back.
        if value < 0 or evaluate(dim, {**values, symbol: value}) != size:
            return None
    except ShapeError:  # a division by the symbol, at 0
        return None
    return symbol, value
