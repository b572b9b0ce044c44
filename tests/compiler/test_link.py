"""The linker on x86-64: what it accepts runs and gives the right answers, what it refuses it names."""

import ctypes
import struct
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from jitcore.compiler.cpu.target import create_machine
from jitcore.compiler.link import LinkError, link
from jitcore_runtime.cpu_features import host_targets
from jitcore_runtime.native import IMPORTS, load_image, verify_image

TARGET = "x86-64-v2"
runs_here = pytest.mark.skipif(TARGET not in host_targets(), reason=f"this machine does not run {TARGET}")
I64 = ctypes.c_int64
ANSWER = "define i64 @answer() {\n  ret i64 42\n}\n"


def emit(text, target=TARGET):
    module = llvm.parse_assembly(text)
    module.verify()
    return create_machine(target).emit_object(module)


def linked(*texts, exports=("f",), target=TARGET, **options):
    image = link([emit(text, target) for text in texts], target, exports, **options)
    verify_image(image)
    return image


def function(image, name="f", *arguments, result=I64):
    return load_image(image).function(name, result, *arguments)


@runs_here
def test_functions_and_data_of_other_objects_are_found():
    user = """
    @shared = external global i64
    declare i64 @twice(i64)
    define i64 @f(i64 %x) {
      %y = call i64 @twice(i64 %x)
      %s = load i64, ptr @shared
      %z = add i64 %y, %s
      ret i64 %z
    }"""
    provider = "@shared = global i64 1000\ndefine i64 @twice(i64 %x) {\n  %y = add i64 %x, %x\n  ret i64 %y\n}\n"
    for order in ((user, provider), (provider, user)):
        assert function(linked(*order), "f", I64)(21) == 1042


@runs_here
def test_a_strong_definition_replaces_a_weak_one():
    weak = ANSWER.replace("define", "define weak").replace("42", "1")
    caller = "declare i64 @answer()\ndefine i64 @f() {\n  %x = call i64 @answer()\n  ret i64 %x\n}\n"
    assert function(linked(weak, caller, ANSWER))() == 42
    assert function(linked(ANSWER, caller, weak))() == 42
    assert function(linked(weak, caller, weak))() == 1


@runs_here
def test_local_names_of_two_objects_stay_apart():
    def module(name, value):
        return (
            f"@v = internal global i64 {value}\n"
            f"define i64 @{name}() {{\n  %x = load volatile i64, ptr @v\n  ret i64 %x\n}}\n"
        )

    image = linked(module("f", 1), module("g", 2), exports=("f", "g"))
    assert (function(image, "f")(), function(image, "g")()) == (1, 2)


@runs_here
def test_constants_variables_and_zeroed_memory_lie_in_their_parts():
    image = linked("""
    @table = internal constant [3 x i64] [i64 7, i64 8, i64 9]
    @counter = internal global i64 100
    @zeros = internal global [64 x i64] zeroinitializer
    define i64 @f(i64 %i) {
      %p = getelementptr i64, ptr @table, i64 %i
      %a = load i64, ptr %p
      %c = load i64, ptr @counter
      %n = add i64 %c, 1
      store i64 %n, ptr @counter
      %q = getelementptr i64, ptr @zeros, i64 %i
      %z = load i64, ptr %q
      store i64 %n, ptr %q
      %s = add i64 %a, %n
      %t = add i64 %s, %z
      ret i64 %t
    }""")
    assert (image.text_size, image.rodata_size, image.data_size) == (4096, 4096, 4096)
    f = function(image, "f", I64)
    assert [f(2), f(2), f(0)] == [9 + 101, 9 + 102 + 101, 7 + 103]


@runs_here
@pytest.mark.parametrize("alignment", [1, 64, 4096])
def test_alignment_of_data_is_kept(alignment):
    image = linked(f"""
    @odd = internal global i8 1
    @v = internal global i64 5, align {alignment}
    define i64 @f() {{
      %o = load volatile i8, ptr @odd
      %x = load volatile i64, ptr @v
      %p = ptrtoint ptr @v to i64
      %r = urem i64 %p, {alignment}
      %s = add i64 %r, %x
      ret i64 %s
    }}""")
    assert function(image)() == 5


@runs_here
def test_jump_tables_work():
    cases = "\n".join(f"    i64 {i}, label %c{i}" for i in range(12))
    blocks = "\n".join(f"c{i}:\n  call void @g(i64 {i})\n  ret i64 {(i * 37) % 101}" for i in range(12))
    sink = (
        "@sink = internal global i64 0\n"
        "define void @g(i64 %x) noinline {\n  store volatile i64 %x, ptr @sink\n  ret void\n}\n"
    )
    image = linked(
        f"{sink}define i64 @f(i64 %x) {{\n  switch i64 %x, label %d [\n{cases}\n  ]\n{blocks}\nd:\n  ret i64 -1\n}}\n"
    )
    assert image.rodata_size, "the test wants a switch that becomes a table"
    f = function(image, "f", I64)
    assert [f(i) for i in range(13)] == [(i * 37) % 101 for i in range(12)] + [-1]


@runs_here
def test_addresses_of_exported_symbols_need_no_table():
    """LLVM reads them from a global offset table; calls marked nonlazybind go through it too, and tail calls jump."""
    image = linked("""
    @v = global i64 11
    define i64 @g(i64 %x) noinline nonlazybind {
      %y = load i64, ptr @v
      %z = add i64 %x, %y
      ret i64 %z
    }
    define ptr @address() {
      ret ptr @v
    }
    define i64 @f(i64 %x) {
      %p = call ptr @address()
      store i64 20, ptr %p
      %y = tail call i64 @g(i64 %x)
      ret i64 %y
    }""")
    assert function(image, "f", I64)(1) == 21


@runs_here
def test_indirect_calls_and_jumps_through_the_table_become_direct():
    caller = """
    declare i64 @g(i64) nonlazybind
    define i64 @called(i64 %x) {
      %y = call i64 @g(i64 %x)
      %z = add i64 %y, 1
      ret i64 %z
    }
    define i64 @jumped(i64 %x) {
      %y = tail call i64 @g(i64 %x)
      ret i64 %y
    }"""
    callee = "define i64 @g(i64 %x) {\n  %y = mul i64 %x, 10\n  ret i64 %y\n}\n"
    image = linked(caller, callee, exports=("called", "jumped"))
    assert function(image, "called", I64)(4) == 41
    assert function(image, "jumped", I64)(4) == 40


@runs_here
@pytest.mark.parametrize("binding", ["", "nonlazybind"])
def test_imports_are_called_through_their_slot(binding):
    image = linked(f"""
    declare ptr @memmove(ptr, ptr, i64) {binding}
    define ptr @f(ptr %a, ptr %b, i64 %n) {{
      %r = call ptr @memmove(ptr %a, ptr %b, i64 %n)
      ret ptr %r
    }}""")
    assert [name for name, _ in image.imports] == ["memmove"]
    target = ctypes.create_string_buffer(8)
    f = function(image, "f", ctypes.c_void_p, ctypes.c_char_p, I64, result=ctypes.c_void_p)
    assert f(target, b"jitcore", 7) == ctypes.addressof(target)
    assert target.value == b"jitcore"


@runs_here
def test_the_address_of_an_import_is_the_functions_own():
    image = linked("declare ptr @memset(ptr, i32, i64)\ndefine ptr @f() {\n  ret ptr @memset\n}\n")
    address = function(image, result=ctypes.c_void_p)()
    assert address == ctypes.cast(ctypes.CDLL(None).memset, ctypes.c_void_p).value


def test_declared_but_unused_functions_are_no_imports():
    assert linked("declare double @cos(double)\n" + ANSWER.replace("answer", "f")).imports == ()


def test_an_unknown_import_is_refused_by_name_with_what_is_allowed():
    text = "declare void @launch(i64)\ndefine void @f() {\n  call void @launch(i64 1)\n  ret void\n}\n"
    with pytest.raises(LinkError, match=r"object 0 \(\.text\) uses 'launch'.*may: .*memcpy.*; define it"):
        linked(text)
    assert linked(text, allowed_imports=("launch",)).imports[0][0] == "launch"
    with pytest.raises(LinkError, match="it may: nothing"):
        linked(text, allowed_imports=())


def test_the_allow_list_is_the_loaders():
    for name in IMPORTS:
        linked(f"declare void @{name}()\ndefine void @f() {{\n  call void @{name}()\n  ret void\n}}\n")


@pytest.mark.parametrize(
    "operation, name, advice",
    [
        ("%y = fpext half %h to float\n  %x = bitcast float %y to i32", "__extendhfsf2", "x86-64-v3"),
        ("%s = fadd half %h, %h\n  %b = bitcast half %s to i16\n  %x = zext i16 %b to i32", "__", "float16"),
    ],
)
def test_float16_on_the_baseline_is_refused_and_the_error_says_what_to_do(operation, name, advice):
    text = f"define i32 @f(half %h) {{\n  {operation}\n  ret i32 %x\n}}\n"
    with pytest.raises(LinkError, match=f"{name}.*{advice}"):
        linked(text)
    assert linked(text, target="x86-64-v3").imports == ()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "declare double @llvm.exp.f64(double)\ndefine double @f(double %x) {\n"
            "  %y = call double @llvm.exp.f64(double %x)\n  ret double %y\n}\n",
            "'exp'.*polynomial",
        ),
        (
            "define half @f(double %x) {\n  %y = fptrunc double %x to half\n  ret half %y\n}\n",
            "'__truncdfhf2'.*float64 to float16 in one step",
        ),
        (
            "define i128 @f(i128 %a, i128 %b) {\n  %c = sdiv i128 %a, %b\n  ret i128 %c\n}\n",
            "'__divti3'.*runtime library",
        ),
        (
            "@t = internal constant [2 x ptr] [ptr @f, ptr @g]\ndefine ptr @f(i64 %i) {\n"
            "  %p = getelementptr ptr, ptr @t, i64 %i\n  %x = load ptr, ptr %p\n  ret ptr %x\n}\n"
            "define void @g() {\n  ret void\n}\n",
            "R_X86_64_64 .*absolute address.*offsets instead of pointers",
        ),
        (
            "@t = thread_local global i64 1\ndefine i64 @f() {\n  %x = load i64, ptr @t\n  ret i64 %x\n}\n",
            "'t' is thread-local",
        ),
        (
            "@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } "
            "{ i32 1, ptr @f, ptr null }]\ndefine void @f() {\n  ret void\n}\n",
            "ctors.*runs no constructors",
        ),
        (
            "@f = global i64 3\n" + ANSWER,
            "export 'f' is data",
        ),
        (ANSWER, "no object defines 'f'.*they define answer"),
        ("@t = constant i64 3\n", "hold no code"),
        (
            "@big = global [1000000000 x i8] zeroinitializer\ndefine ptr @f() {\n  ret ptr @big\n}\n",
            "larger than 268435456 bytes",
        ),
        (
            "@big = global i8 0, align 65536\ndefine ptr @f() {\n  ret ptr @big\n}\n",
            "alignment 65536 is more than 4096",
        ),
        ("@f = common global i64 0\n" + ANSWER, "does not go into an image"),
    ],
)  # fmt: skip
def test_what_an_image_cannot_hold_is_refused(text, message):
    with pytest.raises(LinkError, match=message):
        linked(text)


def test_names_defined_twice_are_refused():
    with pytest.raises(LinkError, match="'answer' is defined twice, by object 0 and object 1"):
        linked(ANSWER, ANSWER, exports=("answer",))


def test_objects_for_another_machine_are_refused():
    with pytest.raises(LinkError, match=r"object 1 is code for ELF machine 183, not 62 \(x86-64-v2\)"):
        link([emit(ANSWER), emit(ANSWER, "aarch64")], TARGET, ["answer"])
    with pytest.raises(LinkError, match="x86-64 and aarch64, not for 'riscv64'"):
        link([emit(ANSWER)], "riscv64", ["answer"])


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "outside its 0 bytes"),
        (b"MZ" + bytes(100), "not a 64-bit little-endian ELF"),
        (Path(sys.executable).read_bytes(), "not relocatable"),
    ],
)
def test_what_is_no_object_is_refused(data, message):
    with pytest.raises(LinkError, match=message):
        link([data], TARGET, ["f"])


def test_no_objects_hold_no_code():
    with pytest.raises(LinkError, match="no code"):
        link([], TARGET, [])


def test_an_unknown_relocation_is_named():
    data = bytearray(emit("declare void @memcpy()\ndefine void @f() {\n  call void @memcpy()\n  ret void\n}\n"))
    found = False
    for offset in range(0, len(data) - 24, 8):
        place, info, addend = struct.unpack_from("<QQq", data, offset)
        if info & 0xFFFFFFFF == 4 and addend == -4 and place < 64:
            struct.pack_into("<Q", data, offset + 8, info & ~0xFFFFFFFF | 250)
            found = True
    assert found
    with pytest.raises(LinkError, match=r"relocation type 250 is unknown \(known are .*R_X86_64_PLT32"):
        link([bytes(data)], TARGET, ["f"])


def test_unwinding_tables_are_left_out():
    text = "define i64 @f() uwtable {\n  ret i64 42\n}\n"
    assert b".eh_frame" in emit(text)
    assert linked(text).rodata_size == 0


def test_linking_is_deterministic():
    texts = [ANSWER, ANSWER.replace("answer", "f")]
    assert linked(*texts) == linked(*texts)
