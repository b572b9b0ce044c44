"""aarch64: the relocations of position-independent code (ELF for the Arm 64-bit Architecture, section 5.7)."""

from __future__ import annotations

import struct

from .machine import Machine, Reference, Rule, absolute, nothing, relative

_PAGE = 4096


def _instruction(reference: Reference) -> int:
    if reference.place % 4:
        raise reference.fail("an instruction does not start at a multiple of 4")
    return reference.read(0, 4)


def _branch(bits: int, shift: int) -> Rule:
    """The distance in instructions, in a field of `bits` bits that starts at bit `shift`."""

    def rule(reference: Reference) -> None:
        instruction = _instruction(reference)
        distance = reference.symbol + reference.addend - reference.place
        if distance % 4:
            raise reference.fail("a branch goes to no instruction's start")
        field = reference.fits(distance >> 2, bits) & ((1 << bits) - 1)
        mask = ((1 << bits) - 1) << shift
        reference.write(0, 4, instruction & ~mask | field << shift)

    return rule


def _address(reference: Reference, distance: int) -> None:
    """The 21-bit immediate of ADR and ADRP: two low bits at 29, the others at 5."""
    field = reference.fits(distance, 21) & 0x1FFFFF
    instruction = _instruction(reference) & ~(3 << 29 | 0x7FFFF << 5)
    reference.write(0, 4, instruction | (field & 3) << 29 | field >> 2 << 5)


def _near(reference: Reference) -> None:
    _address(reference, reference.symbol + reference.addend - reference.place)


def _page(reference: Reference) -> None:
    target = reference.symbol + reference.addend
    _address(reference, target // _PAGE - reference.place // _PAGE)


def _low_bits(scale: int) -> Rule:
    """The position within its page, divided by the access size, in the 12-bit immediate at bit 10."""

    def rule(reference: Reference) -> None:
        _immediate(reference, reference.symbol + reference.addend, scale)

    return rule


def _immediate(reference: Reference, position: int, scale: int) -> None:
    low = position % _PAGE
    if low % scale:
        raise reference.fail(f"a {scale}-byte access goes to a position that is not aligned to it")
    reference.write(0, 4, _instruction(reference) & ~(0xFFF << 10) | low // scale << 10)


def _table_page(reference: Reference) -> None:
    """The page of an entry of the global offset table; inside the image the page of the symbol itself."""
    if reference.slot is not None:
        _address(reference, (reference.slot + reference.addend) // _PAGE - reference.place // _PAGE)
    else:
        _page(reference)


def _table_entry(reference: Reference) -> None:
    """The load of an entry of the table; inside the image an addition: `ldr x, [y, #n]` -> `add x, y, #n`."""
    if reference.slot is not None:
        _immediate(reference, reference.slot + reference.addend, 8)
        return
    instruction = _instruction(reference)
    if instruction & 0xFFC00000 != 0xF9400000 or instruction & 31 == 31:
        raise reference.fail(f"the instruction {instruction:#010x} cannot do without a table of addresses")
    reference.write(0, 4, 0x91000000 | instruction & 0x3FF)
    _immediate(reference, reference.symbol + reference.addend, 1)


def _stub(position: int, slot: int) -> bytes:
    pages = slot // _PAGE - position // _PAGE
    load_page = 0x90000010 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5  # adrp x16, slot
    load = 0xF9400210 | slot % _PAGE // 8 << 10  # ldr x16, [x16, #low bits of slot]
    return struct.pack("<IIII", load_page, load, 0xD61F0200, 0)  # br x16; padding


AARCH64 = Machine(
    name="aarch64",
    number=183,
    page=65536,  # Linux on Arm runs with pages of 4, 16 or 64 KiB
    filler=0,
    stub=_stub,
    rules={
        0: ("R_AARCH64_NONE", nothing),
        256: ("R_AARCH64_NONE", nothing),
        257: ("R_AARCH64_ABS64", absolute),
        258: ("R_AARCH64_ABS32", absolute),
        260: ("R_AARCH64_PREL64", relative(8)),
        261: ("R_AARCH64_PREL32", relative(4)),
        273: ("R_AARCH64_LD_PREL_LO19", _branch(19, 5)),
        274: ("R_AARCH64_ADR_PREL_LO21", _near),
        275: ("R_AARCH64_ADR_PREL_PG_HI21", _page),
        276: ("R_AARCH64_ADR_PREL_PG_HI21_NC", _page),
        277: ("R_AARCH64_ADD_ABS_LO12_NC", _low_bits(1)),
        278: ("R_AARCH64_LDST8_ABS_LO12_NC", _low_bits(1)),
        279: ("R_AARCH64_TSTBR14", _branch(14, 5)),
        280: ("R_AARCH64_CONDBR19", _branch(19, 5)),
        282: ("R_AARCH64_JUMP26", _branch(26, 0)),
        283: ("R_AARCH64_CALL26", _branch(26, 0)),
        284: ("R_AARCH64_LDST16_ABS_LO12_NC", _low_bits(2)),
        285: ("R_AARCH64_LDST32_ABS_LO12_NC", _low_bits(4)),
        286: ("R_AARCH64_LDST64_ABS_LO12_NC", _low_bits(8)),
        299: ("R_AARCH64_LDST128_ABS_LO12_NC", _low_bits(16)),
        311: ("R_AARCH64_ADR_GOT_PAGE", _table_page),
        312: ("R_AARCH64_LD64_GOT_LO12_NC", _table_entry),
        314: ("R_AARCH64_PLT32", relative(4)),
    },
)
