"""Images in executable memory: both ways of mapping, what is refused, and how long the memory lives."""

import ctypes
import gc
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from jitcore.compiler.cpu.target import create_machine
from jitcore.compiler.link import link
from jitcore_runtime import native
from jitcore_runtime.cpu_features import host_target, host_targets
from jitcore_runtime.errors import NativeError
from jitcore_runtime.native import IMPORTS, load_image, verify_image
from jitcore_runtime.plan import ABI_VERSION, Image

pytestmark = pytest.mark.skipif(not host_targets(), reason="jitcore has no native code for this machine")
I64 = ctypes.c_int64
TEXT = """
@table = internal constant [3 x i64] [i64 7, i64 8, i64 9]
@counter = internal global i64 100
declare ptr @memcpy(ptr, ptr, i64)
define i64 @next(i64 %i) {
  %p = getelementptr i64, ptr @table, i64 %i
  %a = load i64, ptr %p
  %c = load i64, ptr @counter
  %n = add i64 %c, %a
  store i64 %n, ptr @counter
  ret i64 %n
}
define void @copy(ptr %a, ptr %b, i64 %n) {
  %r = call ptr @memcpy(ptr %a, ptr %b, i64 %n)
  ret void
}
define ptr @constants() {
  ret ptr @table
}
define void @spin(ptr %started, ptr %stop) {
entry:
  store atomic i64 1, ptr %started seq_cst, align 8
  br label %loop
loop:
  %x = load atomic i64, ptr %stop seq_cst, align 8
  %go = icmp eq i64 %x, 0
  br i1 %go, label %loop, label %done
done:
  ret void
}
"""


def make(text=TEXT, exports=("next", "copy", "constants", "spin"), **options):
    module = llvm.parse_assembly(text)
    module.verify()
    return link([create_machine(host_target()).emit_object(module)], host_target(), exports, **options)


@pytest.fixture(scope="module")
def image():
    return make()


def mappings():
    """(start, end, permissions) of this process's memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, permissions, *_ = line.split()
        start, end = (int(part, 16) for part in place.split("-"))
        yield start, end, permissions


def permissions_at(address):
    return next((p for start, end, p in mappings() if start <= address < end), None)


@pytest.fixture(params=["anonymous", "file"])
def way(request, monkeypatch):
    """Each way of mapping by itself."""
    monkeypatch.setattr(
        native, "_WAYS", ({"anonymous": native._map_anonymous, "file": native._map_file}[request.param],)
    )


def test_functions_constants_variables_and_imports_work(image, way):
    loaded = load_image(image)
    following = loaded.function("next", I64, I64)
    assert [following(0), following(2)] == [107, 116]
    target = ctypes.create_string_buffer(8)
    loaded.function("copy", None, ctypes.c_void_p, ctypes.c_char_p, I64)(target, b"jitcore", 7)
    assert target.value == b"jitcore"


def test_two_loads_of_an_image_share_no_variables(image, way):
    first, second = load_image(image), load_image(image)
    assert first.function("next", I64, I64)(0) == 107
    assert second.function("next", I64, I64)(0) == 107


def test_no_page_is_writable_and_executable(image, way):
    loaded = load_image(image)
    base = loaded.address("next") - dict(image.exports)["next"]
    assert permissions_at(base) == "r-xp"
    assert permissions_at(base + image.text_size) == "r--p"
    assert permissions_at(base + image.text_size + image.rodata_size) == "rw-p"
    assert loaded.function("constants", ctypes.c_void_p)() >= base + image.text_size


def test_memory_goes_with_the_last_reference(image, way):
    loaded = load_image(image)
    address = loaded.address("next")
    following = loaded.function("next", I64, I64)
    del loaded
    gc.collect()
    assert following(0) == 107, "a function keeps its image mapped"
    del following
    gc.collect()
    assert permissions_at(address) != "r-xp"


def test_close_waits_for_the_functions(image):
    loaded = load_image(image)
    address = loaded.address("next")
    following = loaded.function("next", I64, I64)
    loaded.close()
    loaded.close()
    assert following(0) == 107
    with pytest.raises(NativeError, match="closed"):
        loaded.address("next")
    del following
    gc.collect()
    assert permissions_at(address) != "r-xp"


def test_code_that_runs_in_another_thread_stays_mapped(image):
    started, stop = I64(0), I64(0)
    loaded = load_image(image)
    spin = loaded.function("spin", None, ctypes.c_void_p, ctypes.c_void_p)
    arguments = (ctypes.addressof(started), ctypes.addressof(stop))
    thread = threading.Thread(target=spin, args=arguments)
    thread.start()
    while not started.value:
        pass
    address = loaded.address("spin")
    del loaded, spin
    gc.collect()
    assert permissions_at(address) == "r-xp"
    stop.value = 1
    thread.join()


def test_an_immortal_image_stays(image):
    address = load_image(image, immortal=True).address("next")
    gc.collect()
    assert permissions_at(address) == "r-xp"


def test_loading_and_dropping_many_images_leaves_nothing(image):
    load_image(image)
    before = len(list(mappings()))
    for _ in range(300):
        load_image(image).function("next", I64, I64)(1)
    gc.collect()
    assert len(list(mappings())) <= before + 3


def test_an_unknown_function_is_named_with_what_there_is(image):
    loaded = load_image(image)
    assert loaded.address("jc_prepare") is None
    with pytest.raises(NativeError, match="exports no 'jc_prepare', only next, copy, constants, spin"):
        loaded.function("jc_prepare", None)


def test_refused_executable_memory_is_one_clear_error(image, monkeypatch):
    monkeypatch.setattr(native, "_WAYS", (lambda image, code: None,) * 2)
    with pytest.raises(NativeError, match=r"refuses executable memory.*without native=True"):
        load_image(image)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory-deny-write-execute")
def test_a_process_that_may_not_make_memory_executable_maps_a_file():
    code = textwrap.dedent("""
        import ctypes, sys
        from jitcore_runtime import native
        from jitcore_runtime.serial import serial_image
        libc = ctypes.CDLL(None)
        if libc.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
            print("unsupported"); sys.exit()
        image = serial_image()
        assert native._map_anonymous(image, image.code) is None
        body = ctypes.cast(libc.memset, ctypes.c_void_p)
        memory = ctypes.create_string_buffer(4)
        run = native.load_image(image).function("jc_parallel_for", None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
        run(body, ctypes.addressof(memory), 3, 1)  # memset(memory, 0, 3)
        print("mapped")
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if done.stdout.strip() == "unsupported":
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert (done.stdout.strip(), done.returncode) == ("mapped", 0), done.stderr


def damaged(image, **changes):
    return replace(image, **changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"abi": ABI_VERSION + 1},
            f"ABI {ABI_VERSION + 1}, this runtime runs ABI {ABI_VERSION}: export the model again",
        ),
        ({"text_size": 0}, "cannot have parts"),
        ({"text_size": -4096}, "cannot have parts"),
        ({"text_size": 100}, "cannot have parts"),
        ({"data_size": 1 << 40}, "cannot have parts"),
        ({"code": b""}, "cannot have parts"),
        ({"exports": (("f", -1),)}, "export 'f' at -1 lies outside the text"),
        ({"exports": (("f", 1 << 30),)}, "lies outside the text"),
        ({"exports": (("f", 0), ("f", 8))}, "the export 'f' twice"),
        ({"imports": (("memcpy", 0),)}, "slot of 'memcpy' at 0 lies outside the writable part"),
        ({"imports": (("memcpy", 1 << 40),)}, "lies outside the writable part"),
        ({"imports": (("memcpy", -8),)}, "lies outside the writable part"),
    ],
)
def test_malformed_images_are_refused(image, changes, message):
    with pytest.raises(NativeError, match=message):
        verify_image(damaged(image, **changes))
    with pytest.raises(NativeError, match=message):
        load_image(damaged(image, **changes))


def test_slots_must_be_aligned_inside_and_apart(image):
    start = image.text_size + image.rodata_size
    verify_image(damaged(image, imports=(("memcpy", len(image.code) - 8),)))
    for slot in (start + 4, len(image.code) - 4, len(image.code)):
        with pytest.raises(NativeError, match="writable part"):
            verify_image(damaged(image, imports=(("memcpy", slot),)))
    with pytest.raises(NativeError, match=r"import slot .* twice"):
        verify_image(damaged(image, imports=(("memcpy", start), ("memset", start))))


def test_code_for_another_machine_is_refused(image):
    other = "aarch64" if host_target() != "aarch64" else "x86-64-v3"
    with pytest.raises(NativeError, match=f"is for {other}, and this machine runs {host_targets()[0]}"):
        load_image(damaged(image, target=other))


def test_code_for_missing_features_is_refused(image):
    with pytest.raises(NativeError, match="lacks: teleport"):
        load_image(damaged(image, features=("teleport",)))


def test_larger_pages_than_the_images_are_refused(image, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 65536)
    with pytest.raises(NativeError, match="pages have 65536 bytes"):
        load_image(image)


@pytest.mark.parametrize("name", ["system", "execve", "pthread_create", "syscall", "mprotect", "dlopen"])
def test_imports_outside_the_allow_list_are_refused(image, name):
    start = image.text_size + image.rodata_size
    assert name not in IMPORTS
    with pytest.raises(NativeError, match=f"imports '{name}', which is not allowed"):
        load_image(damaged(image, imports=((name, start),)))


def test_even_the_pool_may_not_import_everything(image):
    start = image.text_size + image.rodata_size
    with pytest.raises(NativeError, match="'system', which is not allowed"):
        load_image(damaged(image, imports=(("system", start),)), pool=True)
    with pytest.raises(NativeError, match="C library lacks"):
        load_image(damaged(image, imports=(("jc_parallel_for", start),)), pool=True)


def test_an_image_is_plain_data(image):
    assert isinstance(image, Image) and replace(image) == image
