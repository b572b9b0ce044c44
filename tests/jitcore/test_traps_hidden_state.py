"""Known traps of tracing: Python state that code reads without naming it, or that only may be there.

Every call gives what eager execution gives.
"""

import array
import collections
import contextvars
import dataclasses
import functools
import importlib
import math
import operator
import os
import sys
import threading
import types
import warnings

import numpy as np
import pytest
from trap_checks import agree, jit, quiet, same, vector

import jitcore
from jitcore import nn


class Config:
    pass


def held(make, change, read):
    """A function that uses `read(thing)` gives what eager execution does, before and after `change(thing)`."""
    thing = make()

    def f(x):
        return x * read(thing)

    jitted = jit(f)
    integers = jitcore.tensor([1, 2])
    agree(jitted, f, (integers,), (integers,))
    change(thing)
    agree(jitted, f, (integers,), (integers,))


def put(name, value):
    return lambda thing: setattr(thing, name, value)


def entry(key, value):
    return lambda thing: operator.setitem(thing, key, value)


def config():
    made = Config()
    made.alpha, made.beta = 2.0, 3.0
    return made


def put_on_class(name, value):
    return lambda thing: setattr(type(thing), name, value)


def late(thing):
    return getattr(thing, "late", 1.0)


def made(*bases, **attributes):
    return lambda: type("Made", bases, attributes)()


MISSING = {
    "hasattr": (Config, put("late", 3.0), lambda c: c.late if hasattr(c, "late") else 1.0),
    "getattr with a default": (Config, put("late", 3.0), late),
    "a module": (nn.Module, put("late", 3.0), late),
    "on its class": (made(), put_on_class("late", 3.0), late),
    "in front of a base class": (made(type("Base", (), {"late": 2.0})), put_on_class("late", 3.0), lambda c: c.late),
    "a slot": (made(__slots__=("late",)), put("late", 3.0), late),
}


@pytest.mark.parametrize("case", MISSING)
def test_an_attribute_that_was_missing(case):
    held(*MISSING[case])


def test_an_attribute_that_was_missing_and_is_caught():
    thing = Config()

    def f(x):
        try:
            return x * thing.late
        except AttributeError:
            return x

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    thing.late = 3.0
    agree(jitted, f, (vector(1),), (vector(1),))
    del thing.late
    agree(jitted, f, (vector(1),))


def test_a_global_that_was_missing_or_built_in():
    table = {"__name__": "conformance_module"}
    exec(
        "def f(x):\n    try:\n        x = x * SCALE\n    except NameError:\n        pass\n    return x + max(1, 2)",
        table,
    )
    f = table["f"]
    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    table["SCALE"] = 3.0
    agree(jitted, f, (vector(1),), (vector(1),))
    table["max"] = min
    agree(jitted, f, (vector(1),), (vector(1),))


def test_an_attribute_in_front_of_getattr_hook():
    class Lazy:
        def __init__(self):
            self.store = {"gain": 2.0}

        def __getattr__(self, name):
            return self.__dict__["store"][name]

    held(Lazy, put("gain", 5.0), lambda lazy: lazy.gain)


COMPUTED = {
    "getattr": lambda c: getattr(c, f"al{'pha'}") * getattr(c, f"b{'eta'}"),
    "vars": lambda c: sum(vars(c).values()),
    "__dict__": lambda c: sum(c.__dict__.values()),
    "__dict__ by key": lambda c: c.__dict__["".join(["al", "pha"])],
}


@pytest.mark.parametrize("case", COMPUTED)
def test_attributes_under_names_that_are_computed(case):
    held(config, put("alpha", 5.0), COMPUTED[case])


def test_fields_of_a_dataclass_looked_through():
    @dataclasses.dataclass
    class Options:
        alpha: float = 2.0
        beta: float = 3.0

    held(Options, put("alpha", 5.0), lambda o: sum(dataclasses.asdict(o).values()))
    held(Options, put("alpha", 5.0), lambda o: sum(dataclasses.astuple(o)))
    held(Options, put("alpha", 5.0), lambda o: sum(getattr(o, field.name) for field in dataclasses.fields(o)))


def test_numbers_of_layers_by_computed_name():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain0, self.gain1 = 2.0, 3.0

        def forward(self, x):
            for n in range(2):
                x = x * getattr(self, f"gain{n}")
            return x

    layers = Layers()
    jitted = jit(layers)
    for gain in (2.0, 3.0, 4.0):
        layers.gain1 = gain
        agree(jitted, layers, (vector(1),), (vector(1),))


@quiet
def test_globals_by_name():
    table = {"__name__": "conformance_module", "SCALE": 2.0}
    exec("def f(x, name):\n    return x * globals()[name]", table)
    jitted = jit(table["f"])
    for scale in (2.0, 3.0):
        table["SCALE"] = scale
        agree(jitted, table["f"], (vector(1), "SCALE"), (vector(1), "SCALE"))


def local():
    made = threading.local()
    made.gain = 2.0
    return made


def variable():
    made = contextvars.ContextVar("gain", default=2.0)
    return made


CONTAINERS = {
    "ChainMap": (lambda: collections.ChainMap({}, {"a": 2.0}), entry("a", 3.0), lambda c: c["a"]),
    "UserDict": (lambda: collections.UserDict(a=2.0), entry("a", 3.0), lambda c: c["a"]),
    "UserList": (lambda: collections.UserList([2.0]), entry(0, 3.0), lambda c: c[0]),
    "array": (lambda: array.array("d", [2.0]), entry(0, 3.0), lambda c: c[0]),
    "bytearray": (lambda: bytearray(b"\2"), entry(0, 3), lambda c: c[0]),
    "NumPy array of a negative zero": (lambda: np.array([0.0]), entry(0, -0.0), lambda c: float(c[0])),
    "long list of other types": (lambda: [1] * 10, entry(3, 1.0), lambda c: c[3]),
    "long list of a negative zero": (lambda: [0.0] * 10, entry(3, -0.0), lambda c: c[3]),
    "set of other types": (lambda: {1}, lambda c: (c.clear(), c.add(1.0)), lambda c: next(iter(c))),
    "thread-local object": (local, put("gain", 3.0), lambda c: c.gain),
    "context variable": (variable, lambda c: c.set(3.0), lambda c: c.get()),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_whose_content_no_attribute_names(case):
    held(*CONTAINERS[case])


def test_dicts_behind_proxies_and_views():
    for behind in (types.MappingProxyType, dict.values, dict.items):
        table = {"a": 2.0}
        shown = behind(table)

        def f(x, shown=shown):
            if isinstance(shown, types.MappingProxyType):
                return x * shown["a"]
            return x * sum(item[1] if isinstance(item, tuple) else item for item in shown)

        jitted = jit(f)
        agree(jitted, f, (vector(1),), (vector(1),))
        table["a"] = 3.0
        agree(jitted, f, (vector(1),), (vector(1),))


def test_objects_in_a_numpy_array_and_methods_kept_as_attributes():
    thing = config()
    objects = np.array([thing], dtype=object)
    held(lambda: objects, lambda c: setattr(thing, "alpha", 7.0), lambda c: c[0].alpha)
    table = {"a": 2.0}
    held(lambda: table.get, lambda c: table.update(a=3.0), lambda get: get("a"))


def test_methods_of_a_dict_of_the_users_class():
    class Default(dict):
        def __missing__(self, key):
            return self.default

    made = Default()
    made.default = 2.0
    held(lambda: made, put("default", 3.0), lambda d: d["absent"])


def test_thread_local_objects_in_two_threads():
    own = local()

    def f(x):
        return x * own.gain

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    failures = []

    def other():
        own.gain = 5.0
        failures.extend(n for n in range(2) if not same(jitted(vector(1)), f(vector(1))))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert not failures
    agree(jitted, f, (vector(1),))


@pytest.mark.parametrize("size", [None, 8])
def test_results_that_a_function_caches(size):
    settings = config()

    @functools.lru_cache(size)
    def cached():
        return settings

    @functools.lru_cache(size)
    def number():
        return settings.beta

    def f(x):
        return x * cached().alpha * number()

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),), (vector(1),))
    settings.alpha = 5.0
    agree(jitted, f, (vector(1),), (vector(1),))
    settings.beta = 7.0
    agree(jitted, f, (vector(1),))
    number.cache_clear()
    agree(jitted, f, (vector(1),), (vector(1),))
    assert f(vector(1)).item() == 35.0


def test_equal_tuples_made_anew_cause_no_retrace():
    settings = config()

    def f(x):
        return x * settings.window[0] + settings.window[1][0]

    jitted = jit(f)
    for _ in range(4):
        settings.window = (*[2.0], ("a", 1)[1:])
        agree(jitted, f, (vector(1),))
    assert jitted.explain().count("interpreted") == 1
    for window in ((2, (1,)), (2.0, (True,)), (-0.0, (1,)), (0.0, (1,))):
        settings.window = window
        agree(jitted, f, (jitcore.tensor([1]),), (jitcore.tensor([1]),))


def test_lists_that_a_closure_appends_to_are_each_calls_own():
    """Nothing stays eager for a list, dict or set that lives in one call alone."""

    def f(x):
        found, table, names = [], {}, set()

        def add(t):
            found.append(t)
            table[len(found)] = t
            names.add(len(found))

        for n in range(3):
            add(x * n)
        return sum(found) + table[2] * len(names)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(2),), (vector(3),))
    assert "replayed 2 times" in jitted.explain() and "eagerly" not in jitted.explain()


def test_what_a_list_of_one_call_holds_is_watched():
    settings = config()

    def f(x):
        inside = [settings]

        def scaled(t):
            return t * inside[0].alpha

        inside.append(None)
        return scaled(x)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    settings.alpha = 5.0
    agree(jitted, f, (vector(1),))


@pytest.mark.filterwarnings("ignore::jitcore.JitWarning")
def test_files_and_folders_are_looked_at_each_call(tmp_path):
    text, array, more = tmp_path / "a.txt", tmp_path / "a.npy", tmp_path / "b"
    functions = [
        lambda x: x * float(text.read_text()),
        lambda x: x * float(np.load(array)[0]),
        lambda x: x * os.path.exists(more),
        lambda x: x * len(os.listdir(tmp_path)),
    ]
    jitted = [jit(f) for f in functions]
    for n in range(3):
        text.write_text(str(n))
        np.save(array, np.array([float(n)]))
        if n == 2:
            more.touch()
        for mine, f in zip(jitted, functions, strict=True):
            assert same(mine(vector(1)), f(vector(1)))


def test_importing_and_warning_inside_keep_a_function_compiled():
    def f(x):
        import json

        import this_is_no_module  # noqa: F401

        return json.loads("1") * x

    def g(x):
        try:
            return f(x)
        except ImportError:
            warnings.warn("not there", stacklevel=1)
            return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jitted = jit(g)
        agree(jitted, g, (vector(1),), (vector(2),))
    assert "eagerly" not in jitted.explain()


def _import(x):
    import trap_package

    return x * trap_package.FACTOR


def _import_as(x):
    import trap_package.inner as inner

    return x * inner.FACTOR


def _import_submodule(x):
    import trap_package.inner

    return x * trap_package.inner.FACTOR


def _from_import(x):
    from trap_package import FACTOR

    return x * FACTOR


def _from_import_submodule(x):
    from trap_package import inner

    return x * inner.FACTOR


def _import_function(x):
    from trap_package.inner import factor

    return x * factor()


def _import_module(x):
    return x * importlib.import_module("trap_package").FACTOR


def _import_module_relative(x):
    return x * importlib.import_module(".inner", "trap_package").FACTOR


def _import_in_a_helper(x):
    def helper():
        import trap_package as there

        return there

    return x * helper().FACTOR


def _import_or_not(x):
    try:
        from trap_package import MISSING
    except ImportError:
        MISSING = 5.0
    return x * MISSING


def _import_a_module_or_not(x):
    try:
        import trap_of_no_file as there
    except ImportError:
        return x
    return x * there.FACTOR


def _loaded_module(x):
    there = sys.modules.get("trap_package")
    return x if there is None else x * there.FACTOR


def _is_loaded(x):
    return x * 2 if "trap_package.inner" in sys.modules else x


IMPORTS = [
    _import, _import_as, _import_submodule, _from_import, _from_import_submodule, _import_function, _import_module,
    _import_module_relative, _import_in_a_helper, _import_or_not, _import_a_module_or_not,
    _loaded_module, _is_loaded,
]  # fmt: skip


@pytest.fixture
def trap_package(monkeypatch, tmp_path):
    """A package that can be imported, and is forgotten afterwards."""
    folder = tmp_path / "trap_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("FACTOR = 2.0\n")
    (folder / "inner.py").write_text("FACTOR = 3.0\ndef factor(): return FACTOR\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "trap_package"
    for name in [name for name in sys.modules if name.split(".")[0] == "trap_package"]:
        del sys.modules[name]


@pytest.mark.parametrize("function", IMPORTS)
@pytest.mark.parametrize("before", [False, True], ids=["first imported inside", "imported before"])
def test_modules_that_are_imported_inside(trap_package, function, before, monkeypatch):
    if before:
        importlib.import_module("trap_package.inner")
    jitted = jit(function)
    agree(jitted, function, (vector(1),), (vector(2),))
    for name in ("trap_package", "trap_package.inner"):
        if name in sys.modules:
            sys.modules[name].FACTOR = 7.0
            sys.modules[name].MISSING = 8.0
    agree(jitted, function, (vector(1),), (vector(3),))
    for name in [name for name in sys.modules if name.split(".")[0] == "trap_package"]:
        del sys.modules[name]  # imported anew, it is as in its file
    agree(jitted, function, (vector(1),), (vector(4),))
    monkeypatch.setitem(sys.modules, "trap_of_no_file", types.SimpleNamespace(FACTOR=9.0))
    agree(jitted, function, (vector(1),), (vector(5),))
    assert not jitted._eager_calls


@quiet
def test_a_module_that_is_imported_inside_and_changed(trap_package):
    def f(x):
        import trap_package as there

        there.FACTOR += 1.0
        return x * there.FACTOR

    jitted = jit(f)
    for expected in (3.0, 4.0, 5.0, 6.0):
        assert jitted(vector(1)).tolist() == [expected]


def test_what_importers_hold_is_not_watched(monkeypatch, tmp_path):
    """Later calls do not import again: neither the state of importers nor what modules read meanwhile matters."""
    (tmp_path / "module_of_a_trap.py").write_text("import os\nFACTOR = 2.0\ndef f(): return os.environ\nf()\n")

    class Importer:
        def __init__(self):
            self.seen = {}

        def find_spec(self, name, path=None, target=None):
            self.seen[name] = len(self.seen)

    def f(x):
        import module_of_a_trap

        return x * module_of_a_trap.FACTOR

    monkeypatch.syspath_prepend(tmp_path)
    importer = Importer()
    monkeypatch.setattr(sys, "meta_path", [importer, *sys.meta_path])
    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(2),))
    assert "module_of_a_trap" in importer.seen and not jitted._eager_calls
    importer.seen["other"] = 1
    agree(jitted, f, (vector(1),))
    assert len(jitted._recordings.variants()) == 1
    sys.modules["module_of_a_trap"].FACTOR = 3.0
    agree(jitted, f, (vector(1),))
    del sys.modules["module_of_a_trap"]


def test_which_environment_variables_there_are(monkeypatch):
    def f(x):
        return x * len([name for name in os.environ if name.startswith("JITCORE_TRAP")])

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    monkeypatch.setenv("JITCORE_TRAP", "1")
    agree(jitted, f, (vector(1),), (vector(1),))


def test_which_thread_calls():
    def f(x):
        return x, threading.current_thread().name

    jitted, found = jit(f), []
    for n in range(3):
        thread = threading.Thread(target=lambda: found.append(jitted(vector(1))[1]), name=f"thread {n}")
        thread.start()
        thread.join()
    assert found == [f"thread {n}" for n in range(3)]


def test_functions_of_libraries_exchanged_and_their_plain_values(monkeypatch):
    def f(x):
        return nn.functional.relu(jitcore.sin(x) * math.floor(2.5)) * len(sys.argv) * np.sqrt(4.0)

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(1),))
    for module, name, value in (
        (jitcore, "sin", jitcore.cos), (math, "floor", math.ceil), (sys, "argv", [*sys.argv, "more"]),
        (np, "sqrt", np.square), (nn.functional, "relu", lambda x, **_: x - 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
        agree(jitted, f, (vector(1),), (vector(1),))


@quiet
def test_modes_that_a_function_leaves_changed():
    def f(x):
        jitcore.set_grad_enabled(False)
        jitcore.set_default_dtype(jitcore.float64)
        return x * jitcore.ones(1)

    jitted = jit(f)
    for _ in range(3):
        try:
            given = jitted(vector(1)), jitcore.is_grad_enabled(), jitcore.get_default_dtype()
            jitcore.set_default_dtype(jitcore.float32)
            expected = f(vector(1)), jitcore.is_grad_enabled(), jitcore.get_default_dtype()
        finally:
            jitcore.set_grad_enabled(True)
            jitcore.set_default_dtype(jitcore.float32)
        assert same(given, expected)


@pytest.mark.filterwarnings("ignore::jitcore.JitWarning")
@pytest.mark.parametrize("store", ["attribute", "setattr", "global", "on an argument"])
def test_what_a_function_leaves_behind(store):
    class Layer(nn.Module):
        def forward(self, x):
            y = x * 2
            if store == "attribute":
                self.last = y
            elif store == "setattr":
                setattr(self, "".join(["la", "st"]), y)
            elif store == "global":
                global LAST
                LAST = y
            else:
                x.doubled = y
            return y + 1

    layer = Layer()
    jitted = jit(layer)
    for n in range(5):
        x = vector(n)
        jitted(x)
        left = LAST if store == "global" else x.doubled if store == "on an argument" else layer.last
        assert same(left, x * 2)


def test_objects_made_inside_may_be_given_attributes():
    class Pair:
        def __init__(self, x):
            self.x = x

        def shift(self):
            self.y = self.x + 1
            return self

    def f(x):
        pair = Pair(x).shift()
        pair.z = pair.y * 2
        other = types.SimpleNamespace()
        other.w = pair
        return other.w.z

    jitted = jit(f)
    agree(jitted, f, (vector(1),), (vector(2),))
    assert "eagerly" not in jitted.explain()


def test_several_functions_that_use_the_same_built_ins_are_compiled():
    held_by_all = types.SimpleNamespace(a0=2.0, a1=3.0)

    def inner(x, n):
        return x * getattr(held_by_all, f"a{n}") if hasattr(held_by_all, f"a{n}") else x

    def kind(x):
        return x + len(vars(held_by_all)) if type(x) is jitcore.Tensor else x

    def f(x):
        y = x * sum(getattr(held_by_all, name) for name in ("a0", "a1"))
        return kind(inner(y, 0)) + inner(x, 2) if type(y) is type(x) and hasattr(held_by_all, "a0") else y

    jitted = jit(f)
    agree(jitted, f, (vector(1, 2),), (vector(3, 4),))
    held_by_all.a1 = 5.0
    agree(jitted, f, (vector(1, 2),), (vector(3, 4),))
    held_by_all.a2 = 0.5
    agree(jitted, f, (vector(1, 2),), (vector(3, 4),))
    assert not jitted._eager_calls and [v.hits for v in jitted._recordings.variants()] == [1, 1, 1]
    assert "getattr" not in globals() and "type" not in globals()
