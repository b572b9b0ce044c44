"""Feeds damaged archives to the reader and the interpreter; run by test_hostile.py in a process with limited memory.

Reads an archive from the file argv[1]; argv[2] says how to damage it: "file SEED COUNT" any byte, "metadata SEED
COUNT" the metadata's bytes, "fields SEED COUNT" values in well-formed metadata; the last two with the digest made
right, so that the checks behind it are reached. Prints as JSON what went wrong, and how many archives were refused.
"""

import copy
import functools
import json
import random
import resource
import signal
import struct
import sys
import traceback
import warnings
from pathlib import Path

import flatbuffers
import numpy as np
from archive_cases import metadata_of, with_metadata

from jitcore_ir.errors import ShapeError
from jitcore_ir.shapes import evaluate, symbols_of
from jitcore_runtime import ArchiveError, GuardFailed, InputError, load
from jitcore_serialize.encode import encode
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import _pack

SECONDS_PER_CASE = 20
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
NUMBERS = (0, 1, 2, 3, 5, 9, 31, 255, -1, -2, -3, 2**31 - 1, 2**32 - 1, 2**63 - 1, -(2**63))
ALLOWED_WHEN_RUN = (InputError, ShapeError, IndexError, ZeroDivisionError, GuardFailed)
"""What inputs of these sizes and values may rightly cause in a program that is not the one that was damaged."""


def main():
    original = Path(sys.argv[1]).read_bytes()
    how, seed, count = sys.argv[2].split()
    limit_memory(2 << 30)
    warnings.simplefilter("ignore")
    rng = random.Random(int(seed))
    expected = answers(load(original))
    wrong, refused = [], 0
    for number in range(int(count)):
        damaged = DAMAGE[how](original, rng)
        problem = attempt(damaged, expected if how == "file" else None, native=number % 8 == 0)
        refused += problem == "refused"
        if problem not in ("refused", ""):
            wrong.append(f"{how} {seed}, number {number}: {problem}")
    print(json.dumps({"wrong": wrong, "refused": refused}))


def limit_memory(extra):
    """Allow this process `extra` bytes of address space above what it has now."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))


def attempt(data, expected, native):
    """ "refused" for an ArchiveError, "" where it ran as it may, else what went wrong."""
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("hangs")))
    signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_CASE)
    try:
        try:
            # Damaged machine code must never run, so native is only read: the target it names is refused or unknown.
            model = load(data, max_bytes=64 << 20)
            if native:
                read_archive(data)
        except ArchiveError as error:
            assert error.problem and error.advice and "the given bytes" in str(error)
            return "refused"
        found = answers(model)
        if expected is not None and not same(found, expected):
            return "different answers"
        return ""
    except BaseException:
        return traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answers(model):
    """What each entry gives for inputs that its signature asks for."""
    found = {}
    for entry in model.entries:
        signature = model.signature_of(entry)
        symbols = {s: 3 for spec in signature.inputs for d in spec.shape for s in symbols_of(d)}
        inputs = []
        for spec in signature.inputs:
            try:
                shape = tuple(evaluate(d, symbols) for d in spec.shape)
            except ShapeError:
                return "symbols that divide by zero"
            if min(shape, default=0) < 0 or np.prod(shape, dtype=float) > 1e6:
                return "an input too large to make"
            inputs.append(np.ones(shape, spec.dtype.numpy))
        try:
            with np.errstate(all="ignore"):
                found[entry] = model.run(entry, *inputs)
        except ALLOWED_WHEN_RUN as error:
            found[entry] = f"{type(error).__name__}: {error}"
    return found


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def damage_file(data, rng):
    """A truncation, flipped bits, or bytes set, inserted, removed, moved."""
    data = bytearray(data)
    kind = rng.randrange(8)
    at = rng.randrange(len(data))
    if kind == 0:
        return bytes(data[:at])
    if kind <= 3:
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 4:
        data[at] = rng.randrange(256)
    elif kind == 5:
        data[at:at] = rng.randbytes(rng.randrange(1, 70))
    elif kind == 6:
        del data[at : at + rng.randrange(1, 70)]
    else:
        length, other = rng.randrange(1, 64), rng.randrange(len(data))
        data[at : at + length] = data[other : other + length]
    return bytes(data)


def damage_metadata(file, rng):
    """Offsets, counts and other numbers changed, mostly by little or to the ends of their ranges."""
    data = bytearray(metadata_of(file))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        width = rng.choice((1, 2, 4, 4, 8))
        at = rng.randrange(len(data) // width) * width
        old = int.from_bytes(data[at : at + width], "little")
        other = rng.randrange(len(data) - 8)
        choices = (
            old + rng.choice((-64, -8, -4, -1, 1, 4, 8, 64)),
            rng.choice(INTERESTING),
            old ^ 1 << rng.randrange(8 * width),
            int.from_bytes(data[other : other + width], "little"),
        )
        new = rng.choice(choices)
        data[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    if rng.randrange(12) == 0:
        del data[rng.randrange(len(data)) :]
    return with_metadata(file, bytes(data))


def damage_fields(file, rng):
    """Values changed, items of vectors dropped, doubled or swapped, whole tables replaced by another's."""
    tree = copy.deepcopy(_tree(file))
    tables = list(_tables(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        table, field = rng.choice([(t, f) for t in tables for f in vars(t)])
        old = getattr(table, field)
        others = [getattr(t, field) for t in tables if type(t) is type(table)]
        setattr(table, field, rng.choice(others) if rng.randrange(4) == 0 else _changed(old, rng))
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(tree.Pack(builder))
    except (TypeError, ValueError, RecursionError, struct.error, OverflowError):
        return file
    return with_metadata(file, bytes(builder.Output()))


@functools.cache
def _tree(file):
    """The metadata as flatc's objects."""
    encoded = encode(read_archive(file))
    assert _pack(encoded) == metadata_of(file)
    return encoded.metadata


def _tables(table):
    yield table
    for value in vars(table).values():
        for item in value if isinstance(value, list) else [value]:
            if hasattr(item, "Pack"):
                yield from _tables(item)


def _changed(old, rng):
    if isinstance(old, np.ndarray):
        old = old.tolist()
    if isinstance(old, list) and old:
        new, at = list(old), rng.randrange(len(old))
        kind = rng.randrange(4)
        if kind == 0:
            del new[at]
        elif kind == 1:
            new.insert(at, new[at])
        elif kind == 2:
            other = rng.randrange(len(old))
            new[at], new[other] = new[other], new[at]
        elif not hasattr(new[at], "Pack"):
            new[at] = _changed(new[at], rng)
        return new
    if isinstance(old, int):
        return rng.choice((*NUMBERS, old + 1, old - 1, 2 * old))
    if isinstance(old, bytes | str):
        return rng.choice(("", "N", "M", "x", "x86-64-v2", "add", "sum", "\0", "\n%s{}", "a" * 1000))
    return None


DAMAGE = {"file": damage_file, "metadata": damage_metadata, "fields": damage_fields}

if __name__ == "__main__":
    main()
