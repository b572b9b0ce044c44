"""What each relocation does to the bytes: tables by machine (x86-64 psABI section 4.4; ELF for the Arm 64-bit
architecture, section 5.7), and the stubs through which imported functions are called."""

from __future__ import annotations

import struct
from collections.abc import Callable

from .elf import LinkError

Patch = Callable[[bytearray, int, int, int], None]
"""patch(code, place, target, addend): `place` and `target` are offsets in the image."""


def _pc32(code: bytearray, place: int, target: int, addend: int) -> None:
    struct.pack_into("<i", code, place, target + addend - place)


def _got_relaxed(code: bytearray, place: int, target: int, addend: int) -> None:
    """The load of an address from the global offset table becomes the computation of the address itself."""
    if code[place - 2] == 0x8B:  # mov target@GOTPCREL(%rip), %reg -> lea target(%rip), %reg
        code[place - 2] = 0x8D
    elif code[place - 2 : place] == b"\xff\x15":  # call *target@GOTPCREL(%rip) -> addr32 call target
        code[place - 2 : place] = b"\x67\xe8"
    elif code[place - 2 : place] == b"\xff\x25":  # jmp *target@GOTPCREL(%rip) -> jmp target; nop
        code[place - 2] = 0xE9
        struct.pack_into("<i", code, place - 1, target + addend - (place - 1))
        code[place + 3] = 0x90
        return
    else:
        raise LinkError("an instruction reads an address from the global offset table in a way that cannot be relaxed")
    _pc32(code, place, target, addend)


def _page_high(code: bytearray, place: int, target: int, addend: int) -> None:
    pages = ((target + addend) >> 12) - (place >> 12)
    _fits(pages, 21)
    word = struct.unpack_from("<I", code, place)[0] & ~((3 << 29) | (0x7FFFF << 5))
    struct.pack_into("<I", code, place, word | ((pages & 3) << 29) | (((pages >> 2) & 0x7FFFF) << 5))


def _low12(scale: int) -> Patch:
    def patch(code: bytearray, place: int, target: int, addend: int) -> None:
        low = (target + addend) & 0xFFF
        if low & ((1 << scale) - 1):
            raise LinkError(f"an access of {1 << scale} bytes to an address that is not a multiple of it")
        word = struct.unpack_from("<I", code, place)[0] & ~(0xFFF << 10)
        struct.pack_into("<I", code, place, word | ((low >> scale) << 10))

    return patch


def _branch26(code: bytearray, place: int, target: int, addend: int) -> None:
    distance = target + addend - place
    _fits(distance >> 2, 26)
    word = struct.unpack_from("<I", code, place)[0] & ~0x3FFFFFF
    struct.pack_into("<I", code, place, word | ((distance >> 2) & 0x3FFFFFF))


def _fits(value: int, bits: int) -> None:
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise LinkError("the image is too large for a branch or address in it")


PATCHES: dict[str, dict[int, Patch]] = {
    "x86_64": {2: _pc32, 4: _pc32, 9: _got_relaxed, 41: _got_relaxed, 42: _got_relaxed},
    "aarch64": {
        261: _pc32, 275: _page_high, 277: _low12(0), 278: _low12(0), 282: _branch26, 283: _branch26,
        284: _low12(1), 285: _low12(2), 286: _low12(3), 299: _low12(4),
    },
}  # fmt: skip

STUB_SIZE = 16


def write_stub(machine: str, code: bytearray, place: int, slot: int) -> None:
    """At `place`, a jump to the function whose address the loader puts in the import slot."""
    if machine == "x86_64":
        code[place : place + 6] = b"\xff\x25" + struct.pack("<i", slot - (place + 6))  # jmp *slot(%rip)
        return
    code[place : place + 12] = struct.pack("<III", 0x90000010, 0xF9400210, 0xD61F0200)  # adrp x16; ldr x16, [x16]; br x16
    _page_high(code, place, slot, 0)
    _low12(3)(code, place + 4, slot, 0)
