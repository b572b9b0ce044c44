"""Regenerate what is derived from archive.fbs: `python serialize/schema/regenerate.py`.

Writes `jitcore_serialize/generated/`: flatc's Python (for the writer; needs flatc, Debian's flatbuffers-compiler) and
`tables.py`, the schema as data (for the checked reader).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SCHEMA = Path(__file__).with_name("archive.fbs")
GENERATED = SCHEMA.parents[1] / "jitcore_serialize" / "generated"

_HEAD = '''"""The schema as data, made from schema/archive.fbs by schema/regenerate.py.

`TABLES[name]` is the table's fields in the order of their vtable slots, each (name, type, default): a scalar's type is
its struct code, "string", "[x]" is a vector of x, any other name is an enum or a table. `ENUMS[name]` is its names.
"""
'''
_SCALARS = {"ubyte": "B", "int": "i", "uint": "I", "long": "q", "ulong": "Q"}


def main() -> None:
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    for name, text in generate().items():
        (GENERATED / name).write_text(text)


def generate() -> dict[str, str]:
    """Every generated file's text, by its name."""
    return {**flatc_python(), "tables.py": tables_module(SCHEMA.read_text())}


def flatc_python() -> dict[str, str]:
    """What flatc makes of the schema. Raises FileNotFoundError where flatc is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["flatc", "--python", "--gen-object-api", "-o", folder, str(SCHEMA)], check=True)
        made = Path(folder, "jitcore_serialize", "generated")
        return {path.name: path.read_text() for path in made.glob("*.py")}


def tables_module(schema: str) -> str:
    """The text of tables.py."""
    text = re.sub(r"//[^\n]*", "", schema)
    enums = {
        name: tuple(v.strip() for v in body.split(","))
        for name, body in re.findall(r"\benum (\w+) : ubyte \{([^}]*)\}", text)
    }
    tables = {}
    for name, body in re.findall(r"\btable (\w+) \{([^}]*)\}", text):
        fields = re.findall(r"(\w+):(\[?\w+\]?)(?: = (-?\d+))?;", body)
        tables[name] = tuple((field, _type(type), int(default or 0)) for field, type, default in fields)
    lines = [_HEAD, "TABLES: dict[str, tuple[tuple[str, str, int], ...]] = {"]
    for name, fields in tables.items():
        lines += [f"    {name!r}: (", *(f"        {field!r}," for field in fields), "    ),"]
    lines += ["}", "", "ENUMS: dict[str, tuple[str, ...]] = {"]
    lines += [f"    {name!r}: {values!r}," for name, values in enums.items()]
    return "\n".join([*lines, "}", ""])


def _type(type: str) -> str:
    inner = type.strip("[]")
    code = _SCALARS.get(inner, inner)
    return f"[{code}]" if type.startswith("[") else code


if __name__ == "__main__":
    main()
