"""The linker on aarch64: the arithmetic of each relocation, and whole images run by qemu-aarch64 where there is one."""

import shutil
import struct
import subprocess

import llvmlite.binding as llvm
import pytest

from jitcore.compiler.cpu.pool import pool_object
from jitcore.compiler.cpu.target import create_machine
from jitcore.compiler.link import LinkError, link
from jitcore.compiler.link.aarch64 import AARCH64
from jitcore.compiler.link.machine import Reference
from jitcore_runtime.native import POOL_IMPORTS, verify_image
from jitcore_runtime.serial import serial_image
from jitcore_runtime.threads import POOL_EXPORTS

TARGET = "aarch64"
TYPES = {name: number for number, (name, _) in AARCH64.rules.items()}
QEMU = shutil.which("qemu-aarch64")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="qemu-aarch64 (Debian's package qemu-user) is not installed")


def emit(text):
    module = llvm.parse_assembly(text)
    module.verify()
    return create_machine(TARGET).emit_object(module)


def patched(type_, instruction, place, symbol, addend=0, slot=None):
    code = bytearray(place) + struct.pack("<I", instruction) + bytes(4)
    reference = Reference(code, place, place, len(code), symbol, slot, addend, "test")
    AARCH64.rules[TYPES["R_AARCH64_" + type_]][1](reference)
    return struct.unpack_from("<I", code, place)[0]


def signed(value, bits):
    return value - (1 << bits) if value >> bits - 1 else value


def adrp_target(instruction, place):
    pages = signed((instruction >> 5 & 0x7FFFF) << 2 | instruction >> 29 & 3, 21)
    return (place & ~4095) + 4096 * pages


PLACES = [(0, 0), (4, 70000), (65540, 8), (8188, 8192), (40, 1 << 27)]


@pytest.mark.parametrize("place, symbol", PLACES)
def test_page_and_low_bits_together_give_the_address(place, symbol):
    page = adrp_target(patched("ADR_PREL_PG_HI21", 0x90000003, place, symbol, 24), place)
    add = patched("ADD_ABS_LO12_NC", 0x91000063, place, symbol, 24)
    assert page + (add >> 10 & 0xFFF) == symbol + 24
    assert add & ~(0xFFF << 10) == 0x91000063
    for name, scale in (("LDST8", 1), ("LDST16", 2), ("LDST32", 4), ("LDST64", 8)):
        load = patched(f"{name}_ABS_LO12_NC", 0x39400063, place, symbol, 24)
        assert page + (load >> 10 & 0xFFF) * scale == symbol + 24


@pytest.mark.parametrize("place, symbol", PLACES[:-1])
@pytest.mark.parametrize("name, bits, shift", [("CALL26", 26, 0), ("JUMP26", 26, 0), ("CONDBR19", 19, 5)])
def test_branches_reach_their_target(name, bits, shift, place, symbol):
    instruction = patched(name, 0, place, symbol, 4)
    assert place + 4 * signed(instruction >> shift & ((1 << bits) - 1), bits) == symbol + 4


def test_a_table_entry_is_the_imports_slot_and_inside_the_image_an_address():
    place, slot, symbol = 64, 69640, 70001
    page = adrp_target(patched("ADR_GOT_PAGE", 0x90000001, place, 0, slot=slot), place)
    load = patched("LD64_GOT_LO12_NC", 0xF9400021, place, 0, slot=slot)
    assert page + (load >> 10 & 0xFFF) * 8 == slot and load >> 22 == 0xF9400021 >> 22
    page = adrp_target(patched("ADR_GOT_PAGE", 0x90000001, place, symbol), place)
    add = patched("LD64_GOT_LO12_NC", 0xF9400022, place, symbol)
    assert page + (add >> 10 & 0xFFF) == symbol
    assert add & ~(0xFFF << 10) == 0x91000000 | 1 << 5 | 2, "add x2, x1, #low"


@pytest.mark.parametrize(
    "type_, place, symbol, message",
    [
        ("CALL26", 0, 1 << 28, "does not fit 26 bits"),
        ("CONDBR19", 0, 1 << 21, "does not fit 19 bits"),
        ("JUMP26", 0, 6, "no instruction's start"),
        ("LDST64_ABS_LO12_NC", 0, 12, "8-byte access"),
        ("LDST128_ABS_LO12_NC", 0, 8, "16-byte access"),
        ("ADD_ABS_LO12_NC", 2, 0, "multiple of 4"),
        ("LD64_GOT_LO12_NC", 0, 0, "cannot do without a table"),
        ("ABS64", 0, 0, "absolute address"),
    ],
)
def test_what_an_instruction_cannot_hold_is_refused(type_, place, symbol, message):
    with pytest.raises(LinkError, match=message):
        patched(type_, 0x14000000, place, symbol)


def test_parts_are_multiples_of_the_largest_page_that_linux_uses():
    image = link([emit("@v = global i64 1\ndefine ptr @f() {\n  ret ptr @v\n}\n")], TARGET, ["f"])
    verify_image(image)
    assert (image.text_size, image.rodata_size, image.data_size) == (65536, 0, 65536)


# Under qemu: a static executable is put together from images at fixed addresses, their import slots filled as the
# loader would fill them. The process's exit status is the answer.

BASE = 0x400000
START = struct.pack(
    "<4I",
    0x94000000,  # bl entry (the distance is filled in)
    0xD2800BC8,  # mov x8, #94: exit_group(the answer)
    0xD4000001,  # svc #0
    0,
)
SYSCALL = (0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xAA0403E3, 0xAA0503E4, 0xAA0603E5, 0xD4000001, 0xD65F03C0)
"""int64 syscall(number, up to six arguments): the registers move down by one, then svc #0 and ret."""
CLONE = (
    0xA9BF0C22,  # stp x2, x3, [x1, #-16]!    clone(flags, stack, function, argument)
    0xD2800002, 0xD2800003, 0xD2800004,  # mov x2, x3, x4, #0
    0xD2801B88,  # mov x8, #220: clone
    0xD4000001,  # svc #0
    0xB4000040,  # cbz x0, child
    0xD65F03C0,  # ret
    0xA8C103E1,  # child: ldp x1, x0, [sp], #16
    0xD63F0020,  # blr x1
    0xD2800BA8,  # mov x8, #93: exit
    0xD4000001,  # svc #0
)  # fmt: skip


def executable(images, entry):
    """An ELF file with the images one after another from BASE on; `entry` is the export that is called.

    Each import is filled from the exports of all images, and from the two raw functions above.
    """
    raw = START + struct.pack(f"<{len(SYSCALL)}I", *SYSCALL) + struct.pack(f"<{len(CLONE)}I", *CLONE)
    known = {"syscall": BASE + len(START), "clone": BASE + len(START) + 4 * len(SYSCALL)}
    address, places = BASE + 65536, []
    for image in images:
        known |= {name: address + offset for name, offset in image.exports}
        places.append(address)
        address += len(image.code)
    raw = struct.pack("<I", 0x94000000 | (known[entry] - BASE) // 4) + raw[4:]
    segments = [(BASE, raw.ljust(65536, b"\0"), 5)]
    for image, start in zip(images, places):
        code = bytearray(image.code)
        for name, offset in image.imports:
            struct.pack_into("<Q", code, offset, known[name])
        parts = ((image.text_size, 5), (image.rodata_size, 4), (image.data_size, 6))
        offset = 0
        for size, flags in parts:
            if size:
                segments.append((start + offset, bytes(code[offset : offset + size]), flags))
            offset += size
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 2, 183, 1, BASE, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    table, contents = b"", b""
    for where, content, flags in segments:
        size = len(content)
        table += struct.pack("<IIQQQQQQ", 1, flags, 65536 + len(contents), where, where, size, size, 65536)
        contents += content
    return (header + table).ljust(65536, b"\0") + contents


def run(tmp_path, images, entry):
    file = tmp_path / "program"
    file.write_bytes(executable(images, entry))
    file.chmod(0o755)
    return subprocess.run([QEMU, str(file)], timeout=60).returncode


FIRST = """
@bytes = internal constant [5 x i8] c"\\01\\02\\03\\04\\05"
@halves = internal constant [3 x i16] [i16 10, i16 20, i16 30]
@words = internal constant [3 x i32] [i32 100, i32 200, i32 300]
@longs = internal global [3 x i64] [i64 1000, i64 2000, i64 3000]
@wide = internal constant <4 x i32> <i32 1, i32 2, i32 3, i32 4>
@zeros = internal global [9000 x i64] zeroinitializer
@shared = external global i64
declare i64 @table(i64)
declare void @jc_parallel_for(ptr, ptr, i64, i64)

define void @body(ptr %sum, i64 %begin, i64 %end) {
  %old = load i64, ptr %sum
  %n = sub i64 %end, %begin
  %new = add i64 %old, %n
  store i64 %new, ptr %sum
  ret void
}
define i64 @check(i64 %one) noinline {
  %sum = alloca i64
  store i64 0, ptr %sum
  %pb = getelementptr i8, ptr @bytes, i64 %one
  %b = load i8, ptr %pb
  %b64 = zext i8 %b to i64
  %ph = getelementptr i16, ptr @halves, i64 %one
  %h = load i16, ptr %ph
  %h64 = zext i16 %h to i64
  %w = load volatile i32, ptr @words
  %w64 = zext i32 %w to i64
  %l = load volatile i64, ptr getelementptr (i64, ptr @longs, i64 2)
  %v = load volatile <4 x i32>, ptr @wide
  %v3 = extractelement <4 x i32> %v, i64 3
  %v64 = zext i32 %v3 to i64
  %pz = getelementptr i64, ptr @zeros, i64 8999
  %z = load volatile i64, ptr %pz
  store volatile i64 7, ptr %pz
  %z2 = load volatile i64, ptr %pz
  %s = load i64, ptr @shared
  %t = call i64 @table(i64 5)
  call void @jc_parallel_for(ptr @body, ptr %sum, i64 50000, i64 7)
  %p = load i64, ptr %sum
  %a1 = add i64 %b64, %h64
  %a2 = add i64 %a1, %w64
  %a3 = add i64 %a2, %l
  %a4 = add i64 %a3, %v64
  %a5 = add i64 %a4, %z
  %a6 = add i64 %a5, %z2
  %a7 = add i64 %a6, %s
  %a8 = add i64 %a7, %t
  %a9 = add i64 %a8, %p
  ret i64 %a9
}
define i64 @program() {
  %x = call i64 @check(i64 1)
  %good = icmp eq i64 %x, EXPECTED
  %r = select i1 %good, i64 42, i64 1
  ret i64 %r
}
"""
SECOND = "@shared = global i64 60000\ndefine i64 @table(i64 %x) noinline {\n  switch i64 %x, label %d [\n"
SECOND += "\n".join(f"    i64 {i}, label %c{i}" for i in range(12)) + "\n  ]\nd:\n  ret i64 -1\n"
SECOND += (
    "\n".join(f"c{i}:\n  store volatile i64 {60000 + i}, ptr @shared\n  ret i64 {i * i}" for i in range(12)) + "\n}\n"
)


@needs_qemu
def test_an_image_of_two_objects_runs_and_calls_its_import(tmp_path):
    total = 2 + 20 + 100 + 3000 + 4 + 0 + 7 + 60000 + 25 + 50000
    image = link([emit(FIRST.replace("EXPECTED", str(total))), emit(SECOND)], TARGET, ["program"])
    verify_image(image)
    assert image.rodata_size and [name for name, _ in image.imports] == ["jc_parallel_for"]
    assert run(tmp_path, [image, serial_image(TARGET)], "program") == 42
    wrong = link([emit(FIRST.replace("EXPECTED", str(total + 1))), emit(SECOND)], TARGET, ["program"])
    assert run(tmp_path, [wrong, serial_image(TARGET)], "program") == 1


THREADS = """
declare i64 @syscall(i64, i64, i64, i64, i64, i64, i64)
declare i64 @clone(i64, ptr, ptr, ptr)
define i32 @pthread_create(ptr %thread, ptr %attributes, ptr %function, ptr %argument) {
  %memory = call i64 @syscall(i64 222, i64 0, i64 65536, i64 3, i64 34, i64 -1, i64 0)
  %end = add i64 %memory, 65536
  %stack = inttoptr i64 %end to ptr
  %id = call i64 @clone(i64 331520, ptr %stack, ptr %function, ptr %argument)
  %bad = icmp slt i64 %id, 0
  %result = zext i1 %bad to i32
  ret i32 %result
}
"""
"""CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM; memory by mmap. The other thread functions do nothing."""

RENDEZVOUS = """
@arrived = internal global i64 0
@data = internal global [5000 x i64] zeroinitializer
declare void @jc_parallel_for(ptr, ptr, i64, i64)
declare void @jc_pool_set_threads(i64)
declare i64 @syscall(i64, i64, i64, i64, i64, i64, i64)

define void @meet(ptr %context, i64 %begin, i64 %end) {
entry:
  %a = atomicrmw add ptr @arrived, i64 1 seq_cst
  br label %wait
wait:
  %seen = load atomic i64, ptr @arrived seq_cst, align 8
  %all = icmp sge i64 %seen, 3
  br i1 %all, label %done, label %yield
yield:
  %y = call i64 @syscall(i64 124, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0)
  br label %wait
done:
  ret void
}
define void @count(ptr %data, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %n, %loop ]
  %p = getelementptr i64, ptr %data, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, %i
  store i64 %y, ptr %p
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define i64 @program() {
entry:
  call void @jc_pool_set_threads(i64 3)
  call void @jc_parallel_for(ptr @meet, ptr null, i64 3, i64 1)
  br label %again
again:
  %turn = phi i64 [ 0, %entry ], [ %following, %again ]
  call void @jc_parallel_for(ptr @count, ptr @data, i64 5000, i64 11)
  %following = add i64 %turn, 1
  %more = icmp slt i64 %following, 300
  br i1 %more, label %again, label %check
check:
  %i = phi i64 [ 0, %again ], [ %n, %right ]
  %p = getelementptr i64, ptr @data, i64 %i
  %x = load i64, ptr %p
  %want = mul i64 %i, 300
  %good = icmp eq i64 %x, %want
  br i1 %good, label %right, label %wrong
right:
  %n = add i64 %i, 1
  %rest = icmp slt i64 %n, 5000
  br i1 %rest, label %check, label %done
wrong:
  ret i64 1
done:
  ret i64 42
}
"""


@needs_qemu
def test_the_thread_pool_runs_jobs_on_several_threads(tmp_path):
    pool = link([pool_object(TARGET)], TARGET, POOL_EXPORTS, POOL_IMPORTS)
    verify_image(pool)
    nothing = [name for name, _ in pool.imports if name not in ("syscall", "pthread_create")]
    text = THREADS + "".join(f"define i32 @{name}() {{\n  ret i32 0\n}}\n" for name in nothing)
    system = link([emit(text)], TARGET, [*nothing, "pthread_create"], ["syscall", "clone"])
    imports = ["jc_parallel_for", "jc_pool_set_threads", "syscall"]
    program = link([emit(RENDEZVOUS)], TARGET, ["program"], imports)
    assert run(tmp_path, [pool, system, program], "program") == 42
