"""Damaged objects end in LinkError or a well-formed image: never in another error, a hang or a huge image."""

import random
import struct

import llvmlite.binding as llvm
import pytest

from jitcore.compiler.cpu.target import create_machine
from jitcore.compiler.link import LinkError, link
from jitcore_runtime.native import verify_image

TEXT = """
@table = internal constant [4 x double] [double 1.0, double 2.0, double 3.0, double 4.0]
@counter = global i64 5
@zeros = internal global [100 x i64] zeroinitializer
declare ptr @memcpy(ptr, ptr, i64)
define double @pick(i64 %i) {
  %p = getelementptr double, ptr @table, i64 %i
  %x = load double, ptr %p
  ret double %x
}
define ptr @f(ptr %a, ptr %b) {
  %n = load i64, ptr @counter
  %x = call double @pick(i64 %n)
  store double %x, ptr @zeros
  %r = call ptr @memcpy(ptr %a, ptr %b, i64 %n)
  ret ptr @zeros
}
"""
TARGETS = ("x86-64-v2", "aarch64")


@pytest.fixture(scope="module", params=TARGETS)
def sample(request):
    module = llvm.parse_assembly(TEXT)
    return request.param, create_machine(request.param).emit_object(module)


def attempt(data, target):
    """Whether it linked; any error but LinkError fails the test."""
    try:
        image = link([data], target, ["f"])
    except LinkError as error:
        assert str(error)
        return False
    verify_image(image)
    return True


def test_the_sample_itself_links(sample):
    target, data = sample
    assert attempt(data, target)


def test_every_truncation_is_refused(sample):
    target, data = sample
    for size in range(0, len(data), 7):
        assert not attempt(data[:size], target)


def test_changed_bytes_and_bits(sample):
    target, data = sample
    random_ = random.Random(20)
    refused = 0
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(random_.choice((1, 1, 2, 8))):
            at = random_.randrange(len(damaged))
            damaged[at] = random_.choice((0, 255, damaged[at] ^ 1 << random_.randrange(8), random_.randrange(256)))
        refused += not attempt(bytes(damaged), target)
    assert refused > 50, "the mutations should reach the tables"


def test_extreme_numbers_in_headers_and_tables(sample):
    """Words of the header, section headers, symbols and relocations replaced by numbers at the edges."""
    target, data = sample
    (start,) = struct.unpack_from("<Q", data, 40)
    regions = [(0, 64), (start, len(data))]
    for header in range(start, len(data), 64):
        kind, offset, size = struct.unpack_from("<4xI16xQQ", data, header)
        if kind in (2, 4):
            regions.append((offset, offset + size))
    random_ = random.Random(21)
    for _ in range(800):
        damaged = bytearray(data)
        low, high = random_.choice(regions)
        form, size = random_.choice((("<H", 2), ("<I", 4), ("<Q", 8)))
        at = random_.randrange(low // size, high // size) * size
        edge = random_.choice((0, 1, (1 << 8 * size) - 1, 1 << 8 * size - 1, (1 << 8 * size - 1) - 1, len(data)))
        struct.pack_into(form, damaged, min(at, len(damaged) - size), edge)
        attempt(bytes(damaged), target)


def test_sections_that_each_claim_the_whole_file_are_refused():
    data = bytearray(
        struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 1, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 60000, 1)
    )
    strings = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 0, 64, 0, 0, 1, 0)
    text = struct.pack("<IIQQQQIIQQ", 0, 1, 6, 0, 0, 60000 * 64, 0, 0, 1, 0)
    data += bytes(64) + strings + text * 59998
    with pytest.raises(LinkError, match="sections overlap"):
        link([bytes(data)], "x86-64-v2", ["f"])
