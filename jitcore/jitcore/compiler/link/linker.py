"""`link`: lay the sections of objects out, resolve every relocation, and give imported functions stubs and slots.

An image is text, then read-only data, then writable data, each starting on a page. The writable part starts with the
import slots. Nothing in it depends on where it is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from jitcore_runtime.plan import Image

from .elf import SHN_ABS, SHN_UNDEF, LinkError, Object, Symbol, read_object
from .relocate import PATCHES, STUB_SIZE, write_stub

PAGE = 4096
PARTS = ("text", "rodata", "data")
DEFAULT_IMPORTS = ("jc_parallel_for", "memcpy", "memmove", "memset", "malloc", "free")


def link(
    objects: Sequence[bytes], target: str, exports: Collection[str], allowed_imports: Collection[str] = DEFAULT_IMPORTS
) -> Image:
    """Objects for one machine as an image that exports `exports`.

    Raises LinkError for a symbol that is defined nowhere and not in `allowed_imports`, a symbol defined twice, a missing
    export, a relocation that would depend on the load address, and malformed objects.
    """
    parsed = [read_object(data) for data in objects]
    if len({o.machine for o in parsed}) != 1:
        raise LinkError(f"{len(parsed)} objects for machines {sorted({o.machine for o in parsed})}; they must be for one")
    machine = parsed[0].machine
    imports = _imports(parsed, allowed_imports)
    code, starts, sizes = _lay_out(parsed, len(imports))
    slots = {name: sizes[0] + sizes[1] + 8 * i for i, name in enumerate(imports)}
    stubs = {name: starts["stubs"] + STUB_SIZE * i for i, name in enumerate(imports)}
    for name in imports:
        write_stub(machine, code, stubs[name], slots[name])
    globals_ = _definitions(parsed, starts)
    for number, unit in enumerate(parsed):
        _relocate(unit, number, code, starts, {**stubs, **globals_})
    missing = [name for name in exports if name not in globals_]
    if missing:
        raise LinkError(f"the objects do not define {', '.join(missing)}")
    return Image(
        target, bytes(code), *sizes, tuple((name, globals_[name]) for name in exports), tuple(slots.items())
    )


def _imports(objects: Sequence[Object], allowed: Collection[str]) -> list[str]:
    defined = {s.name for o in objects for s in o.symbols if s.is_global and s.section != SHN_UNDEF}
    wanted = {s.name: None for o in objects for s in o.symbols if s.section == SHN_UNDEF and s.name}
    imports = [name for name in wanted if name not in defined and name != "_GLOBAL_OFFSET_TABLE_"]
    refused = [name for name in imports if name not in allowed]
    if refused:
        raise LinkError(
            f"the code calls {', '.join(sorted(refused))}, which the runtime does not provide (it provides "
            f"{', '.join(allowed)}); the operation behind it needs an implementation of its own for this target"
        )
    return imports


def _lay_out(objects: Sequence[Object], imports: int) -> tuple[bytearray, dict, tuple[int, int, int]]:
    """The unrelocated image, the offset of each (object, section) and of the stubs, and the sizes of the parts."""
    code = bytearray()
    starts: dict = {}
    sizes = []
    for part in PARTS:
        begin = len(code)
        if part == "data":
            code += bytes(8 * imports)
        for number, unit in enumerate(objects):
            for section in unit.sections.values():
                if section.part == part:
                    code += bytes(-len(code) % section.alignment)
                    starts[number, section.number] = len(code)
                    code += section.content
        if part == "text":
            code += bytes(-len(code) % STUB_SIZE)
            starts["stubs"] = len(code)
            code += bytes(STUB_SIZE * imports)
        code += bytes(-len(code) % PAGE)
        sizes.append(len(code) - begin)
    return code, starts, (sizes[0], sizes[1], sizes[2])


def _definitions(objects: Sequence[Object], starts: dict) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, unit in enumerate(objects):
        for symbol in unit.symbols:
            if symbol.is_global and (number, symbol.section) in starts:
                if symbol.name in found:
                    raise LinkError(f"symbol {symbol.name!r} is defined twice")
                found[symbol.name] = starts[number, symbol.section] + symbol.value
    return found


def _relocate(unit: Object, number: int, code: bytearray, starts: dict, known: dict[str, int]) -> None:
    patches = PATCHES[unit.machine]
    for relocation in unit.relocations:
        symbol = unit.symbols[relocation.symbol]
        section = unit.sections[relocation.section]
        patch = patches.get(relocation.kind)
        if patch is None:
            raise LinkError(
                f"relocation type {relocation.kind} against {symbol.name or 'a section'!r} in {section.name} would "
                f"depend on where the image is loaded"
            )
        if not 0 <= relocation.offset <= len(section.content) - 4:
            raise LinkError(f"a relocation at {relocation.offset} passes the end of {section.name}")
        place = starts[number, relocation.section] + relocation.offset
        patch(code, place, _address(symbol, number, starts, known), relocation.addend)


def _address(symbol: Symbol, number: int, starts: dict, known: dict[str, int]) -> int:
    if (number, symbol.section) in starts:
        return starts[number, symbol.section] + symbol.value
    if symbol.section == SHN_ABS or symbol.name not in known:
        raise LinkError(f"symbol {symbol.name!r} is not part of the image")
    return known[symbol.name]
