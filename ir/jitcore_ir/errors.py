"""Errors raised by the IR. Each names what was given, what is allowed and, where known, the user's line."""

from __future__ import annotations


class IRError(Exception):
    """Base of everything the IR raises about a graph itself."""


class ShapeError(ValueError, IRError):
    """Operand shapes that an operation does not accept."""


class DTypeError(TypeError, IRError):
    """Operand dtypes that an operation does not accept."""


class AttributeValueError(ValueError, IRError):
    """An attribute (axis, permutation, padding ...) outside what the operation accepts."""


class VerificationError(IRError):
    """A graph that breaks a structural rule of SSA or of an operation's spec."""


class ParseError(IRError):
    """Text that is not IR. Carries the line and column."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {message}" if line else message)
        self.line = line
        self.column = column
