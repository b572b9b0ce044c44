"""The committed generated code and the reader's table are what the schema says."""

import importlib.util
import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from archive_cases import full_archive, metadata_of

import jitcore_serialize.generated as generated
from jitcore_serialize.checked import read_flatbuffer
from jitcore_serialize.generated.tables import ENUMS, TABLES
from jitcore_serialize.writer import write_archive

ROOT = Path(__file__).resolve().parents[2]
GENERATED = Path(generated.__file__).parent


@pytest.fixture(scope="module")
def regenerate():
    path = ROOT / "serialize" / "schema" / "regenerate.py"
    spec = importlib.util.spec_from_file_location("regenerate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readers_table_is_what_the_schema_gives(regenerate):
    assert regenerate.tables_module(regenerate.SCHEMA.read_text()) == (GENERATED / "tables.py").read_text()


@pytest.mark.skipif(shutil.which("flatc") is None, reason="flatc (Debian's flatbuffers-compiler) is not installed")
def test_the_generated_code_is_what_flatc_gives(regenerate):
    def code(text):
        """Without the comments and the namespace's spelling of versions of flatc."""
        return [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]

    made = regenerate.generate()
    assert set(made) == {path.name for path in GENERATED.glob("*.py")}
    for name, text in made.items():
        assert code(text) == code((GENERATED / name).read_text()), name


WIDTHS = {"B": "Uint8", "i": "Int32", "I": "Uint32", "q": "Int64", "Q": "Uint64"}


@pytest.mark.parametrize("table", TABLES)
def test_the_readers_table_agrees_with_flatcs_accessors(table):
    """Slots, scalar widths and defaults, read out of the code that flatc made: it knows nothing of our table."""
    module = importlib.import_module(f"jitcore_serialize.generated.{table}")
    for slot, (field, type, default) in enumerate(TABLES[table]):
        name = "".join(part.title() for part in field.split("_"))
        name = re.sub(r"(\d)([a-z])", lambda m: m[1] + m[2], name)
        accessor = next(f for n, f in vars(getattr(module, table)).items() if n.lower() == name.lower())
        source = inspect.getsource(accessor)
        assert f"self._tab.Offset({4 + 2 * slot})" in source, field
        inner = "B" if type.strip("[]") in ENUMS else type.strip("[]")
        if inner in WIDTHS:
            assert f"{WIDTHS[inner]}Flags" in source, field
        if inner in WIDTHS and not type.startswith("["):
            assert f"return {default}\n" in source, field


@pytest.mark.skipif(shutil.which("flatc") is None, reason="flatc (Debian's flatbuffers-compiler) is not installed")
def test_the_checked_reader_reads_what_flatc_reads(regenerate, tmp_path):
    write_archive(full_archive(), tmp_path / "full.jca")
    metadata = metadata_of((tmp_path / "full.jca").read_bytes())
    (tmp_path / "metadata.bin").write_bytes(metadata)
    options = ["--json", "--raw-binary", "--strict-json", "--defaults-json", "-o", str(tmp_path)]
    subprocess.run(["flatc", *options, str(regenerate.SCHEMA), "--", str(tmp_path / "metadata.bin")], check=True)
    expected = json.loads((tmp_path / "metadata.json").read_text(), object_hook=without_empty)
    assert plain(read_flatbuffer(metadata, "Metadata"), "Metadata") == expected


def without_empty(table):
    return {name: value for name, value in table.items() if value not in ("", [])}


def plain(record, table):
    """A record as flatc's JSON has it, empty strings and vectors left out: enums by name, no absent tables."""
    found = {}
    for field, type, _ in TABLES[table]:
        value = getattr(record, field)
        if value is None or (value in ("", (), b"") and (type == "string" or type.startswith("["))):
            continue
        inner = type.strip("[]")
        if inner in TABLES:
            value = [plain(v, inner) for v in value] if type.startswith("[") else plain(value, inner)
        elif inner in ENUMS:
            value = ENUMS[inner][value]
        found[field] = list(value) if type.startswith("[") else value
    return found


def test_every_table_in_the_schema_is_reached_from_the_root():
    seen, waiting = set(), ["Metadata"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [t.strip("[]") for _, t, _ in TABLES[name] if t.strip("[]") in TABLES]
    assert seen == set(TABLES)
