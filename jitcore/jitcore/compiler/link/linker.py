"""Objects in, image out: place the sections, find the symbols, resolve every reference.

    objects' .text*           -> text    followed by one stub per import, which jumps through the import's slot
    objects' .rodata* ...     -> rodata
    objects' .data* and .bss  -> data    preceded by the import slots, which the loader fills

The parts keep their distances when loaded, so nothing is left to relocate: an image runs wherever it is mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jitcore_runtime.native import IMPORTS
from jitcore_runtime.plan import Image

from .aarch64 import AARCH64
from .elf import UNDEFINED, ObjectFile, Relocation, Section, SectionFlag, SectionType, Symbol, read_object
from .errors import LinkError
from .machine import Machine, Reference
from .x86_64 import X86_64

_MACHINES = (X86_64, AARCH64)
_CONSTRUCTORS = (SectionType.INITIALIZERS, SectionType.FINALIZERS, SectionType.EARLY_INITIALIZERS)
_MOST_BYTES = 1 << 28
_MOST_ALIGNMENT = 4096

_HALF = ("__extendhf", "__trunchf", "__truncsfhf", "__truncdfhf", "__gnu_h2f", "__gnu_f2h")
_BFLOAT = ("__truncsfbf", "__truncdfbf", "__extendbf")
_MATHEMATICS = (
    "exp", "log", "pow", "sin", "cos", "tan", "erf", "fmod", "fma",
    "round", "trunc", "floor", "ceil", "rint", "nearbyint",
)  # fmt: skip
_HINTS = (
    (("__truncdfhf",), "no target here converts float64 to float16 in one step: convert with integer operations"),
    (_HALF, "the target converts no float16 in hardware: compile for x86-64-v3 or later, or convert with integers"),
    (_BFLOAT, "the target converts no bfloat16 in hardware: convert with integer operations"),
    (_MATHEMATICS, "an image calls no mathematics library: use the polynomial bodies of compiler/scalar"),
    (("__",), "it belongs to the compiler's runtime library: use an operation that the target has instructions for"),
)
"""(How names of undefined functions begin, what to do about them); the first that fits."""


def link(
    objects: Iterable[bytes],
    target: str,
    exports: Sequence[str],
    allowed_imports: Iterable[str] = IMPORTS,
    features: Iterable[str] = (),
) -> Image:
    """Link ELF relocatable objects (as llvmlite's `emit_object` makes them, `reloc="pic"`) into a flat image.

    `exports` are the functions that the image offers. Functions that no object defines must be in `allowed_imports`.
    `features` are processor features beyond those of the target's level, in Linux's spelling. Raises LinkError.
    """
    machine = machine_of(target)
    files = [read_object(data, f"object {number}") for number, data in enumerate(objects)]
    for file in files:
        if file.machine != machine.number:
            raise LinkError(f"{file.name} is code for ELF machine {file.machine}, not {machine.number} ({target})")
    return _Linker(machine, files, frozenset(allowed_imports)).image(target, exports, tuple(features))


def machine_of(target: str) -> Machine:
    """The instruction set of a target. Raises LinkError for an unknown one."""
    for machine in _MACHINES:
        if target.startswith(machine.name):
            return machine
    known = " and ".join(machine.name for machine in _MACHINES)
    raise LinkError(f"images are made for {known}, not for {target!r}")


class _Part:
    """One of the image's three parts while it grows."""

    def __init__(self, filler: int) -> None:
        self.filler = bytes([filler])
        self.content = bytearray()
        self.start = 0

    def append(self, data: bytes | None, size: int, alignment: int) -> int:
        """The position where the data (None: zeros) was put."""
        self.content += self.filler * (-len(self.content) % alignment)
        position = len(self.content)
        self.content += data if data is not None else bytes(size)
        return position


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a section lies: `offset` bytes into `part`."""

    part: _Part
    offset: int
    size: int

    @property
    def position(self) -> int:
        return self.part.start + self.offset


class _Linker:
    def __init__(self, machine: Machine, files: list[ObjectFile], allowed_imports: frozenset[str]) -> None:
        self.machine = machine
        self.files = files
        self.allowed_imports = allowed_imports
        self.text, self.rodata, self.data = _Part(machine.filler), _Part(0), _Part(0)
        self.definitions: dict[str, tuple[int, Symbol]] = {}
        self.places: dict[tuple[int, int], _Place] = {}
        self.slots: dict[str, int] = {}
        self.stubs: dict[str, int] = {}

    def image(self, target: str, exports: Sequence[str], features: tuple[str, ...]) -> Image:
        self.collect_definitions()
        kept = [(file, number) for file in range(len(self.files)) for number in self.kept_sections(file)]
        imports = self.collect_imports(set(kept))
        for name in imports:
            self.slots[name] = self.data.append(None, 8, 8)
        for file, number in kept:
            self.place_section(file, number)
        for name in imports:
            self.stubs[name] = self.text.append(None, len(self.machine.stub(0, 0)), 16)
        code = self.assemble()
        for file, content in enumerate(self.files):
            for relocation in content.relocations:
                if (file, relocation.section) in self.places:
                    self.resolve(code, file, relocation)
        return Image(
            target=target,
            code=bytes(code),
            text_size=self.rodata.start,
            rodata_size=self.data.start - self.rodata.start,
            data_size=len(code) - self.data.start,
            exports=tuple((name, self.export(name)) for name in exports),
            imports=tuple((name, self.data.start + offset) for name, offset in self.slots.items()),
            features=features,
        )

    def collect_definitions(self) -> None:
        for number, file in enumerate(self.files):
            for symbol in file.symbols:
                if symbol.local or symbol.section == UNDEFINED or not symbol.name:
                    continue
                earlier = self.definitions.get(symbol.name)
                if earlier is None or (earlier[1].weak and not symbol.weak):
                    self.definitions[symbol.name] = number, symbol
                elif not earlier[1].weak and not symbol.weak:
                    where = f"{self.files[earlier[0]].name} and {file.name}"
                    raise LinkError(f"{symbol.name!r} is defined twice, by {where}: give one of them another name")

    def kept_sections(self, file: int) -> list[int]:
        """The numbers of the sections that go into the image."""
        kept = []
        for number, section in enumerate(self.files[file].sections):
            if section.flags & SectionFlag.ALLOCATE and section.size and not _is_dropped(section):
                self.check_section(self.files[file].name, section)
                kept.append(number)
        return kept

    def check_section(self, file: str, section: Section) -> None:
        where = f"{file}, section {section.name!r}"
        if section.flags & SectionFlag.THREAD_LOCAL:
            raise LinkError(f"{where}: an image has no thread-local memory; pass the state as an argument")
        if section.type in _CONSTRUCTORS or section.name.startswith((".ctors", ".dtors")):
            raise LinkError(f"{where}: an image runs no constructors; export a function that initializes")
        if section.type not in (SectionType.PROGRAM, SectionType.EMPTY):
            raise LinkError(f"{where}: sections of type {section.type:#x} cannot be linked")
        if section.flags & SectionFlag.EXECUTE and section.flags & SectionFlag.WRITE:
            raise LinkError(f"{where}: code that can be written is refused")
        if section.alignment > _MOST_ALIGNMENT:
            raise LinkError(f"{where}: alignment {section.alignment} is more than {_MOST_ALIGNMENT}")

    def collect_imports(self, kept: set[tuple[int, int]]) -> list[str]:
        """Names that kept sections refer to and no object defines, in order of first use."""
        names: dict[str, None] = {}
        for number, file in enumerate(self.files):
            for relocation in file.relocations:
                symbol = file.symbols[relocation.symbol]
                if (number, relocation.section) not in kept or symbol.section != UNDEFINED or relocation.symbol == 0:
                    continue
                if symbol.name in self.definitions:
                    continue
                if symbol.name not in self.allowed_imports:
                    where = f"{file.name} ({file.sections[relocation.section].name})"
                    raise LinkError(self.undefined(symbol.name, where))
                names[symbol.name] = None
        return list(names)

    def undefined(self, name: str, where: str) -> str:
        allowed = ", ".join(sorted(self.allowed_imports)) or "nothing"
        hint = next((text for starts, text in _HINTS if name.startswith(starts)), "define it in one of the objects")
        return f"{where} uses {name!r}, which no object defines and an image may not import (it may: {allowed}); {hint}"

    def place_section(self, file: int, number: int) -> None:
        section = self.files[file].sections[number]
        if section.flags & SectionFlag.EXECUTE:
            part = self.text
        elif section.flags & SectionFlag.WRITE:
            part = self.data
        else:
            part = self.rodata
        used = len(self.text.content) + len(self.rodata.content) + len(self.data.content)
        if used + section.size > _MOST_BYTES:
            raise LinkError(
                f"the image would be larger than {_MOST_BYTES} bytes: keep weights and buffers outside of code"
            )
        if section.data is None and part is self.text:
            raise LinkError(f"{self.files[file].name}, section {section.name!r}: code without contents")
        offset = part.append(section.data, section.size, section.alignment)
        self.places[file, number] = _Place(part, offset, section.size)

    def assemble(self) -> bytearray:
        """The parts one after another, each filled up to whole pages, with the stubs written."""
        if not self.text.content:
            raise LinkError("the objects hold no code")
        code = bytearray()
        for part in (self.text, self.rodata, self.data):
            part.start = len(code)
            part.append(b"", 0, self.machine.page)
            code += part.content
        for name, position in self.stubs.items():
            stub = self.machine.stub(position, self.data.start + self.slots[name])
            code[position : position + len(stub)] = stub
        return code

    def resolve(self, code: bytearray, file: int, relocation: Relocation) -> None:
        content = self.files[file]
        symbol = content.symbols[relocation.symbol]
        place = self.places[file, relocation.section]
        section = content.sections[relocation.section].name
        name, rule = self.machine.rules.get(relocation.type, (None, None))
        where = f"{content.name}, {section}+{relocation.offset:#x}: {name} to {symbol.name or 'nothing'!r}"
        if rule is None:
            known = ", ".join(name for name, _ in self.machine.rules.values())
            raise LinkError(f"{where}: relocation type {relocation.type} is unknown (known are {known})")
        slot = None
        if relocation.symbol == 0:
            target = 0
            if relocation.type != 0:
                raise LinkError(f"{where}: the reference names no symbol")
        elif symbol.section == UNDEFINED and symbol.name not in self.definitions:
            target = self.stubs[symbol.name]
            slot = self.data.start + self.slots[symbol.name]
        else:
            target = self.position(file, symbol, where)
        position = place.position
        rule(
            Reference(
                code=code,
                place=position + relocation.offset,
                start=position,
                end=position + place.size,
                symbol=target,
                slot=slot,
                addend=relocation.addend,
                where=where,
            )
        )

    def position(self, file: int, symbol: Symbol, where: str) -> int:
        if not symbol.local and symbol.name in self.definitions:
            file, symbol = self.definitions[symbol.name]
        place = self.places.get((file, symbol.section))
        if place is None:
            sections = self.files[file].sections
            section = sections[symbol.section].name if symbol.section < len(sections) else f"number {symbol.section}"
            raise LinkError(f"{where}: it lies in section {section!r}, which does not go into an image")
        return place.position + symbol.value

    def export(self, name: str) -> int:
        if name not in self.definitions:
            offered = ", ".join(sorted(self.definitions)) or "nothing"
            raise LinkError(f"no object defines {name!r}, which should be exported; they define {offered}")
        file, symbol = self.definitions[name]
        position = self.position(file, symbol, f"export {name!r}")
        if position >= len(self.text.content):
            raise LinkError(f"export {name!r} is data; an image exports only functions")
        return position


def _is_dropped(section: Section) -> bool:
    """Unwinding tables and notes: no image needs them."""
    return section.type == SectionType.NOTE or section.name.startswith((".eh_frame", ".gcc_except_table", ".ARM.ex"))
