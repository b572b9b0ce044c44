"""Backward passes through single results of one jitted call: what each frees, reaches and reads is as eagerly."""

import gc
import random
import weakref

import numpy as np
import pytest
from jit_autograd_checks import numbers

import jitcore


def attempt(action, *given, **options):
    """Its outcome as lists, or what kind of RuntimeError it raised."""
    try:
        found = action(*given, **options)
    except RuntimeError as error:
        kinds = ("second time", "modified by an inplace operation", "not have been used")
        return next((kind for kind in kinds if kind in str(error)), f"other: {error}")
    return [None if g is None else np.round(g.detach().numpy().astype(np.float64), 4).tolist() for g in found or ()]


def gradients(inputs):
    return attempt(lambda: [x.grad for x in inputs])


def leaves(lib, count=2):
    return [lib.tensor([0.5 + n, 2.0], requires_grad=True) for n in range(count)]


def compare(function, use, calls=3, same=None):
    """`use(f, lib)` tells of outcomes: the same ones for the function and its jitted calls; with same="torch" for
    PyTorch too."""
    expected = use(function, jitcore)
    if same == "torch":
        torch = pytest.importorskip("torch")
        assert use(function, torch) == expected
    jitted = jitcore.jit(function, native=False)  # what is recorded is the matter here
    for _ in range(calls):
        assert use(jitted, jitcore) == expected
    return expected


def one_after_the_other(order, **options):
    """Backward through the results of these numbers, then what the leaves have got."""

    def use(f, lib):
        inputs = leaves(lib)
        results = f(*inputs)
        seen = [attempt(results[n].sum().backward, **options) for n in order]
        return seen, gradients(inputs)

    return use


# What a backward pass frees


FUNCTIONS = {
    "graphs of their own": lambda x, y: ((x * x).sum(), (x * y * x).sum()),
    "a node that both share": lambda x, y: (shared := x * y, (shared * x).sum(), shared.sin().sum())[1:],
    "one computed from the other": lambda x, y: (first := x * y, (first * first).sum()),
    "a shared node that saves nothing": lambda x, y: (shared := x + y, shared.sum(), (-shared).sum())[1:],
    "nothing saved": lambda x, y: ((x + y).sum(), (x - y).sum()),
    "one saves, one does not": lambda x, y: ((x * y).sum(), x - y),
    "views of one memory": lambda x, y: (x * y).unbind(0),
    "views of an input's sum": lambda x, y: (x + y).unbind(0),
    "the same twice": lambda x, y: (made := (x * y).sum(), made),
    "inputs apart": lambda x, y: (x * x, y * y),
    "written in the function": lambda x, y: (made := x * y, made.clone().mul_(x), made.sum())[1:],
}


class Halves(jitcore.autograd.Function):
    """Saves both arguments; gives the first one no gradient."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * 2, y * 3

    @staticmethod
    def backward(ctx, first, second):
        x, y = ctx.saved_tensors
        return None, second * x * y


def with_a_leaf(x, y):
    leaf = jitcore.ones(2).requires_grad_()
    return (leaf * leaf).sum() * x, y * leaf


FUNCTIONS_OF_OURS = {
    "results of a custom function": lambda x, y: Halves.apply(x, y),
    "no gradient to what saves": lambda x, y: (y.sum(), Halves.apply(x * x, y)[1]),
    "a leaf made inside": with_a_leaf,
}


@pytest.mark.parametrize("name", FUNCTIONS_OF_OURS)
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1)], ids=str)
def test_results_of_custom_functions_and_inner_leaves_too(name, order):
    compare(FUNCTIONS_OF_OURS[name], one_after_the_other(order))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0), (1, 1), (0, 1, 0)], ids=str)
def test_each_result_goes_backward_as_eagerly(name, order):
    compare(FUNCTIONS[name], one_after_the_other(order), same="torch")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_retained_graphs_go_backward_again(name):
    outcomes, _ = compare(FUNCTIONS[name], one_after_the_other((0, 1, 0, 1), retain_graph=True), same="torch")
    assert outcomes == [[]] * 4


def test_a_retaining_backward_frees_nothing_and_fails_where_something_is_freed():
    def use(f, lib):
        inputs = leaves(lib)
        a, b = f(*inputs)
        seen = [
            attempt(result.backward, retain_graph=retain)
            for result, retain in ((a, True), (b, False), (b, True), (a, True), (a, False), (a, False))
        ]
        return seen, gradients(inputs)

    outcomes, _ = compare(FUNCTIONS["graphs of their own"], use, same="torch")
    assert outcomes == [[], [], "second time", [], [], "second time"]


def test_results_of_one_call_in_one_backward_and_apart():
    def use(f, lib):
        inputs = leaves(lib)
        a, b, c = f(*inputs)
        seen = [attempt((a * b).backward), attempt(c.backward), attempt((b + c).backward)]
        return seen, gradients(inputs)

    outcomes, _ = compare(lambda x, y: ((x * x).sum(), (y * y).sum(), (x * y).sum()), use, same="torch")
    assert outcomes == [[], [], "second time"]


def test_gradients_for_some_inputs_free_what_leads_to_these():
    def use(f, lib):
        x, y = leaves(lib)
        a, b = f(x, y)
        take = lib.autograd.grad
        return [
            attempt(take, a, [x]), attempt(take, a, [y]), attempt(take, a, [x]),
            attempt(take, b, [y]), attempt(a.backward), attempt(b.backward, inputs=[x]),
        ]  # fmt: skip

    function = lambda x, y: ((x * x).sum() + (y * y).sum(), (x * x).sum() + (y * 3 * y).sum())  # noqa: E731
    outcomes = compare(function, use, same="torch")
    assert [outcome == "second time" for outcome in outcomes] == [False, False, True, False, True, False]


def test_each_way_through_a_branch():
    def function(x, y):
        shared = x * y
        if x.sum() > 2:
            return (shared * x).sum(), shared.sum()
        return (x * x).sum(), (x * 3 * x).sum()

    def use(f, lib):
        seen = []
        for scale in (1.0, 2.0, 1.0):
            inputs = [(x.detach() * scale).requires_grad_() for x in leaves(lib)]
            a, b = f(*inputs)
            seen += [attempt(a.backward), attempt(b.backward)]
            seen.append(gradients(inputs))
        return seen

    compare(function, use, calls=5, same="torch")


def test_a_function_that_goes_backward_through_one_result_leaves_the_other():
    def function(x, y):
        a, b = (x * x * y).sum(), (y * y).sum()
        (inner,) = jitcore.autograd.grad(a, [x])
        return a, b, inner

    def use(f, lib):
        inputs = leaves(lib)
        a, b, _ = f(*inputs)
        return [attempt(b.backward), attempt(a.backward), gradients(inputs)]

    assert compare(function, use)[:2] == [[], "second time"]


def test_hook_inside_runs_for_the_results_behind_it():
    seen = []

    def function(x, y):
        z = x * 2
        z.register_hook(lambda g: seen.append(g.tolist()))
        return (z * z).sum(), (x * x).sum()

    def use(f, lib):
        seen.clear()
        x, y = leaves(lib)
        a, b = f(x, y)
        return attempt(b.backward), list(seen), attempt(a.backward), list(seen), x.grad.tolist()

    compare(function, use, same="torch")


def test_hooks_of_results_run_for_their_own_gradients():
    def use(f, lib):
        x, y = leaves(lib)
        a, _, c = f(x, y)
        seen = []
        a.register_hook(lambda g: seen.append(g.tolist()))
        c.retain_grad()
        outcomes = [attempt(r.sum().backward, retain_graph=True) for r in (c, a)]
        return outcomes, seen, c.grad.tolist(), x.grad.tolist()

    compare(lambda x, y: (first := x * y, first * x, y * y), use, same="torch")


# What it reaches


def test_leaves_that_a_result_does_not_depend_on_get_no_gradient():
    def use(f, lib):
        x, y = leaves(lib)
        ran = []
        y.register_hook(lambda g: ran.append(g.tolist()))
        a, _ = f(x, y)
        unused = attempt(lib.autograd.grad, a.sum(), [y], retain_graph=True)
        return attempt(a.sum().backward), unused, x.grad.tolist(), y.grad is None, list(ran)

    compare(FUNCTIONS["inputs apart"], use, same="torch")


def test_a_result_without_gradient_adds_no_nan():
    def use(f, lib):
        x = lib.tensor([0.0, 2.0], requires_grad=True)
        a, _ = f(x)
        a.sum().backward()
        return x.grad.tolist()

    assert compare(lambda x: (x * 3, (1 / x).log()), use, same="torch") == [3, 3]


def test_gradients_of_gradients_of_one_result():
    def use(f, lib):
        x, y = leaves(lib)
        a, b = f(x, y)
        (first,) = lib.autograd.grad(a, [x], create_graph=True)
        second = attempt(lib.autograd.grad, (first * first).sum(), [x, y], retain_graph=True, allow_unused=True)
        return second, attempt(b.backward), attempt(a.backward), x.grad.tolist(), y.grad.tolist()

    compare(lambda x, y: ((x**3 * y).sum(), (y**2 * x).sum()), use, same="torch")


# What it reads


@pytest.mark.parametrize("written", [0, 1, 2], ids=["the other result", "the result itself", "an input"])
@pytest.mark.parametrize("saves", [True, False])
def test_writes_are_an_error_for_results_that_read_what_is_written(written, saves):
    def use(f, lib):
        x, y = leaves(lib)
        inside = x * 1
        a, b, c = f(inside, y)
        with lib.no_grad():
            (b, a, inside)[written].mul_(3)
        return attempt(a.sum().backward), attempt(c.sum().backward), gradients([x])

    other = lambda x, y: (x.exp(), (y * 2).exp(), y + x)  # noqa: E731
    plain = lambda x, y: (x + 1, y.exp(), x * x)  # noqa: E731
    compare(other if saves else plain, use, same="torch")


def test_results_with_history_written_later():
    def use(f, lib):
        x, y = leaves(lib)
        a, b = f(x, y)
        a.mul_(y)
        return attempt(b.sum().backward), attempt(a.sum().backward), x.grad.tolist(), y.grad.tolist()

    compare(lambda x, y: (x * y, (x * x) + 1), use, same="torch")


# Memory


def test_memory_is_given_up_once_all_results_are_freed_or_gone():
    jitted = jitcore.jit(lambda x: ((x @ x).tanh().sum(), (x @ x * 2).sin().sum()), native=False)
    x = numbers(4, 4).requires_grad_()
    gc.collect()
    gc.disable()
    try:
        jitted(x)
        for other in ("freed", "gone before", "gone after"):
            a, b = jitted(x)
            node = a._node.edges[0]
            kept = [weakref.ref(a) for a in node.call.arrays if a is not None and a is not x._array]
            if other == "gone before":
                del b
            a.backward()
            if other != "gone before":
                assert node.call is not None
            if other == "freed":
                b.backward()
            elif other == "gone after":
                del b
            assert node.call is None and a.requires_grad
            assert kept and not any(array() is not None for array in kept)
    finally:
        gc.enable()


# Programs and uses at random


def random_function(choose):
    steps = [
        (choose.choice(["mul", "add", "sin", "exp", "neg", "scale", "view"]), choose.random(), choose.random())
        for _ in range(choose.randint(3, 8))
    ]
    count = choose.randint(2, 4)

    def function(x, y):
        made = [x, y]
        for name, first, second in steps:
            a, b = made[int(first * len(made))], made[int(second * len(made))]
            if name == "view":
                made.append((a + b).flip(0) if first > 0.5 else (a * b)[:])
            else:
                made.append(
                    a * b if name == "mul" else a + b if name == "add" else a.sin() if name == "sin"
                    else a.exp() if name == "exp" else -a if name == "neg" else a * 0.5
                )  # fmt: skip
        return tuple(made[-count:])

    return function


def random_use(choose):
    steps = [
        (choose.choice(["backward", "backward", "grad", "inputs", "together", "write", "drop"]), choose.random(),
         choose.random(), choose.random() < 0.3)
        for _ in range(choose.randint(2, 6))
    ]  # fmt: skip

    def use(f, lib):
        inputs = [lib.tensor([0.3, 0.7], requires_grad=True), lib.tensor([0.2, -0.4], requires_grad=True)]
        results, seen = list(f(*inputs)), []
        for name, first, second, retain in steps:
            if not results:
                break
            n = int(first * len(results))
            r, x = results[n], inputs[int(second * 2)]
            if not r.requires_grad:
                continue
            if name == "backward":
                seen.append(attempt(r.sum().backward, retain_graph=retain))
            elif name == "grad":
                seen.append(attempt(lib.autograd.grad, r.sum(), [x], retain_graph=retain))
            elif name == "inputs":
                seen.append(attempt(r.sum().backward, inputs=[x], retain_graph=retain))
            elif name == "together":
                s = results[int(second * len(results))]
                seen.append(attempt((r.sum() + s.sum()).backward, retain_graph=retain))
            elif name == "drop":
                del results[n]
            elif r._base is None and r is not inputs[0] and r is not inputs[1]:
                with lib.no_grad():
                    r.mul_(2)
            if seen and seen[-1] in ("second time", "modified by an inplace operation"):
                seen[-1] = "error"  # which error comes first is not promised, nor what has been freed by then
                break
            seen.append(gradients(inputs))
        return seen

    return use


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_and_uses(seed):
    choose = random.Random(seed)
    function = random_function(choose)
    for _ in range(4):
        compare(function, random_use(choose), calls=2)
