"""`Dim`: a size that each call of an exported or compiled function may choose, with the values it may have."""

from __future__ import annotations

from dataclasses import dataclass

from jitcore_ir import shapes
from jitcore_ir.equations import Interval
from jitcore_ir.shapes import Expr


@dataclass(frozen=True, slots=True)
class Dim:
    """A size called `name`: from `min` to `max` (None: no limit), a multiple of `multiple_of`.

    Raises ValueError for a name that is not an identifier, or where no number fits.
    """

    name: str
    min: int = 0
    max: int | None = None
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name in ("max", "min"):
            raise ValueError(f"the name of a dimension is an identifier, not {self.name!r}")
        for what in ("min", "max", "multiple_of"):
            value = getattr(self, what)
            if not (isinstance(value, int) or (what == "max" and value is None)) or (value or 0) < 0:
                raise ValueError(f"dimension {self.name}: {what} is {value!r}; it is a number of 0 or more")
        if self.multiple_of < 1:
            raise ValueError(f"dimension {self.name}: multiple_of is {self.multiple_of}; it is 1 or more")
        low, high = self.range
        if high is not None and (low or 0) > high:
            raise ValueError(f"no number fits {self}")

    @property
    def symbol(self) -> str:
        """The symbol of the graph: the size itself, or how often `multiple_of` is in it."""
        return self.name if self.multiple_of == 1 else f"{self.name}_by_{self.multiple_of}"

    @property
    def expr(self) -> int | Expr:
        """The size, in the symbol."""
        return shapes.mul(self.multiple_of, shapes.symbol(self.symbol))

    @property
    def range(self) -> Interval:
        """Values of the symbol."""
        return -(-self.min // self.multiple_of), None if self.max is None else self.max // self.multiple_of

    def __str__(self) -> str:
        parts = [f"{self.min} or more" if self.max is None else f"{self.min} to {self.max}"]
        if self.multiple_of > 1:
            parts.append(f"a multiple of {self.multiple_of}")
        return f"{self.name} ({', '.join(parts)})"
