"""Known traps of tracing: state behind objects of Python's own library, of C code and of whole processes, which code
reads by calling their methods and which changes between calls."""

import abc
import configparser
import ctypes
import functools
import gc
import hashlib
import io
import itertools
import logging
import operator
import queue
import string
import sys
import threading
import types
import warnings

import numpy as np
import pytest
from trap_checks import jit, quiet, vector

import jitcore

READ = []


def reads(case):
    """`case()` makes a world of its own; it gives a function of a tensor, and what changes the world between calls."""
    READ.append(case)
    return case


def seen(case, wrap):
    """Results of three calls before the change and of three after it."""
    f, change = case()
    wrapped = wrap(f)
    before = [wrapped(vector(1, 2)).tolist() for _ in range(3)]
    change()
    return before, [wrapped(vector(1, 2)).tolist() for _ in range(3)]


@pytest.mark.parametrize("case", READ, ids=lambda case: case.__name__)
@quiet
def test_what_library_objects_hold(case):
    before, after = seen(case, lambda f: f)
    assert before != after
    assert seen(case, jit) == (before, after)


def logger():
    """A new one, which lets warnings through."""
    made = logging.getLogger(f"{__name__}.{next(_numbers)}")
    made.setLevel(logging.WARNING)
    return made


_numbers = itertools.count()


@reads
def level_of_a_logger():
    log = logger()
    return (lambda x: x * 2 if log.isEnabledFor(logging.DEBUG) else x * 3), lambda: log.setLevel(logging.DEBUG)


@reads
def level_of_its_parent():
    parent = logger()
    log = parent.getChild("child")
    return (lambda x: x * log.getEffectiveLevel()), lambda: parent.setLevel(logging.DEBUG)


@reads
def a_logger_found_by_its_name():
    name = logger().name
    return (
        lambda x: x * 2 if logging.getLogger(name).isEnabledFor(logging.DEBUG) else x * 3,
        lambda: logging.getLogger(name).setLevel(logging.DEBUG),
    )


@reads
def an_event():
    event = threading.Event()
    return (lambda x: x * 2 if event.is_set() else x * 3), event.set


@reads
def a_lock():
    lock = threading.Lock()
    return (lambda x: x * 2 if lock.locked() else x * 3), lock.acquire


@reads
def items_of_a_queue():
    waiting = queue.Queue()
    return (lambda x: x * waiting.qsize()), lambda: waiting.put(1)


@reads
def items_of_a_simple_queue():
    waiting = queue.SimpleQueue()
    return (lambda x: x * waiting.qsize()), lambda: waiting.put(1)


@reads
def text_of_a_stream():
    stream = io.StringIO()
    return (lambda x: x * (1 + len(stream.getvalue()))), lambda: stream.write("abc")


@reads
def place_in_a_stream():
    stream = io.BytesIO(b"abc")
    return (lambda x: x * (1 + stream.tell())), lambda: stream.read(2)


@reads
def lines_of_a_stream():
    stream = io.StringIO("a\nb\nc\nd\ne\nf\n")
    return (lambda x: x * ord(stream.readline()[0])), lambda: None


@reads
def a_configuration():
    config = configparser.ConfigParser()
    config.read_dict({"model": {"scale": "2.5"}})
    return (lambda x: x * config.getfloat("model", "scale")), lambda: config.set("model", "scale", "7")


@reads
def a_caller_of_a_method():
    class Thing:
        def scale(self, x):
            return x * 2

    thing, call = Thing(), operator.methodcaller("scale", vector(1, 2))

    def change():
        Thing.scale = lambda self, x: x * 9

    return (lambda x: x * call(thing)), change


@reads
def a_template():
    text = string.Template("$a")

    def change():
        text.template = "$a$a"

    return (lambda x: x * len(text.substitute(a="aa"))), change


@reads
def base_classes():
    class First:
        factor = 2.0

        def run(self, x):
            return x * self.factor

    class Second:
        factor = 5.0

        def run(self, x):
            return x * self.factor + 1

    class Derived(First):
        pass

    thing = Derived()

    def change():
        Derived.__bases__ = (Second,)

    return (lambda x: thing.run(x) * thing.factor), change


@reads
def registered_classes():
    class Abstract(abc.ABC):  # noqa: B024 (what is registered with it is the point)
        pass

    class Thing:
        pass

    thing = Thing()
    return (lambda x: x * 2 if isinstance(thing, Abstract) else x * 3), lambda: Abstract.register(Thing)


@reads
def name_of_a_function():
    def named():
        pass

    def change():
        named.__name__ = "longer_than_before"

    return (lambda x: x * len(named.__name__)), change


@reads
def name_of_a_class():
    class Named:
        pass

    thing = Named()

    def change():
        Named.__name__ = "LongerThanBefore"

    return (lambda x: x * len(type(thing).__name__)), change


@reads
def counts_of_a_cache():
    @functools.lru_cache
    def cached(n):
        return n

    return (lambda x: x * (1 + cached.cache_info().misses)), lambda: cached(1)


@reads
def arguments_of_an_exception():
    error = ValueError(2)

    def change():
        error.args = (5,)

    return (lambda x: x * error.args[0]), change


@reads
def a_number_of_ctypes():
    number = ctypes.c_int(3)

    def change():
        number.value = 5

    return (lambda x: x * number.value), change


@reads
def a_structure_of_ctypes():
    class Pair(ctypes.Structure):
        _fields_ = [("first", ctypes.c_int), ("second", ctypes.c_double)]

    pair = Pair(3, 1.5)

    def change():
        pair.second = 2.5

    return (lambda x: x * pair.second), change


@reads
def memory_behind_a_pointer():
    number = ctypes.c_int(3)
    pointer = ctypes.pointer(number)

    def change():
        number.value = 5

    return (lambda x: x * pointer.contents.value), change


@reads
def attributes_of_a_text():
    class Text(str):
        pass

    text = Text("a")
    text.factor = 3

    def change():
        text.factor = 5

    return (lambda x: x * text.factor), change


@reads
def class_of_a_number():
    class Number(float):
        factor = 3

    number = Number(2.0)

    def change():
        Number.factor = 5

    return (lambda x: x * number * number.factor), change


@reads
def a_module_made_by_hand():
    module = types.ModuleType("made")
    return (lambda x: x * getattr(module, "factor", 3)), lambda: setattr(module, "factor", 5)


@reads
def methods_of_unknown_objects():
    digest = hashlib.sha256()

    def f(x):
        digest.update(b"a")
        return x * digest.digest()[0]

    return f, lambda: digest.update(b"b")


def _settings():
    def use(setting, value):
        return lambda: getattr(jitcore, setting)(value)

    threads = jitcore.get_num_threads()
    return [
        (jitcore.are_deterministic_algorithms_enabled, use("use_deterministic_algorithms", True),
         use("use_deterministic_algorithms", False)),
        (jitcore.get_num_threads, use("set_num_threads", threads + 1), use("set_num_threads", threads)),
        (jitcore.get_float32_matmul_precision, use("set_float32_matmul_precision", "high"),
         use("set_float32_matmul_precision", "highest")),
        (lambda: np.geterr()["over"], lambda: np.seterr(over="raise"), lambda: np.seterr(over="warn")),
        (lambda: len(warnings.filters), lambda: warnings.simplefilter("error", BytesWarning), warnings.resetwarnings),
        (sys.getrecursionlimit, lambda: sys.setrecursionlimit(5000), lambda: sys.setrecursionlimit(1000)),
        (gc.get_threshold, lambda: gc.set_threshold(800, 10, 10), lambda: gc.set_threshold(700, 10, 10)),
    ]  # fmt: skip


@pytest.mark.parametrize("read, change, back", _settings(), ids=range(len(_settings())))
@quiet
def test_settings_of_the_process(read, change, back):
    first = read()

    def f(x):
        return x * 2 if read() == first else x * 3

    jitted = jit(f)
    with warnings.catch_warnings():
        assert [jitted(vector(1)).tolist() for _ in range(3)] == [[2.0]] * 3
        change()
        try:
            assert read() != first
            assert [jitted(vector(1)).tolist() for _ in range(3)] == [[3.0]] * 3
        finally:
            back()


def test_attributes_that_come_to_a_library_module(monkeypatch):
    jitted = jit(lambda x: x * getattr(np, "no_such_name", 3))
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[3.0]] * 2
    monkeypatch.setattr(np, "no_such_name", 5, raising=False)
    assert [jitted(vector(1)).tolist() for _ in range(2)] == [[5.0]] * 2


@pytest.mark.parametrize("is_handled", [False, True])
def test_attributes_that_another_thread_lacks(is_handled):
    local = threading.local()
    local.factor = 3

    def f(x):
        if not is_handled:
            return x * getattr(local, "factor", 9)
        try:
            return x * local.factor
        except AttributeError:
            return x * 9

    jitted, found = jit(f), []

    def call():
        found.extend(jitted(vector(1)).tolist() for _ in range(2))

    for _ in range(2):
        call()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert found == [[3.0], [3.0], [9.0], [9.0]] * 2


def test_texts_with_attributes_as_arguments():
    class Text(str):
        pass

    def text(factor):
        made = Text("a")
        made.factor = factor
        return made

    jitted = jit(lambda x, name: x * name.factor)
    two, five = text(2), text(5)
    assert [jitted(vector(1), name).tolist() for name in (two, five, two, five)] == [[2.0], [5.0]] * 2
    two.factor = 7
    assert jitted(vector(1), two).tolist() == [7.0]


def test_a_logger_that_is_asked_does_not_keep_a_function_eager(ran):
    log = logger()

    def f(x):
        log.debug("never said")
        return x * 2

    jitted = jit(f)
    for _ in range(6):
        assert jitted(vector(1)).tolist() == [2.0]
    assert len(ran) >= 3


def test_messages_of_the_root_logger_come_when_it_lets_them_through(monkeypatch):
    said = []

    class Handler(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    monkeypatch.setattr(logging.root, "handlers", [Handler()])
    before = logging.root.level
    logging.root.setLevel(logging.WARNING)

    def f(x):
        logging.info("hello")
        return x * 2

    jitted = jit(f)
    try:
        for _ in range(3):
            jitted(vector(1))
        assert not said
        logging.root.setLevel(logging.INFO)
        with pytest.warns(jitcore.JitWarning, match="logged"):
            jitted(vector(1)), jitted(vector(1))
        assert said == ["hello"] * 2
    finally:
        logging.root.setLevel(before)
