"""Native loops that put the thread pool to the test, as an image. Used by test_threads.py and the scripts it starts."""

import ctypes
from functools import cache
from types import SimpleNamespace

import llvmlite.binding as llvm
import numpy as np

from jitcore.compiler.cpu.pool import pool_text
from jitcore.compiler.cpu.target import create_machine
from jitcore.compiler.link import link
from jitcore_runtime import threads
from jitcore_runtime.cpu_features import host_target
from jitcore_runtime.native import POOL_IMPORTS, load_image

I64, PTR = ctypes.c_int64, ctypes.c_void_p
TEXT = """
declare void @jc_parallel_for(ptr, ptr, i64, i64)

; context[0] is the data, context[1] marks where ranges begin
define internal void @count_body(ptr %context, i64 %begin, i64 %end) {
entry:
  %data = load ptr, ptr %context
  %second = getelementptr ptr, ptr %context, i64 1
  %marks = load ptr, ptr %second
  %mark = getelementptr i64, ptr %marks, i64 %begin
  %old = atomicrmw add ptr %mark, i64 1 monotonic
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %n, %loop ]
  %p = getelementptr i64, ptr %data, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, %i
  %z = add i64 %y, 1
  store i64 %z, ptr %p
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @count(ptr %context, i64 %count, i64 %grain, i64 %times) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %n, %loop ]
  call void @jc_parallel_for(ptr @count_body, ptr %context, i64 %count, i64 %grain)
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}

; counters[0] threads have arrived; wait until counters[1] have, or counters[2] is set
define internal void @meet_body(ptr %counters, i64 %begin, i64 %end) {
entry:
  %a = atomicrmw add ptr %counters, i64 1 seq_cst
  %want = getelementptr i64, ptr %counters, i64 1
  %stop = getelementptr i64, ptr %counters, i64 2
  br label %wait
wait:
  %seen = load atomic i64, ptr %counters seq_cst, align 8
  %wanted = load atomic i64, ptr %want seq_cst, align 8
  %stopped = load atomic i64, ptr %stop seq_cst, align 8
  %all = icmp sge i64 %seen, %wanted
  %over = icmp ne i64 %stopped, 0
  %leave = or i1 %all, %over
  br i1 %leave, label %done, label %wait
done:
  ret void
}
define void @meet(ptr %counters, i64 %count) {
  call void @jc_parallel_for(ptr @meet_body, ptr %counters, i64 %count, i64 1)
  ret void
}

; counters[0] threads are inside, counters[1] at most so far
define internal void @crowd_body(ptr %counters, i64 %begin, i64 %end) {
entry:
  %before = atomicrmw add ptr %counters, i64 1 seq_cst
  %now = add i64 %before, 1
  %most = getelementptr i64, ptr %counters, i64 1
  %m = atomicrmw max ptr %most, i64 %now seq_cst
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %n, %loop ]
  %x = load volatile i64, ptr %most
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, 2000
  br i1 %more, label %loop, label %done
done:
  %after = atomicrmw sub ptr %counters, i64 1 seq_cst
  ret void
}
define void @crowd(ptr %counters, i64 %count) {
  call void @jc_parallel_for(ptr @crowd_body, ptr %counters, i64 %count, i64 1)
  ret void
}

; each iteration runs a loop of its own over a row of 16
define internal void @row_body(ptr %row, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %n, %loop ]
  %p = getelementptr i64, ptr %row, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, 1
  store i64 %y, ptr %p
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define internal void @rows_body(ptr %data, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %n, %loop ]
  %offset = mul i64 %i, 16
  %row = getelementptr i64, ptr %data, i64 %offset
  call void @jc_parallel_for(ptr @row_body, ptr %row, i64 16, i64 2)
  %n = add i64 %i, 1
  %more = icmp slt i64 %n, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @nested(ptr %data, i64 %rows) {
  call void @jc_parallel_for(ptr @rows_body, ptr %data, i64 %rows, i64 1)
  ret void
}
"""


def compiled(text, exports, imports):
    module = llvm.parse_assembly(text)
    module.verify()
    return link([create_machine(host_target()).emit_object(module)], host_target(), exports, imports)


def pool_image(text=None):
    return compiled(text or pool_text(host_target()), threads.POOL_EXPORTS, POOL_IMPORTS)


def program_image():
    return compiled(TEXT, ("count", "meet", "crowd", "nested"), ("jc_parallel_for",))


@cache
def programs(pool=True):
    """The loops as ctypes functions, on the thread pool (installed if need be)."""
    if pool and not threads.pool_installed():
        threads.install_pool(pool_image())
    loaded = load_image(program_image())
    return SimpleNamespace(
        count=loaded.function("count", None, PTR, I64, I64, I64),
        meet=loaded.function("meet", None, PTR, I64),
        crowd=loaded.function("crowd", None, PTR, I64),
        nested=loaded.function("nested", None, PTR, I64),
    )


def count(size, grain, times=1):
    """Run a loop of `size` iterations `times` times: (what each iteration added up, how often a range began there)."""
    data, marks = np.zeros(max(size, 1), np.int64), np.zeros(max(size, 1), np.int64)
    context = np.array([data.ctypes.data, marks.ctypes.data], np.uint64)
    programs().count(context.ctypes.data, size, grain, times)
    return data, marks


def check(size, grain, times=1):
    """Each iteration must have run exactly `times` times."""
    data, _ = count(size, grain, times)
    expected = times * (np.arange(max(size, 1)) + 1) if size > 0 else np.zeros(1)
    np.testing.assert_array_equal(data, expected)


def meet(number):
    """Returns only when `number` threads have been in a loop at the same time."""
    counters = np.array([0, number, 0], np.int64)
    programs().meet(counters.ctypes.data, number)
    assert counters[0] == number
