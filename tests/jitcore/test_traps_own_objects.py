"""Known traps of tracing: objects that a run makes for itself and changes, and those that only seem to be its own."""

import collections
import functools
import queue
import threading
import types
import warnings
import weakref

import pytest
from trap_checks import agree, jit, quiet, vector

import jitcore
from jitcore import nn


class Meter:
    def __init__(self):
        self.items, self.count = [], 0

    def push(self, x):
        self.items.append(x)
        self.count += 1


class Sums(dict):
    def add(self, **terms):
        for name, term in terms.items():
            self[name] = self.get(name, 0) + term


def popped(**options):
    return options.pop("scale", 1.0) * options.setdefault("other", 3)


def with_keywords(x):
    return x * popped(scale=2.0)


def with_its_own_keywords(x, **options):
    options.setdefault("factor", 2)
    return x * options["factor"]


def dict_that_a_helper_fills(x):
    def fill(table):
        table["twice"] = x * 2

    table = {"once": x}
    fill(table)
    fill(table)
    return table


def list_that_a_helper_fills_is_returned(x):
    def push(item):
        items.append(item)

    items = []
    push(x * 2)
    push({"y": x * 3})
    return items


def memo_in_a_closure(x):
    memo, asked = {}, 0

    def power(n):
        nonlocal asked
        asked += 1
        if n not in memo:
            memo[n] = x if n == 1 else power(n - 1) * x
        return memo[n]

    return power(2) + power(3) * asked


def object_with_methods(x):
    meter = Meter()
    meter.push(x)
    meter.push(x + 1)
    return sum(meter.items) / meter.count


def subclass_of_dict(x):
    sums = Sums()
    sums.add(loss=x.sum(), other=x.mean())
    sums.add(loss=x.sum())
    return sums["loss"]


def defaultdict_and_counter(x):
    parts, counts = collections.defaultdict(list), collections.Counter()

    def put(name, value):
        parts[name].append(value)
        counts[name] += 1

    put("a", x)
    put("a", x * 2)
    return sum(parts["a"]) * counts["a"]


def losses_made_inside(x):
    return nn.MSELoss()(x, x * 2) + nn.CrossEntropyLoss(reduction="sum")(x.view(1, -1), jitcore.tensor([1]))


def state_dict_inside(x, model=nn.BatchNorm1d(2)):  # noqa: B008
    return sum(v.sum() for v in model.state_dict().values()) + x


OWN = [
    with_keywords, with_its_own_keywords, dict_that_a_helper_fills, list_that_a_helper_fills_is_returned,
    memo_in_a_closure, object_with_methods, subclass_of_dict, defaultdict_and_counter, losses_made_inside,
    state_dict_inside,
]  # fmt: skip


@pytest.mark.parametrize("function", OWN, ids=lambda f: f.__name__)
def test_what_the_run_makes_itself_it_may_change(function):
    jitted = jit(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error", jitcore.JitWarning)
        agree(jitted, function, (vector(1, 2),), (vector(3, 4),), (vector(5, 6),))
    assert "replayed 2 times" in jitted.explain()


def test_containers_that_a_helper_filled_are_new_in_each_call():
    jitted = jit(list_that_a_helper_fills_is_returned)
    first, second, third = (jitted(vector(n)) for n in range(3))
    assert first is not second and second is not third and second[1] is not third[1]


@quiet
def test_an_object_that_the_function_makes_and_returns_is_new_in_each_call():
    def f(x):
        holder = types.SimpleNamespace(meter=Meter())
        holder.meter.push(x)
        return x * 2, holder.meter

    jitted = jit(f)
    meters = [jitted(vector(1))[1] for _ in range(3)]
    assert len({id(meter) for meter in meters}) == 3


def entry_of_a_captured_dict():
    store = {}

    def f(x):
        entry = store.setdefault("entry", {"n": 0})
        entry["n"] += 1
        return x * entry["n"]

    return f


def item_taken_from_a_captured_list():
    stack = [types.SimpleNamespace(n=n) for n in range(9)]

    def f(x):
        item = stack.pop()
        item.n += 1
        return x * item.n

    return f


def item_taken_from_a_queue(kind=queue.Queue):
    items = kind()
    for n in range(9):
        items.put({"n": n})

    def use(item):
        item["used"] = item["n"]
        return item["used"]

    return lambda x: x * use(items.get())


def list_kept_in_a_captured_list():
    kept = []

    def f(x):
        mine = []
        (lambda item: mine.append(item))(1)
        kept.append(mine)
        return x * len(kept)

    return f


def result_of_a_cached_function():
    @functools.cache
    def table():
        return {"n": 0}

    def count(entry):
        entry["n"] += 1
        return entry["n"]

    return lambda x: x * count(table())


def value_of_the_thread():
    local = threading.local()

    def count(entry):
        entry["n"] = entry.get("n", 0) + 1
        return entry["n"]

    def f(x):
        if not hasattr(local, "entry"):
            local.entry = {}
        return x * count(local.entry)

    return f


def what_a_captured_generator_gives():
    def numbers():
        entry = {"n": 0}
        while True:
            entry["n"] += 1
            yield entry

    stream = numbers()
    return lambda x: x * next(stream)["n"]


def list_that_its_module_keeps():
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = []

        def note(self, entry):
            entry.append(len(self.calls))

        def forward(self, x):
            entry = []
            self.note(entry)
            self.calls.append(entry)
            return x * len(self.calls) + entry[0]

    return Noting()


def objects_known_by_weak_references():
    everyone = weakref.WeakSet()

    class Known:
        def __init__(self):
            self.n = 0
            everyone.add(self)

        def count(self):
            self.n += 1
            return self.n

    def f(x):
        known = Known()
        return x * known.count() * len(everyone)

    return f


OUTSIDE = [
    entry_of_a_captured_dict, item_taken_from_a_captured_list, item_taken_from_a_queue,
    functools.partial(item_taken_from_a_queue, queue.SimpleQueue), list_kept_in_a_captured_list,
    result_of_a_cached_function, value_of_the_thread, what_a_captured_generator_gives, list_that_its_module_keeps,
    objects_known_by_weak_references,
]  # fmt: skip


@pytest.mark.parametrize("make", OUTSIDE, ids=lambda f: getattr(f, "__name__", "simple_queue"))
def test_what_can_be_reached_after_the_run_is_not_its_own(make):
    ours, theirs = make(), make()
    jitted = jit(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        agree(jitted, theirs, *[(vector(n, 1),) for n in range(6)])


def test_threads_that_share_a_product_do_not_keep_a_function_eager():
    before = jitcore.get_num_threads()
    jitcore.set_num_threads(2)
    try:
        jitted = jit(lambda x: x @ x)
        with warnings.catch_warnings():
            warnings.simplefilter("error", jitcore.JitWarning)
            for _ in range(3):
                jitted(jitcore.ones(400, 400))
    finally:
        jitcore.set_num_threads(before)
    assert "replayed 2 times" in jitted.explain()
