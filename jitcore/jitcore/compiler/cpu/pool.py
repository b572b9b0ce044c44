"""The thread pool, as LLVM text: `jc_parallel_for`, `jc_pool_set_threads`, `jc_pool_reset`.

A job is divided into chunks of `grain` iterations that threads claim from an atomic counter. Workers wait for the
generation number to change: they spin briefly, then sleep on a futex. The caller works too, then waits until every
worker has acknowledged the job. While a job runs the lock is held: a second caller, or a nested one, runs its loop alone.
"""

from __future__ import annotations

from jitcore_runtime.plan import Image

from ..cache import cached_image
from ..link import link
from .target import create_machine, target_named

_FUTEX = {"x86_64": 202, "aarch64": 98}
_PAUSE = {"x86_64": "@llvm.x86.sse2.pause()", "aarch64": "@llvm.aarch64.hint(i32 1)"}
_DECLARE = {"x86_64": "declare void @llvm.x86.sse2.pause()", "aarch64": "declare void @llvm.aarch64.hint(i32)"}
_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, private to the process
_SPINS = 400
_STACK = 1 << 21

EXPORTS = ("jc_parallel_for", "jc_pool_set_threads", "jc_pool_reset")
IMPORTS = ("pthread_create", "pthread_attr_init", "pthread_attr_setdetachstate", "pthread_attr_setstacksize", "syscall")

_TEXT = """
@lock = internal global i32 0
@threads = internal global i64 1
@workers = internal global i64 0
@generation = internal global i32 0
@finished = internal global i32 0
@next = internal global i64 0
@body = internal global ptr null
@context = internal global ptr null
@count = internal global i64 0
@grain = internal global i64 0
@helpers = internal global i64 0

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setdetachstate(ptr, i32)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i64 @syscall(i64, ...)

define internal void @work() {
entry:
  %body = load ptr, ptr @body
  %context = load ptr, ptr @context
  %count = load i64, ptr @count
  %grain = load i64, ptr @grain
  br label %claim
claim:
  %chunk = atomicrmw add ptr @next, i64 1 acq_rel
  %begin = mul i64 %chunk, %grain
  %left = sub i64 %count, %begin
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %run, label %done
run:
  %short = icmp slt i64 %left, %grain
  %size = select i1 %short, i64 %left, i64 %grain
  %end = add i64 %begin, %size
  call void %body(ptr %context, i64 %begin, i64 %end)
  br label %claim
done:
  ret void
}

define internal void @wait_while(ptr %word, i32 %value) {
entry:
  br label %spin
spin:
  %turn = phi i64 [ 0, %entry ], [ %following, %again ]
  %seen = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %seen, %value
  br i1 %same, label %again, label %done
again:
  call void @PAUSE@
  %following = add i64 %turn, 1
  %more = icmp slt i64 %following, @SPINS@
  br i1 %more, label %spin, label %sleep
sleep:
  %ignored = call i64 (i64, ...) @syscall(i64 @FUTEX@, ptr %word, i64 @WAIT@, i32 %value, ptr null, ptr null, i32 0)
  %after = load atomic i32, ptr %word acquire, align 4
  %still = icmp eq i32 %after, %value
  br i1 %still, label %sleep, label %done
done:
  ret void
}

define internal ptr @worker(ptr %argument) {
entry:
  %number = ptrtoint ptr %argument to i64
  %packed = lshr i64 %number, 32
  %start = trunc i64 %packed to i32
  %id = and i64 %number, 4294967295
  br label %wait
wait:
  %seen = phi i32 [ %start, %entry ], [ %now, %wait_again ]
  call void @wait_while(ptr @generation, i32 %seen)
  %now = load atomic i32, ptr @generation acquire, align 4
  %helpers = load i64, ptr @helpers
  %helps = icmp slt i64 %id, %helpers
  br i1 %helps, label %help, label %acknowledge
help:
  call void @work()
  br label %acknowledge
acknowledge:
  %before = atomicrmw add ptr @finished, i32 1 acq_rel
  %count = load atomic i64, ptr @workers monotonic, align 8
  %all = trunc i64 %count to i32
  %mine = add i32 %before, 1
  %last = icmp eq i32 %mine, %all
  br i1 %last, label %wake, label %wait_again
wake:
  %ignored = call i64 (i64, ...) @syscall(i64 @FUTEX@, ptr @finished, i64 @WAKE@, i32 1, ptr null, ptr null, i32 0)
  br label %wait_again
wait_again:
  br label %wait
}

define internal void @spawn(i64 %wanted) {
entry:
  %attributes = alloca [128 x i8], align 16
  %thread = alloca i64
  %a = call i32 @pthread_attr_init(ptr %attributes)
  %b = call i32 @pthread_attr_setdetachstate(ptr %attributes, i32 1)
  %c = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 @STACK@)
  br label %check
check:
  %have = load i64, ptr @workers
  %enough = icmp sge i64 %have, %wanted
  br i1 %enough, label %done, label %make
make:
  %generation = load i32, ptr @generation
  %wide = zext i32 %generation to i64
  %high = shl i64 %wide, 32
  %both = or i64 %high, %have
  %argument = inttoptr i64 %both to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr %argument)
  %good = icmp eq i32 %failed, 0
  br i1 %good, label %made, label %done
made:
  %more = add i64 %have, 1
  store i64 %more, ptr @workers
  br label %check
done:
  ret void
}

define void @jc_parallel_for(ptr %body, ptr %context, i64 %count, i64 %grain) {
entry:
  %threads = load i64, ptr @threads
  %single = icmp sle i64 %threads, 1
  %small = icmp sle i64 %count, %grain
  %alone = or i1 %single, %small
  br i1 %alone, label %serial, label %try
try:
  %taken = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %taken, 1
  br i1 %mine, label %share, label %serial
serial:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %run, label %return
run:
  call void %body(ptr %context, i64 0, i64 %count)
  br label %return
return:
  ret void
share:
  %helpers = sub i64 %threads, 1
  call void @spawn(i64 %helpers)
  %workers = load i64, ptr @workers
  store ptr %body, ptr @body
  store ptr %context, ptr @context
  store i64 %count, ptr @count
  store i64 %grain, ptr @grain
  store i64 %helpers, ptr @helpers
  store atomic i64 0, ptr @next release, align 8
  store atomic i32 0, ptr @finished release, align 4
  %old = atomicrmw add ptr @generation, i32 1 acq_rel
  %all = trunc i64 %workers to i32
  %woken = call i64 (i64, ...) @syscall(i64 @FUTEX@, ptr @generation, i64 @WAKE@, i32 %all, ptr null, ptr null, i32 0)
  call void @work()
  br label %join
join:
  %done = load atomic i32, ptr @finished acquire, align 4
  %over = icmp eq i32 %done, %all
  br i1 %over, label %unlock, label %hold
hold:
  call void @wait_while(ptr @finished, i32 %done)
  br label %join
unlock:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define void @jc_pool_set_threads(i64 %threads) {
  store i64 %threads, ptr @threads
  ret void
}

define void @jc_pool_reset(i64 %unused) {
  store i32 0, ptr @lock
  store i64 0, ptr @workers
  ret void
}
"""


def pool_text(target: str) -> str:
    """The pool's LLVM text for a target."""
    triple = target_named(target).triple
    machine = triple.split("-")[0]
    text = _TEXT
    values = {"FUTEX": _FUTEX[machine], "PAUSE": _PAUSE[machine], "WAIT": _WAIT, "WAKE": _WAKE, "SPINS": _SPINS, "STACK": _STACK}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return f'target triple = "{triple}"\n{_DECLARE[machine]}\n{text}'


def build_pool_image(target: str) -> Image:
    """The pool's image, from the cache on disk where it is there."""
    text = pool_text(target)

    def build() -> Image:
        import llvmlite.binding as llvm

        machine = create_machine(target)
        module = llvm.parse_assembly(text)
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
        return link([machine.emit_object(module)], target, EXPORTS, IMPORTS)

    return cached_image(("pool", text), target, build)
