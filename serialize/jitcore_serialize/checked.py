"""A flatbuffer read with every step checked, driven by the schema as data.

The flatbuffers package has no verifier in Python, and its accessors follow a damaged offset to wrong answers. This
reader gives plain objects (one attribute per field, tuples for vectors) or raises ArchiveError. It stays inside the
buffer, follows no offset backwards except to vtables, and its work and memory are bounded by the buffer's size:
nesting, the number of tables and the bytes in vectors have budgets that only shared (hence crafted) parts can exceed.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from .errors import ArchiveError
from .generated.tables import ENUMS, TABLES
from .layout import MAX_DEPTH

_WIDTHS = {"B": 1, "i": 4, "I": 4, "q": 8, "Q": 8}
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_SMALLEST_TABLE = 8
"""Bytes: the table's own offset to its vtable, and the offset by which something refers to it."""


def read_flatbuffer(data: bytes, root: str) -> Any:
    """The table `root` that `data` holds. Raises ArchiveError wherever the bytes break a rule of the format."""
    reader = _Reader(data)
    return reader.table(root, reader.offset(0, "the root"), 0)


def _record_class(name: str) -> type:
    return type(name, (), {"__slots__": tuple(field for field, _, _ in TABLES[name])})


_RECORDS = {name: _record_class(name) for name in TABLES}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.tables_left = self.size // _SMALLEST_TABLE
        self.bytes_left = 2 * self.size  # twice, since writers share equal strings
        self.vtables: dict[int, tuple[int, ...]] = {}

    def table(self, name: str, at: int, depth: int) -> Any:
        """The table at byte `at`, and everything it refers to."""
        self.tables_left -= 1
        if self.tables_left < 0:
            self.fail(f"more tables than {self.size} bytes can hold")
        if depth > MAX_DEPTH:
            self.fail(f"tables nested deeper than {MAX_DEPTH}")
        if at % 4:
            self.fail(f"a {name} table at {at}, which is not a multiple of 4")
        vtable = at - self.number(_I32, at, name)
        span, *slots = self.vtables.get(vtable) or self.vtable(vtable)
        if at + span > self.size or span < 4:
            self.fail(f"a {name} table of {span} bytes at {at}, of {self.size}")
        fields = TABLES[name]
        if len(slots) > len(fields):
            self.fail(f"a {name} table with {len(slots)} fields, but format has {len(fields)}")
        record = _RECORDS[name]()
        for (field, type, default), slot in zip(fields, slots + [0] * (len(fields) - len(slots)), strict=True):
            if slot == 0:
                value: Any = default if type in _WIDTHS or type in ENUMS else _absent(type)
            else:
                where = f"{name}.{field}"
                width = _WIDTHS.get(type) or (1 if type in ENUMS else 4)
                if slot < 4 or slot + width > span:
                    self.fail(f"{where} lies outside its table")
                value = self.field(type, at + slot, where, depth)
            setattr(record, field, value)
        return record

    def vtable(self, at: int) -> tuple[int, ...]:
        """The vtable's entries without the first: the table's size, then each field's place in it or 0."""
        length = self.number(_U16, at, "a vtable")
        if at % 2 or length % 2 or length < 4 or at + length > self.size:
            self.fail(f"a vtable of {length} bytes at {at}, of {self.size}")
        self.vtables[at] = found = struct.unpack_from(f"<{length // 2 - 1}H", self.data, at + 2)
        return found

    def field(self, type: str, at: int, where: str, depth: int) -> Any:
        if type in _WIDTHS:
            return self.scalars(type, at, 1, where)[0]
        if type in ENUMS:
            return self.enum(type, at, where)
        if type == "string":
            return self.string(self.offset(at, where), where)
        if type.startswith("["):
            return self.vector(type[1:-1], self.offset(at, where), where, depth)
        return self.table(type, self.offset(at, where), depth + 1)

    def enum(self, type: str, at: int, where: str) -> int:
        value = self.data[at]
        if value >= len(ENUMS[type]):
            self.fail(f"{where} is {value}, but {type} has {len(ENUMS[type])} values")
        return value

    def string(self, at: int, where: str) -> str:
        size = self.number(_U32, at, where)
        end = at + 4 + size
        self.spend(4 + size)
        if end >= self.size or self.data[end] != 0:
            self.fail(f"the string {where} does not end in the file")
        try:
            return self.data[at + 4 : end].decode()
        except UnicodeDecodeError:
            self.fail(f"the string {where} is not UTF-8")

    def vector(self, type: str, at: int, where: str, depth: int) -> Any:
        """A tuple, or bytes for bytes."""
        count = self.number(_U32, at, where)
        width = _WIDTHS.get(type, 4)
        self.spend(4 + count * width)
        if at % 4 or at + 4 + count * width > self.size:
            self.fail(f"the vector {where} of {count} elements does not fit in the file")
        if type == "B":
            return self.data[at + 4 : at + 4 + count]
        if type in _WIDTHS:
            return self.scalars(type, at + 4, count, where)
        targets = [self.offset(place, where) for place in range(at + 4, at + 4 + 4 * count, 4)]
        if type == "string":
            return tuple(self.string(target, where) for target in targets)
        return tuple(self.table(type, target, depth + 1) for target in targets)

    def scalars(self, code: str, at: int, count: int, where: str) -> tuple[int, ...]:
        width = _WIDTHS[code]
        if at < 0 or at + count * width > self.size or at % width:
            self.fail(f"{where} at {at}, of {self.size}")
        return struct.unpack_from(f"<{count}{code}", self.data, at)

    def offset(self, at: int, where: str) -> int:
        """Where the forward offset stored at `at` leads."""
        distance = self.number(_U32, at, where)
        if at % 4 or distance < 4:
            self.fail(f"{where} refers {distance} bytes ahead")
        return at + distance

    def number(self, form: struct.Struct, at: int, where: str) -> int:
        if not 0 <= at <= self.size - form.size:
            self.fail(f"{where} at {at}, of {self.size}")
        return form.unpack_from(self.data, at)[0]

    def spend(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            self.fail(f"vectors of more than {2 * self.size} bytes in {self.size}")

    def fail(self, problem: str) -> NoReturn:
        raise ArchiveError(f"its metadata holds {problem}")


def _absent(type: str) -> Any:
    """What an absent field reads as: "", an empty vector, or None for a table."""
    return {"string": "", "[B]": b""}.get(type, () if type.startswith("[") else None)
