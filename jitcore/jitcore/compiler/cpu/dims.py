"""Dimensions as LLVM values: integers as constants, expressions computed from the symbols' values."""

from __future__ import annotations

from collections.abc import Mapping

from llvmlite import ir

from jitcore_ir.shapes import Expr, Extreme, Quotient, Symbol

I64 = ir.IntType(64)


def load_symbols(builder: ir.IRBuilder, dims: ir.Value, symbols: tuple[str, ...]) -> dict[str, ir.Value]:
    """The values of the symbols, read from the i64 array `dims`."""
    found = {}
    for number, name in enumerate(symbols):
        place = builder.gep(dims, [I64(number)], source_etype=I64)
        found[name] = builder.load(place, typ=I64)
    return found


def emit_dim(builder: ir.IRBuilder, dim: int | Expr, symbols: Mapping[str, ir.Value]) -> ir.Value:
    """The i64 value of a dim."""
    if isinstance(dim, int):
        return I64(dim)
    total: ir.Value | None = None
    for coefficient, atoms in dim.terms:
        term: ir.Value = I64(coefficient)
        for atom in atoms:
            term = builder.mul(term, _atom(builder, atom, symbols))
        total = term if total is None else builder.add(total, term)
    assert total is not None
    return total


def _atom(builder: ir.IRBuilder, atom: Symbol | Quotient | Extreme, symbols: Mapping[str, ir.Value]) -> ir.Value:
    if isinstance(atom, Symbol):
        return symbols[atom.name]
    if isinstance(atom, Extreme):
        left, right = emit_dim(builder, atom.left, symbols), emit_dim(builder, atom.right, symbols)
        return builder.select(builder.icmp_signed(">" if atom.operator == "max" else "<", left, right), left, right)
    numerator, denominator = emit_dim(builder, atom.numerator, symbols), emit_dim(builder, atom.denominator, symbols)
    # Python's rounding, and no trap: the runtime has refused symbol values that make a denominator 0.
    safe = builder.select(builder.icmp_signed("==", denominator, I64(0)), I64(1), denominator)
    quotient, rest = builder.sdiv(numerator, safe), builder.srem(numerator, safe)
    opposite = builder.and_(
        builder.icmp_signed("!=", rest, I64(0)), builder.icmp_signed("<", builder.xor(rest, safe), I64(0))
    )
    if atom.operator == "//":
        return builder.sub(quotient, builder.zext(opposite, I64))
    return builder.add(rest, builder.select(opposite, safe, I64(0)))
