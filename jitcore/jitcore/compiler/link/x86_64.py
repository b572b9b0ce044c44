"""x86-64: the relocations of position-independent code (System V psABI, AMD64 supplement, section 4.4)."""

from __future__ import annotations

import struct

from .machine import Machine, Reference, absolute, nothing, relative


def _table_entry(reference: Reference) -> None:
    """An address read from the global offset table: an import's slot is its entry."""
    if reference.slot is None:
        raise reference.fail("the instruction needs a table of addresses, which an image does not have")
    reference.write(0, 4, reference.fits(reference.slot + reference.addend - reference.place, 32))


def _relaxable_entry(reference: Reference) -> None:
    """As `_table_entry`; inside the image the load becomes an address computation, the indirect jump a direct one."""
    if reference.slot is not None:
        _table_entry(reference)
        return
    distance = reference.symbol + reference.addend - reference.place
    opcode, operand = reference.read(-2, 1), reference.read(-1, 1)
    if opcode == 0x8B and operand & 0xC7 == 0x05:  # mov symbol@GOTPCREL(%rip), register -> lea symbol(%rip), register
        reference.write(-2, 1, 0x8D)
    elif (opcode, operand) == (0xFF, 0x15):  # call *symbol@GOTPCREL(%rip) -> addr32 call symbol
        reference.write(-2, 2, 0xE867)
    elif (opcode, operand) == (0xFF, 0x25):  # jmp *symbol@GOTPCREL(%rip) -> jmp symbol; nop
        reference.write(-2, 1, 0xE9)
        reference.write(-1, 4, reference.fits(distance + 1, 32))
        reference.write(3, 1, 0x90)
        return
    else:
        raise reference.fail(f"the instruction {opcode:#04x} {operand:#04x} cannot do without a table of addresses")
    reference.write(0, 4, reference.fits(distance, 32))


def _stub(position: int, slot: int) -> bytes:
    return b"\xff\x25" + struct.pack("<i", slot - (position + 6)) + b"\xcc\xcc"  # jmp *slot(%rip)


X86_64 = Machine(
    name="x86-64",
    number=62,
    page=4096,
    filler=0xCC,
    stub=_stub,
    rules={
        0: ("R_X86_64_NONE", nothing),
        1: ("R_X86_64_64", absolute),
        2: ("R_X86_64_PC32", relative(4)),
        4: ("R_X86_64_PLT32", relative(4)),
        9: ("R_X86_64_GOTPCREL", _table_entry),
        10: ("R_X86_64_32", absolute),
        11: ("R_X86_64_32S", absolute),
        24: ("R_X86_64_PC64", relative(8)),
        41: ("R_X86_64_GOTPCRELX", _relaxable_entry),
        42: ("R_X86_64_REX_GOTPCRELX", _relaxable_entry),
    },
)
