"""Reading ELF relocatable objects: sections, symbols and relocations as plain data.

Only what LLVM writes for a 64-bit little-endian Linux target is read (System V ABI, chapters 4 and 5). No offset,
count or index of the file is used before it has been checked: anything wrong is a `LinkError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from .errors import LinkError


class SectionType(IntEnum):
    PROGRAM = 1
    SYMBOLS = 2
    STRINGS = 3
    RELOCATIONS = 4
    NOTE = 7
    EMPTY = 8
    """Takes memory (filled with zeros) and no place in the file."""
    SHORT_RELOCATIONS = 9
    INITIALIZERS = 14
    FINALIZERS = 15
    EARLY_INITIALIZERS = 16
    COMPACT_RELOCATIONS = 0x40000014


class SectionFlag(IntFlag):
    WRITE = 0x1
    ALLOCATE = 0x2
    EXECUTE = 0x4
    THREAD_LOCAL = 0x400


_WITHOUT_DATA = (0, SectionType.EMPTY)
UNDEFINED = 0
"""The section number of a symbol that another object defines."""
_FIRST_RESERVED = 0xFF00
"""Section numbers from here on are marks (absolute, common), not sections."""
_THREAD_LOCAL, _INDIRECT = 6, 10
_SECTION_SYMBOL = 3
_LOCAL, _WEAK = 0, 2


@dataclass(frozen=True, slots=True)
class Section:
    """`data` is None where the section is `size` zero bytes."""

    name: str
    type: int
    flags: SectionFlag
    data: bytes | None
    size: int
    alignment: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name for a place: `value` bytes into section number `section` (0: defined elsewhere)."""

    name: str
    section: int
    value: int
    local: bool
    weak: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """Section number `section` refers to symbol number `symbol` at `offset`; `type` says how."""

    section: int
    offset: int
    type: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """One object. `name` is how errors call it; `machine` is the ELF machine number."""

    name: str
    machine: int
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read_object(data: bytes, name: str) -> ObjectFile:
    """Raises LinkError unless `data` is a well-formed relocatable object."""
    return _Reader(bytes(data), name).read()


@dataclass(frozen=True, slots=True)
class _Header:
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.headers: list[_Header] = []
        self.names: list[str] = []

    def fail(self, what: str) -> LinkError:
        return LinkError(f"{self.name} is not a relocatable object that can be linked: {what}")

    def fields(self, form: str, offset: int, what: str) -> tuple[Any, ...]:
        layout = struct.Struct("<" + form)
        if not 0 <= offset <= len(self.data) - layout.size:
            raise self.fail(f"{what} at {offset} lies outside its {len(self.data)} bytes")
        return layout.unpack_from(self.data, offset)

    def read(self) -> ObjectFile:
        machine = self.read_headers()
        tables = [number for number, header in enumerate(self.headers) if header.type == SectionType.SYMBOLS]
        if len(tables) > 1:
            raise self.fail("it has several symbol tables")
        symbols = self.read_symbols(self.headers[tables[0]]) if tables else ()
        relocations: list[Relocation] = []
        for header in self.headers:
            if header.type == SectionType.RELOCATIONS:
                if not tables or header.link != tables[0]:
                    raise self.fail("a relocation table does not belong to the symbol table")
                relocations += self.read_relocations(header, len(symbols))
        sections = tuple(self.section(number) for number in range(len(self.headers)))
        return ObjectFile(self.name, machine, sections, symbols, tuple(relocations))

    def read_headers(self) -> int:
        magic, bits, order, _, kind, machine = self.fields("4sBBB9xHH", 0, "the file header")
        if magic != b"\x7fELF" or (bits, order) != (2, 1):
            raise self.fail("it is not a 64-bit little-endian ELF file")
        if kind != 1:
            raise self.fail("it is not relocatable (an executable or a shared library)")
        (start,) = self.fields("Q", 40, "the file header")
        entry_size, count, names = self.fields("HHH", 58, "the file header")
        if count == 0 or entry_size != 64:
            raise self.fail(f"it has {count} section headers of {entry_size} bytes")
        for number in range(count):
            self.headers.append(_Header(*self.fields("IIQQQQIIQQ", start + 64 * number, f"section header {number}")))
        if sum(header.size for header in self.headers if header.type not in _WITHOUT_DATA) > len(self.data):
            raise self.fail("its sections overlap")  # and would multiply the work and memory that a file can cost
        table = self.string_table(names, "section names")
        self.names = [self.string(table, header.name, "a section's name") for header in self.headers]
        return int(machine)

    def contents(self, header: _Header, what: str) -> bytes:
        if header.offset > len(self.data) or header.size > len(self.data) - header.offset:
            raise self.fail(f"{what}: {header.size} bytes at {header.offset} lie outside its {len(self.data)} bytes")
        return self.data[header.offset : header.offset + header.size]

    def string_table(self, number: int, what: str) -> bytes:
        if number >= len(self.headers) or self.headers[number].type != SectionType.STRINGS:
            raise self.fail(f"section {number} should hold its {what}")
        return self.contents(self.headers[number], what)

    def string(self, table: bytes, start: int, what: str) -> str:
        end = table.find(b"\0", start) if start < len(table) else -1
        if end < 0:
            raise self.fail(f"{what} lies outside its string table")
        try:
            return table[start:end].decode()
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not text") from None

    def section(self, number: int) -> Section:
        header = self.headers[number]
        name = self.names[number]
        if header.alignment & (header.alignment - 1):
            raise self.fail(f"section {name!r} has alignment {header.alignment}, not a power of two")
        has_data = header.type not in _WITHOUT_DATA
        data = self.contents(header, f"section {name!r}") if has_data else None
        size = header.size if number else 0
        flags = SectionFlag(header.flags & sum(SectionFlag))
        return Section(name, header.type, flags, data, size, max(header.alignment, 1))

    def read_symbols(self, header: _Header) -> tuple[Symbol, ...]:
        strings = self.string_table(header.link, "symbol names")
        table = self.contents(header, "the symbol table")
        if header.entry_size != 24 or len(table) % 24:
            raise self.fail(f"its symbol table has {len(table)} bytes of entries of {header.entry_size}")
        symbols = []
        for name, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", table):
            kind, binding = info & 15, info >> 4
            text = self.string(strings, name, "a symbol's name")
            if kind == _SECTION_SYMBOL and section < len(self.names):
                text = text or self.names[section]
            if kind in (_THREAD_LOCAL, _INDIRECT):
                what = "thread-local" if kind == _THREAD_LOCAL else "resolved while loading"
                raise self.fail(f"symbol {text!r} is {what}, which an image cannot have")
            if len(self.headers) <= section < _FIRST_RESERVED:
                raise self.fail(f"symbol {text!r} belongs to section {section} of {len(self.headers)}")
            if section < _FIRST_RESERVED and section and value > self.headers[section].size:
                raise self.fail(f"symbol {text!r} lies outside section {self.names[section]!r}")
            symbols.append(Symbol(text, section, value, binding == _LOCAL, binding == _WEAK))
        return tuple(symbols)

    def read_relocations(self, header: _Header, symbols: int) -> list[Relocation]:
        table = self.contents(header, "a relocation table")
        if header.entry_size != 24 or len(table) % 24 or header.info >= len(self.headers):
            raise self.fail("a relocation table is malformed")
        size = self.headers[header.info].size
        found = []
        for offset, info, addend in struct.iter_unpack("<QQq", table):
            symbol = info >> 32
            if symbol >= symbols or offset >= size:
                raise self.fail(f"a relocation at {offset:#x} of {self.names[header.info]!r} is out of range")
            found.append(Relocation(header.info, offset, info & 0xFFFFFFFF, symbol, addend))
        return found
