"""Reading a relocatable ELF64 object (System V ABI, "Object files"). Every offset and count is checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MACHINES = {62: "x86_64", 183: "aarch64"}
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
_SHT_SYMTAB, _SHT_STRTAB, _SHT_RELA, _SHT_NOBITS = 2, 3, 4, 8
_SHF_WRITE, _SHF_ALLOC, _SHF_EXEC = 1, 2, 4


class LinkError(RuntimeError):
    """An object that cannot become a self-contained image: says which symbol or relocation and what to do."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section that is part of the running program. `part` is "text", "rodata" or "data"."""

    number: int
    name: str
    part: str
    alignment: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Symbol:
    """`section` is SHN_UNDEF for a symbol defined elsewhere."""

    name: str
    section: int
    value: int
    is_global: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """At `offset` of section `section`, put a function of `symbol` and `addend`."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class Object:
    machine: str
    sections: dict[int, Section]
    symbols: list[Symbol]
    relocations: list[Relocation]


def read_object(data: bytes) -> Object:
    """Parse an object. Raises LinkError for anything malformed."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise LinkError(f"the object file is malformed: {error}") from error


def _read(data: bytes) -> Object:
    if data[:7] != b"\x7fELF\x02\x01\x01":
        raise LinkError("not a little-endian 64-bit ELF object")
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != 1 or machine not in MACHINES:
        raise LinkError(f"ELF type {kind} for machine {machine} is not a relocatable object for x86-64 or aarch64")
    table, count, names_index = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
    names = _bytes(data, headers[names_index])
    sections: dict[int, Section] = {}
    symbols: list[Symbol] = []
    relocations: list[Relocation] = []
    for number, header in enumerate(headers):
        name, kind, flags, alignment = _text(names, header[0]), header[1], header[2], header[8]
        if kind == _SHT_SYMTAB:
            symbols = _symbols(_bytes(data, header), _bytes(data, headers[header[6]]))
        elif kind == _SHT_RELA:
            relocations += _relocations(_bytes(data, header), header[7])
        elif flags & _SHF_ALLOC and not name.startswith((".eh_frame", ".note", ".llvm")):
            part = "text" if flags & _SHF_EXEC else "data" if flags & _SHF_WRITE else "rodata"
            if kind == _SHT_NOBITS and header[5] > 1 << 30:
                raise LinkError(f"section {name} asks for {header[5]} bytes")
            content = bytes(header[5]) if kind == _SHT_NOBITS else _bytes(data, header)
            if alignment > 4096 or alignment & (alignment - 1):
                raise LinkError(f"section {name} has alignment {alignment}")
            sections[number] = Section(number, name, part, max(alignment, 1), content)
    for relocation in relocations:
        if relocation.symbol >= len(symbols):
            raise LinkError(f"a relocation names symbol {relocation.symbol} of {len(symbols)}")
    return Object(MACHINES[machine], sections, symbols, [r for r in relocations if r.section in sections])


def _bytes(data: bytes, header: tuple) -> bytes:
    offset, size = header[4], header[5]
    if offset + size > len(data):
        raise LinkError(f"a section of {size} bytes at {offset} passes the end of the object ({len(data)} bytes)")
    return data[offset : offset + size]


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()


def _symbols(table: bytes, names: bytes) -> list[Symbol]:
    found = []
    for offset in range(0, len(table), 24):
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", table, offset)
        if section == SHN_COMMON:
            raise LinkError(f"common symbol {_text(names, name)!r}")
        found.append(Symbol(_text(names, name), section, value, info >> 4 != 0))
    return found


def _relocations(table: bytes, section: int) -> list[Relocation]:
    found = []
    for start in range(0, len(table), 24):
        offset, info, addend = struct.unpack_from("<QQq", table, start)
        found.append(Relocation(section, offset, info & 0xFFFFFFFF, info >> 32, addend))
    return found
