"""What the linker must know about an instruction set, and one reference it has to resolve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import LinkError


@dataclass(slots=True)
class Reference:
    """One relocation with its symbol found. Positions are bytes from the start of the image.

    `place` is what to patch, `start` and `end` the section around it; `symbol` what it refers to (for an import its
    stub), `slot` the import's slot or None where the symbol lies inside the image.
    """

    code: bytearray
    place: int
    start: int
    end: int
    symbol: int
    slot: int | None
    addend: int
    where: str

    def fail(self, what: str) -> LinkError:
        return LinkError(f"{self.where}: {what}")

    def read(self, offset: int, size: int) -> int:
        """`size` bytes at `offset` from the place. Raises LinkError outside the section."""
        position = self.check(offset, size)
        return int.from_bytes(self.code[position : position + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        position = self.check(offset, size)
        self.code[position : position + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def check(self, offset: int, size: int) -> int:
        position = self.place + offset
        if position < self.start or position + size > self.end:
            raise self.fail("the reference reaches outside its section")
        return position

    def fits(self, value: int, bits: int) -> int:
        """`value`, if it is a signed number of that many bits. Raises LinkError otherwise."""
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise self.fail(
                f"the distance {value} does not fit {bits} bits: the image is too large, compile less at once"
            )
        return value


Rule = Callable[[Reference], None]
"""Patches the code for one relocation type."""


def nothing(reference: Reference) -> None:
    """The rule of relocations that only mark a place."""


def relative(size: int) -> Rule:
    """The rule of relocations that store the distance to the symbol in `size` bytes."""

    def rule(reference: Reference) -> None:
        distance = reference.symbol + reference.addend - reference.place
        reference.write(0, size, reference.fits(distance, 8 * size))

    return rule


def absolute(reference: Reference) -> None:
    """The rule of relocations that store an address, which is known only where the image is loaded."""
    raise reference.fail(
        "it stores an absolute address, and an image is position-independent: "
        "keep offsets instead of pointers in constant tables, and compile with reloc='pic'"
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """`number` is ELF's; `page` what the image's parts are multiples of; `filler` a byte of an instruction that traps;
    `stub(position, slot)` the instructions at `position` that jump to the address in `slot`."""

    name: str
    number: int
    page: int
    filler: int
    stub: Callable[[int, int], bytes]
    rules: Mapping[int, tuple[str, Rule]]
