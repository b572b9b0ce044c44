"""The thread pool: every iteration once, on as many threads as allowed, whatever the process does meanwhile."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pool_programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitcore_runtime import threads
from jitcore_runtime.cpu_features import host_target, host_targets
from jitcore_runtime.errors import NativeError
from jitcore_runtime.native import load_image
from jitcore_runtime.processors import quota_of, usable_processors
from jitcore_runtime.serial import serial_image

pytestmark = pytest.mark.skipif(not host_targets(), reason="jitcore has no native code for this machine")

FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True)
def _number_of_threads_is_restored():
    before = threads.get_num_threads()
    pool_programs.programs()
    yield
    threads.set_num_threads(before)


def run_script(code, timeout=60, **environment):
    """Run Python code in a process of its own, with pool_programs importable; its output must end with "done"."""
    prelude = f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("done"), done.stdout + done.stderr
    return done.stdout


@settings(max_examples=150, deadline=None)
@given(size=st.integers(-2, 3000), grain=st.integers(-1, 400), number=st.sampled_from([1, 2, 3, 4, 9]))
def test_ranges_cover_the_loop_once_and_begin_at_multiples_of_the_grain(size, grain, number):
    threads.set_num_threads(number)
    data, marks = pool_programs.count(size, grain)
    expected = np.arange(max(size, 1)) + 1 if size > 0 else np.zeros(1)
    np.testing.assert_array_equal(data, expected)
    begins = np.flatnonzero(marks)
    assert marks.max() <= 1
    assert not (begins % max(grain, 1)).any()
    assert (marks[0] == 1) == (size > 0)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_thousands_of_tiny_loops(number):
    threads.set_num_threads(number)
    for size, grain in ((2, 1), (7, 3), (64, 1), (1000, 10)):
        pool_programs.check(size, grain, times=3000)


def test_as_many_threads_run_as_allowed_and_no_more():
    for number in (2, 3, 4, 2):
        threads.set_num_threads(number)
        pool_programs.meet(number)
        counters = np.zeros(2, np.int64)
        for _ in range(50):
            pool_programs.programs().crowd(counters.ctypes.data, 64)
        assert counters[0] == 0 and counters[1] <= number


def test_more_threads_than_processors():
    threads.set_num_threads(32)
    pool_programs.check(5000, 7, times=200)


def test_loops_inside_loops():
    threads.set_num_threads(4)
    data = np.zeros((200, 16), np.int64)
    for _ in range(50):
        pool_programs.programs().nested(data.ctypes.data, 200)
    assert (data == 50).all()


def test_several_python_threads_at_once():
    threads.set_num_threads(4)
    failures = []

    def work(seed):
        try:
            for turn in range(60):
                pool_programs.check(100 + 37 * seed + turn, 1 + seed, times=20)
        except AssertionError as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_a_second_caller_does_not_wait_for_the_first():
    threads.set_num_threads(2)
    counters = np.array([0, 1000, 0], np.int64)
    first = threading.Thread(target=pool_programs.programs().meet, args=(counters.ctypes.data, 2))
    first.start()
    while counters[0] < 2:
        time.sleep(0)
    pool_programs.check(1000, 10)
    counters[2] = 1
    first.join()


def test_the_number_of_threads_may_change_while_loops_run():
    stop = threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            number = (number + 1) % 4
            threads.set_num_threads(number + 1)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(100):
            pool_programs.check(300, 3, times=30)
    finally:
        stop.set()
        changer.join()


def test_the_callers_signals_stay_and_workers_take_none_but_faults():
    run_script("""
        import signal, os
        from pool_programs import meet, threads, programs
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        before = set(os.listdir("/proc/self/task"))
        threads.set_num_threads(3)
        meet(3)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}
        new = set(os.listdir("/proc/self/task")) - before
        assert len(new) == 2, new
        for task in new:
            status = open(f"/proc/self/task/{task}/status").read()
            blocked = int(status.split("SigBlk:")[1].split()[0], 16)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
                assert blocked >> number - 1 & 1, number
            for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
                assert not blocked >> number - 1 & 1, number
        print("done")
    """)


def test_idle_workers_sleep():
    run_script("""
        import os, time
        before = set(os.listdir("/proc/self/task"))
        from pool_programs import meet, threads
        threads.set_num_threads(3)
        meet(3)
        new = set(os.listdir("/proc/self/task")) - before
        while any(open(f"/proc/self/task/{t}/stat").read().rsplit(")", 1)[1].split()[0] != "S" for t in new):
            time.sleep(0.01)
        print("done")
    """)


FORK = """
    import os, sys, threading, time
    import numpy as np
    from pool_programs import check, meet, programs, threads

    def in_child():
        child = os.fork()
        if child == 0:
            try:
                meet(3)
                check(2000, 7, times=50)
                os._exit(0)
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0

    threads.set_num_threads(3)
"""


def test_a_forked_child_has_threads_of_its_own():
    run_script(FORK + "    in_child()\n    meet(3)\n    in_child()\n    check(1000, 3)\n    print('done')\n")


def test_forking_while_another_thread_is_inside_a_loop():
    run_script(
        FORK
        + """
    counters = np.array([0, 1000, 0], np.int64)
    other = threading.Thread(target=programs().meet, args=(counters.ctypes.data, 3))
    other.start()
    while counters[0] < 3:
        time.sleep(0)
    in_child()
    counters[2] = 1
    other.join()
    meet(3)
    print("done")
"""
    )


def test_multiprocessing_by_fork():
    run_script("""
        import multiprocessing
        from pool_programs import check, meet, threads
        threads.set_num_threads(2)
        meet(2)
        def work(seed):
            check(500 + seed, 3, times=20)
            return seed
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(work, range(12)) == list(range(12))
        print("done")
    """)


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "import os; os._exit(0)"])
def test_exit_leaves_no_thread_stuck(ending):
    run_script(f"""
        from pool_programs import check, meet, threads
        threads.set_num_threads(4)
        meet(4)
        check(1000, 10)
        print("done", flush=True)
        {ending}
    """)


def test_exit_while_a_daemon_thread_is_inside_a_loop():
    run_script("""
        import threading, time
        import numpy as np
        from pool_programs import programs, threads
        threads.set_num_threads(3)
        counters = np.array([0, 1000, 0], np.int64)
        threading.Thread(target=programs().meet, args=(counters.ctypes.data, 3), daemon=True).start()
        while counters[0] < 3:
            time.sleep(0)
        print("done")
    """)


def test_dropping_programs_between_their_calls():
    run_script("""
        import numpy as np
        from pool_programs import load_image, program_image, programs, threads, PTR, I64
        threads.set_num_threads(4)
        programs()
        image = program_image()
        for turn in range(500):
            data = np.zeros((20, 16), np.int64)
            load_image(image).function("nested", None, PTR, I64)(data.ctypes.data, 20)
            assert (data == 1).all()
        print("done")
    """)


def test_loops_run_with_fewer_threads_where_the_system_refuses_more():
    run_script("""
        import os, resource
        from pool_programs import check, programs, threads
        programs()
        threads.set_num_threads(64)
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
        check(1000, 3, times=100)
        assert len(os.listdir("/proc/self/task")) < 64, "the limit should have refused some"
        print("done")
    """)


def test_code_loaded_where_there_is_no_pool_runs_on_the_calling_thread():
    run_script("""
        import numpy as np
        from pool_programs import pool_image, programs, threads
        data = np.zeros((20, 16), np.int64)
        programs(pool=False).nested(data.ctypes.data, 20)
        assert not threads.pool_installed() and (data == 1).all()
        threads.set_num_threads(3)
        counters = np.zeros(2, np.int64)
        programs(pool=False).crowd(counters.ctypes.data, 1)
        assert counters[1] == 1
        threads.install_pool(pool_image())
        programs(pool=False).nested(data.ctypes.data, 20)
        assert (data == 2).all()
        print("done")
    """)


def test_the_serial_loop_calls_the_body_once_with_everything():
    calls = []
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(lambda *a: calls.append(a))
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    loop = load_image(serial_image()).function("jc_parallel_for", None, *types)
    for count in (5, 1 << 40, 0, -3):
        loop(ctypes.cast(body, ctypes.c_void_p), 77, count, 2)
    assert calls == [(77, 0, 5), (77, 0, 1 << 40)]
    with pytest.raises(NativeError, match="no native code for riscv64"):
        serial_image("riscv64")


def test_the_first_pool_stays():
    address = threads.parallel_for_address()
    threads.install_pool(pool_programs.pool_image())
    assert threads.parallel_for_address() == address


def test_a_pool_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(threads, "_pool", None)
    text = pool_programs.pool_text(host_target())
    version = f"ret i64 {threads.POOL_VERSION}\n"
    assert text.count(version) == 1
    with pytest.raises(NativeError, match=f"version 99, this runtime wants {threads.POOL_VERSION}"):
        threads.install_pool(pool_programs.pool_image(text.replace(version, "ret i64 99\n")))
    assert not threads.pool_installed()


@pytest.mark.parametrize(
    "value, error",
    [(0, ValueError), (-1, ValueError), (257, ValueError), (2.0, TypeError), (True, TypeError), ("2", TypeError)],
)
def test_wrong_numbers_of_threads_are_refused(value, error):
    before = threads.get_num_threads()
    with pytest.raises(error, match="set_num_threads takes"):
        threads.set_num_threads(value)
    assert threads.get_num_threads() == before


def test_the_environment_sets_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("JITCORE_NUM_THREADS", " 3 ")
    assert threads.get_num_threads() == 3
    for wrong in ("0", "many", "-2", "1.5", "100000"):
        monkeypatch.setattr(threads, "_threads", None)
        monkeypatch.setenv("JITCORE_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=r"JITCORE_NUM_THREADS is .* from 1 to 256"):
            threads.get_num_threads()
    monkeypatch.setenv("JITCORE_NUM_THREADS", "")
    assert threads.get_num_threads() == min(usable_processors(), 256)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
def test_the_default_is_the_processors_we_may_use():
    run_script(
        """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from jitcore_runtime.threads import get_num_threads
        assert get_num_threads() == 1
        print("done")
    """,
        JITCORE_NUM_THREADS="",
    )


def test_the_quota_of_the_tightest_group_counts(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert quota_of(tmp_path, "/a/b") is None
    (inner / "cpu.max").write_text("max 100000\n")
    assert quota_of(tmp_path, "/a/b") is None
    (tmp_path / "a" / "cpu.max").write_text("250000 100000\n")
    assert quota_of(tmp_path, "/a/b") == 3
    (tmp_path / "cpu.max").write_text("1000 100000\n")
    assert quota_of(tmp_path, "/a/b") == 1
    (tmp_path / "cpu.max").write_text("nonsense\n")
    assert quota_of(tmp_path, "/a/b") == 3
    assert quota_of(tmp_path, "") is None
    assert quota_of(tmp_path, "/nowhere/else") is None


def test_python_signals_reach_the_main_thread_while_workers_exist():
    threads.set_num_threads(3)
    pool_programs.meet(3)
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread()))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        while not seen:
            time.sleep(0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [threading.main_thread()]
