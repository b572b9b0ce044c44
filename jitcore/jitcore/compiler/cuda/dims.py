"""Dimensions as Python source over the kernel's int64 parameters."""

from __future__ import annotations

from jitcore_ir.shapes import Expr, Extreme, Quotient, Symbol


def dim_source(dim: int | Expr) -> str:
    """The text of a dim; a symbol `N` is the parameter `dim_N`."""
    if isinstance(dim, int):
        return str(dim) if dim >= 0 else f"({dim})"
    terms = []
    for coefficient, atoms in dim.terms:
        factors = [_atom(atom) for atom in atoms]
        if coefficient != 1 or not factors:
            factors.insert(0, dim_source(coefficient))
        terms.append(" * ".join(factors))
    return terms[0] if len(terms) == 1 and "*" not in terms[0] else f"({' + '.join(terms)})"


def symbol_parameter(name: str) -> str:
    return f"dim_{name}"


def _atom(atom: Symbol | Quotient | Extreme) -> str:
    if isinstance(atom, Symbol):
        return symbol_parameter(atom.name)
    if isinstance(atom, Extreme):
        return f"{atom.operator}({dim_source(atom.left)}, {dim_source(atom.right)})"
    return f"({dim_source(atom.numerator)} {atom.operator} {dim_source(atom.denominator)})"
