"""Known traps of tracing: what a run makes or stores itself, and state in places that no dict of attributes shows."""

import collections
import contextlib
import enum
import io
import json
from typing import NamedTuple

import pytest
from trap_checks import jit, quiet, seen_alike, vector

import jitcore
from jitcore import nn, ones


def printed_to_a_file_of_its_own(wrap):
    def f(x):
        file = io.StringIO()
        print(x.sum().item(), file=file)
        return file.getvalue()

    f = wrap(f)
    return [f(ones(1) * n) for n in range(3)]


def printed_while_redirected(wrap):
    def f(x):
        file = io.StringIO()
        with contextlib.redirect_stdout(file):
            print(x.sum().item())
        return file.getvalue()

    f = wrap(f)
    return [f(ones(1) * n) for n in range(3)]


def printed_to_an_object_of_its_own(wrap):
    class Lines(list):
        write = list.append

    def f(x):
        lines = Lines()
        print(x.sum().item(), file=lines)
        return "".join(lines)

    f = wrap(f)
    return [f(ones(1) * n) for n in range(3)]


def slices(wrap):
    f, g = wrap(lambda x: slice(0, x * 2)), wrap(lambda n: slice(n // 2, n))
    return [f(ones(1) * n) for n in range(3)] + [g(n) for n in range(3, 7)]


def parameters(wrap):
    f = wrap(lambda x: nn.Parameter(x * 2))
    return [type(f(ones(1) * n)) for n in range(3)]


def tensors_with_attributes(wrap):
    def f(x):
        y = x * 2
        y.tag = "a"
        return y

    f = wrap(f)
    return [f(ones(n)).tag for n in (2, 2, 3, 3)]


def optimizers(wrap):
    f = wrap(lambda x: jitcore.optim.SGD([nn.Parameter(x * 2)], lr=0.1))
    return [f(ones(1) * n).param_groups[0]["params"] for n in range(3)]


def counters(wrap):
    f, total = wrap(lambda x: collections.Counter([x.sum().item()])), collections.Counter()
    g = wrap(lambda x: (total.update([x.sum().item()]), x)[1])
    return [(f(ones(1) * n), g(ones(1) * n), dict(total)) for n in (1, 2, 2)]


def dicts_of_a_class(wrap):
    class Adding(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value + 1)

    table = Adding()
    f = wrap(lambda x: (table.__setitem__("a", x.sum().item()), x)[1])
    return [(f(ones(1) * n), dict(table)) for n in (2, 3, 4)]


def numbers_inside_keys(wrap):
    f = wrap(lambda x: {(x.sum().item(), "a"): 1})
    return [type(next(iter(f(ones(1) * n)))[0]) for n in range(3)]


def sizes_kept_by_the_user(wrap):
    class Log:
        total = 0

    sizes, last, by_name, all_sizes, log = [], collections.deque(maxlen=2), {}, set(), Log()
    n = 0

    def f(x):
        nonlocal n
        n = x.shape[0]
        sizes.append(n)
        last.append(n)
        by_name["n"] = n
        all_sizes.add(n)
        log.total += n
        x.tag = n
        return x * 2

    f = wrap(f)
    for count in (1, 2, 3, 4, 5):
        x = ones(count)
        f(x)
        yield json.dumps([sizes, list(last), by_name, sorted(all_sizes), log.total, n, x.tag])
        yield [type(v) for v in (*sizes, *last, *all_sizes, by_name["n"], log.total, n, x.tag)]


class Slots:
    __slots__ = ("v",)


class Entry(NamedTuple):
    step: int
    loss: float


def numbers_kept_inside_of_what_does_not_change(wrap):
    history, by_name, thing, error = [], {}, Slots(), ValueError("no loss yet")

    def f(x):
        loss = x.sum().item()
        history.append((x.shape[0], (loss, "s")))
        history.append(Entry(x.shape[0], loss))
        by_name["seen"] = frozenset([loss])
        thing.v = loss
        error.args = ("loss", loss)
        return x * 2

    f = wrap(f)
    for count in (1, 2, 3):
        f(ones(count))
        yield json.dumps([history, list(by_name["seen"]), thing.v, error.args])
        yield type(history[-1]), type(history[0][1][0]), type(thing.v), type(error.args[1])


def stored_in_a_slot(wrap):
    thing = Slots()

    def f(x):
        thing.v = 5
        return x

    def g(thing, x):
        thing.v = x * 2
        return x

    f, g = wrap(f), wrap(g)
    for n in range(3):
        f(ones(1))
        yield thing.v
        thing.v = 7
        g(thing, ones(1) * n)
        yield thing.v
        del thing.v


def stored_on_a_class_of_a_closure(wrap):
    class Thing:
        pass

    def f(x):
        Thing.kept = x * 2
        return x

    f = wrap(f)
    for n in range(3):
        f(ones(1) * n)
        yield Thing.kept


def stored_on_a_function_of_a_closure(wrap):
    def thing():
        pass

    def f(x):
        thing.kept = x * 2
        return x

    f = wrap(f)
    for n in range(3):
        f(ones(1) * n)
        yield thing.kept


def missing_on_a_function(wrap):
    def thing():
        pass

    def f(x):
        try:
            return x * thing.kept
        except AttributeError:
            return x

    f = wrap(f)
    for n in range(3):
        yield f(ones(1))
        thing.kept = n + 2


def members_of_an_enumeration(wrap):
    class Mode(enum.Enum):
        LIST = [1]  # noqa: RUF012
        PLAIN = 1

        def __init__(self, value):
            self.weight = 1

    Mode.scaled = lambda self, x: x
    f = wrap(lambda x, mode: x * Mode.LIST.weight + Mode.LIST.value[0] + mode.scaled(x))
    for n in range(4):
        yield f(ones(1), Mode.PLAIN)
        if n == 0:
            Mode.LIST.weight += 1
        elif n == 1:
            Mode.LIST.value[0] = 9
        else:
            Mode.scaled = lambda self, x, n=n: x * (n + 5)


class Equal:
    def __init__(self, k):
        self.k = k

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


def keys_that_say_they_are_equal(wrap):
    f, g = wrap(lambda x, d: x * next(iter(d)).k), wrap(lambda d: str(next(iter(d))))
    yield from (f(ones(1), {Equal(k): 1}) for k in (1, 2, 3))
    yield from (g({k: ones(1)}) for k in ((1,), (1,), (True,), (1.0,), (0.0,), (-0.0,)))


def errors_that_it_is_ready_for(wrap):
    def position(x, i):
        try:
            return x[i]
        except IndexError:
            return x * 0

    def division(x, n):
        try:
            return x // n
        except ZeroDivisionError:
            return "divided by zero"

    def classes(x):
        try:
            return nn.functional.one_hot(x, 3)
        except IndexError:
            return "position"
        except RuntimeError:
            return "value"

    f, g, h = wrap(position), wrap(division), wrap(classes)
    yield from (f(vector(1, 2), jitcore.tensor([n])) for n in (0, 1, 2, 5, 1, 7))
    yield from (g(jitcore.tensor([4, 5]), jitcore.tensor(n)) for n in (1, 2, 0, 3, 0))
    yield from (h(jitcore.tensor([n])) for n in (1, 2, -1, 5, 0))


def results_made_under_no_grad(wrap):
    w = ones(1, requires_grad=True)

    def f(x):
        with jitcore.no_grad():
            return w.view(1)

    f = wrap(f)
    for _ in range(3):
        result = f(ones(1))
        yield result._base is w, result.requires_grad
        try:
            result.add_(1)
        except RuntimeError as error:
            yield type(error)


CASES = [
    printed_to_a_file_of_its_own, printed_to_an_object_of_its_own, printed_while_redirected, slices, parameters,
    tensors_with_attributes, optimizers, counters, dicts_of_a_class, sizes_kept_by_the_user, numbers_inside_keys,
    numbers_kept_inside_of_what_does_not_change,
    stored_in_a_slot, stored_on_a_class_of_a_closure, stored_on_a_function_of_a_closure, missing_on_a_function,
    members_of_an_enumeration, keys_that_say_they_are_equal, errors_that_it_is_ready_for, results_made_under_no_grad,
]  # fmt: skip


@pytest.mark.parametrize("program", CASES, ids=lambda f: f.__name__)
@quiet
def test_as_eagerly(program):
    assert seen_alike(program)


VIEWS = [
    lambda x: x.t().contiguous(), lambda x: x.t().reshape(-1), lambda x: x.t().ravel(), lambda x: x.t().flatten(),
    lambda x: x.mT.contiguous(), lambda x: x.movedim(1, 0).contiguous(), lambda x: x[:, :1].contiguous(),
    lambda x: x.reshape(-1), lambda x: x.contiguous(),
]  # fmt: skip


@pytest.mark.parametrize("sizes", [(2, 3, 4, 1), (1, 2, 3), (3, 1, 2, 1)])
@pytest.mark.parametrize("view", VIEWS)
@quiet
def test_sizes_of_1_decide_whether_an_argument_is_written(view, sizes):
    def program(wrap):
        f = wrap(view)
        for n in sizes:
            x = ones(n, 3)
            f(x).mul_(5)
            yield x

    assert seen_alike(program)


@quiet
@pytest.mark.parametrize("sizes", [(2, 3, 1, 4), (1, 3, 2, 1)])
def test_sizes_of_1_decide_whether_a_tensor_of_the_run_is_written(sizes):
    def f(x):
        y = x * 2
        y.t().reshape(-1).mul_(5)
        z = x * 3
        return y, z, z.t().contiguous()

    def program(wrap):
        jitted = wrap(f)
        for n in sizes:
            y, z, flat = jitted(ones(n, 3))
            flat.add_(1)
            yield y, z, flat

    assert seen_alike(program)


def test_sizes_of_1_are_nothing_special_where_nobody_can_tell():
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    f = jit(encoder)
    for n in (2, 3, 1, 4):
        f(ones(n, 5, 16))
    assert sorted(v.hits for entry in f._recordings.entries.values() for v in entry.variants) == [0, 2]


@quiet
def test_a_view_that_only_a_square_allows():
    def program(wrap):
        f = wrap(lambda x: x.view(x.shape[1], x.shape[0]))
        for n, m in ((1, 1), (2, 3), (3, 3), (4, 4), (4, 3), (5, 5)):
            try:
                yield f(jitcore.arange(float(n * m)).reshape(m, n).t())
            except RuntimeError:
                yield "refused"

    assert seen_alike(program)
