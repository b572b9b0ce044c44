"""The thread pool's code, as LLVM text with `$names` for what differs between processors.

One job at a time. Who runs it holds `@lock`; everyone else runs their loop alone, so a loop inside a loop body, or in a
second Python thread, never waits.

`@state` is the job's door: seats left (high half) | caller sleeps (bit 15) | workers inside (low 15 bits). Workers
enter by taking a seat, in one compare-and-swap, and only while seats are left. The caller opens the door after it has
written the job, works too, then takes the seats away and waits for those inside. So a worker that wakes late costs
nothing, one that is inside reads only the job it entered, and the job is not rewritten before it is empty.

Workers wait for `@generation` to change: a short spin, then a futex. `@sleepers` saves the caller the system call when
no worker sleeps: a worker counts itself before the kernel compares the generation, and the caller counts sleepers after
it has changed the generation, so one of the two sees the other.
"""

TEXT = """
@lock = internal global i32 0
@state = internal global i32 0
@generation = internal global i32 0
@sleepers = internal global i32 0
@threads = internal global i64 1
@workers = internal global i64 0
@limit = internal global i64 $MOST
@next = internal global i64 0
@body = internal global ptr null
@context = internal global ptr null
@count = internal global i64 0
@grain = internal global i64 0
@chunks = internal global i64 0
@step = internal global i64 0

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_attr_setdetachstate(ptr, i32)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i64 @syscall(i64, ...)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
$DECLARE_PAUSE

; Claim and run chunks, `step` at a time, until none is left.
define internal void @work() {
entry:
  %body = load ptr, ptr @body
  %context = load ptr, ptr @context
  %count = load i64, ptr @count
  %grain = load i64, ptr @grain
  %chunks = load i64, ptr @chunks
  %step = load i64, ptr @step
  br label %claim
claim:
  %chunk = atomicrmw add ptr @next, i64 %step monotonic
  %some = icmp slt i64 %chunk, %chunks
  br i1 %some, label %run, label %done
run:
  %begin = mul i64 %chunk, %grain
  %after = add i64 %chunk, %step
  %inner = icmp slt i64 %after, %chunks
  %bound = mul i64 %after, %grain
  %end = select i1 %inner, i64 %bound, i64 %count
  call void %body(ptr %context, i64 %begin, i64 %end)
  br label %claim
done:
  ret void
}

; Wait until the generation is not `seen`; returns the one found.
define internal i32 @wait_for_job(i32 %seen) {
entry:
  br label %spin
spin:
  %turn = phi i32 [ 0, %entry ], [ %following, %again ]
  %found = load atomic i32, ptr @generation acquire, align 4
  %fresh = icmp ne i32 %found, %seen
  br i1 %fresh, label %return, label %again
again:
  $PAUSE
  %following = add i32 %turn, 1
  %more = icmp slt i32 %following, $SPINS
  br i1 %more, label %spin, label %sleep
sleep:
  %a = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %b = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr @generation, i32 $WAIT, i32 %seen, ptr null, ptr null, i32 0)
  %c = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  %woken = load atomic i32, ptr @generation acquire, align 4
  %over = icmp ne i32 %woken, %seen
  br i1 %over, label %return, label %sleep
return:
  %result = phi i32 [ %found, %spin ], [ %woken, %sleep ]
  ret i32 %result
}

; Take a seat: 1 if there was one.
define internal i1 @enter() {
entry:
  %first = load atomic i32, ptr @state monotonic, align 4
  br label %try
try:
  %old = phi i32 [ %first, %entry ], [ %now, %take ]
  %open = icmp ugt i32 %old, 65535
  br i1 %open, label %take, label %closed
take:
  %new = sub i32 %old, 65535
  %pair = cmpxchg ptr @state, i32 %old, i32 %new acquire monotonic
  %now = extractvalue { i32, i1 } %pair, 0
  %taken = extractvalue { i32, i1 } %pair, 1
  br i1 %taken, label %inside, label %try
inside:
  ret i1 true
closed:
  ret i1 false
}

; Leave; the last one wakes a caller that sleeps.
define internal void @leave() {
entry:
  %old = atomicrmw sub ptr @state, i32 1 release
  %wake = icmp eq i32 %old, 32769
  br i1 %wake, label %call, label %return
call:
  %a = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr @state, i32 $WAKE, i32 1, ptr null, ptr null, i32 0)
  br label %return
return:
  ret void
}

define internal ptr @worker(ptr %argument) {
entry:
  %number = ptrtoint ptr %argument to i64
  %start = trunc i64 %number to i32
  br label %wait
wait:
  %seen = phi i32 [ %start, %entry ], [ %generation, %look ], [ %generation, %help ]
  %generation = call i32 @wait_for_job(i32 %seen)
  br label %look
look:
  %entered = call i1 @enter()
  br i1 %entered, label %help, label %wait
help:
  call void @work()
  call void @leave()
  br label %wait
}

; Take the seats away and wait until the last worker has left: a short spin, a few yields, then a futex.
define internal void @join() {
entry:
  %closed = atomicrmw and ptr @state, i32 32767 acquire
  br label %spin
spin:
  %turn = phi i32 [ 0, %entry ], [ %following, %pause ], [ %following, %yield ]
  %inside = load atomic i32, ptr @state acquire, align 4
  %empty = icmp eq i32 %inside, 0
  br i1 %empty, label %return, label %again
again:
  %following = add i32 %turn, 1
  %short = icmp slt i32 %following, $SPINS
  br i1 %short, label %pause, label %long
pause:
  $PAUSE
  br label %spin
long:
  %few = icmp slt i32 %following, $SPINS_AND_YIELDS
  br i1 %few, label %yield, label %sleep
yield:
  %a = call i64 (i64, ...) @syscall(i64 $YIELD)
  br label %spin
sleep:
  %old = atomicrmw or ptr @state, i32 32768 acquire
  %left = and i32 %old, 32767
  %none = icmp eq i32 %left, 0
  br i1 %none, label %return, label %block
block:
  %expected = or i32 %old, 32768
  %b = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr @state, i32 $WAIT, i32 %expected, ptr null, ptr null, i32 0)
  br label %sleep
return:
  ret void
}

; Make workers until there are `wanted`. They take no signal but those of a fault of their own.
define internal void @spawn(i64 %wanted) {
entry:
  %attributes = alloca [128 x i8], align 16
  %thread = alloca i64
  %blocked = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  %a = call i32 @pthread_attr_init(ptr %attributes)
  %b = call i32 @pthread_attr_setdetachstate(ptr %attributes, i32 1)
  %c = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 $STACK)
  %d = call i32 @sigfillset(ptr %blocked)
  %ill = call i32 @sigdelset(ptr %blocked, i32 4)
  %trap = call i32 @sigdelset(ptr %blocked, i32 5)
  %bus = call i32 @sigdelset(ptr %blocked, i32 7)
  %fpe = call i32 @sigdelset(ptr %blocked, i32 8)
  %segv = call i32 @sigdelset(ptr %blocked, i32 11)
  %e = call i32 @pthread_sigmask(i32 2, ptr %blocked, ptr %before)
  %generation = load atomic i32, ptr @generation monotonic, align 4
  %wide = zext i32 %generation to i64
  %argument = inttoptr i64 %wide to ptr
  br label %check
check:
  %have = load i64, ptr @workers
  %enough = icmp sge i64 %have, %wanted
  br i1 %enough, label %done, label %make
make:
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr %argument)
  %good = icmp eq i32 %failed, 0
  br i1 %good, label %made, label %refused
made:
  %more = add i64 %have, 1
  store i64 %more, ptr @workers
  br label %check
refused:
  store i64 %have, ptr @limit
  br label %done
done:
  %f = call i32 @pthread_sigmask(i32 2, ptr %before, ptr null)
  %g = call i32 @pthread_attr_destroy(ptr %attributes)
  ret void
}

define void @jc_parallel_for(ptr %body, ptr %context, i64 %count, i64 %wish) {
entry:
  %grain = call i64 @llvm.smax.i64(i64 %wish, i64 1)
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %single = icmp sle i64 %threads, 1
  %small = icmp sle i64 %count, %grain
  %alone = or i1 %single, %small
  br i1 %alone, label %serial, label %try
try:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %pair, 1
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
  %below = sub i64 %count, 1
  %whole = udiv i64 %below, %grain
  %chunks = add i64 %whole, 1
  %others = sub i64 %threads, 1
  %useful = call i64 @llvm.smin.i64(i64 %others, i64 %whole)
  %limit = load i64, ptr @limit
  %wanted = call i64 @llvm.smin.i64(i64 %useful, i64 %limit)
  %have = load i64, ptr @workers
  %lack = icmp slt i64 %have, %wanted
  br i1 %lack, label %grow, label %publish
grow:
  call void @spawn(i64 %wanted)
  br label %publish
publish:
  %portions = mul i64 %threads, $PORTIONS
  %portion = udiv i64 %chunks, %portions
  %step = call i64 @llvm.smax.i64(i64 %portion, i64 1)
  store ptr %body, ptr @body
  store ptr %context, ptr @context
  store i64 %count, ptr @count
  store i64 %grain, ptr @grain
  store i64 %chunks, ptr @chunks
  store i64 %step, ptr @step
  store i64 0, ptr @next
  %helpers = trunc i64 %wanted to i32
  %seats = shl i32 %helpers, 16
  store atomic i32 %seats, ptr @state release, align 4
  %old = atomicrmw add ptr @generation, i32 1 seq_cst
  %sleepers = load atomic i32, ptr @sleepers seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %wake, label %help
wake:
  %a = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr @generation, i32 $WAKE, i32 %helpers, ptr null, ptr null, i32 0)
  br label %help
help:
  call void @work()
  call void @join()
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define void @jc_pool_set_threads(i64 %threads) {
  store atomic i64 %threads, ptr @threads monotonic, align 8
  store atomic i64 $MOST, ptr @limit monotonic, align 8
  ret void
}

; In a forked child: no worker came along, and the thread that held the lock may not have either.
define void @jc_pool_reset() {
  store i64 0, ptr @workers
  store i64 $MOST, ptr @limit
  store i32 0, ptr @sleepers
  store atomic i32 0, ptr @state release, align 4
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define i64 @jc_pool_version() {
  ret i64 $VERSION
}
"""
