"""Known traps of tracing, one test each: arguments.

Every call gives the right answer or a clear error.
"""

import collections
import dataclasses
import warnings

import numpy as np
import pytest
from trap_checks import agree, jit, quiet, same, vector

import jitcore
from jitcore import nn


def test_list_of_tensors_as_argument():
    def f(items):
        items[0].add_(1)
        return sum(items), [item * 2 for item in items]

    agree(jit(f), f, *[([vector(a) for a in values],) for values in ((1, 2), (3, 4), (5,), (1, 2, 3), (1, 2))])


def test_same_tensor_twice_after_different_tensors_and_before():
    def f(x, y):
        x.add_(1)
        return x * y

    for order in ((True, False), (False, True)):
        jitted = jit(f)
        for twice in order * 2:
            a, b = vector(1, 2), vector(1, 2)
            c, d = (a, b) if twice else (vector(5, 6), vector(5, 6))
            assert same(jitted(a, c), f(b, d)) and same((a, c), (b, d))


def test_overlapping_views_of_one_tensor():
    def f(x, y):
        x.mul_(2)
        y += 1
        return x.sum() + y

    jitted = jit(f)
    layouts = [(slice(0, 2), slice(2, 4)), (slice(0, 2), slice(1, 3)), (slice(1, 3), slice(0, 2)), (slice(0, 2),) * 2]
    for first, second in layouts * 2:
        a, b = jitcore.arange(5.0), jitcore.arange(5.0)
        assert same(jitted(a[first], a[second]), f(b[first], b[second])) and same(a, b)
        assert same(jitted(vector(1, 2), vector(3, 4)), f(vector(1, 2), vector(3, 4)))


def test_view_and_its_base():
    def f(x, y):
        y.fill_(7)
        return x * 2

    jitted = jit(f)
    for index in (0, 1, 0, 2):
        a, b = jitcore.ones(3, 2), jitcore.ones(3, 2)
        assert same(jitted(jitcore.ones(3, 2), vector(1, 2)), jitcore.full((3, 2), 2.0))
        assert same(jitted(a, a[index]), f(b, b[index])) and same(a, b)


def test_memory_layout_decides_whether_reshape_shares():
    def f(x):
        y = x.reshape(-1)
        y.add_(1)
        return y

    jitted = jit(f)
    for transposed in (False, True, False, True):
        a, b = jitcore.arange(4.0).reshape(2, 2), jitcore.arange(4.0).reshape(2, 2)
        ours, theirs = (a.t(), b.t()) if transposed else (a, b)
        assert same(jitted(ours), f(theirs)) and same(a, b)

    def strides(x):
        return x * (2 if x.is_contiguous() else 3) + x.stride(0)

    agree(jit(strides), strides, (jitcore.ones(2, 2),), (jitcore.ones(2, 2).t(),), (jitcore.ones(3, 3)[:2, :2],))


def test_write_to_an_argument_after_reading_it():
    def f(x, y):
        before = x * 1
        x.copy_(y)
        after = x * 1
        x[0] = 100
        return before, after, before + x

    agree(jit(f), f, *[(vector(n, 2), vector(3, n)) for n in range(4)])


def test_outputs_kept_from_earlier_calls():
    def f(x):
        return x * 2, x[1:], x

    jitted = jit(f)
    kept = [jitted(vector(n, n + 1)) for n in range(5)]
    for n, (made, tail, itself) in enumerate(kept):
        assert made.tolist() == [2 * n, 2 * n + 2] and tail.tolist() == [n + 1] and itself.tolist() == [n, n + 1]
    x = vector(1, 2)
    first, second = jitted(x), jitted(x)
    first[0].add_(100)
    assert second[0].tolist() == [2, 4] and first[2] is second[2] is x


def test_results_are_the_objects_that_eager_execution_gives():
    state = vector(9, 9)
    part = state[:1]

    def f(x, y):
        made = x + y
        return made, made, x, x.detach(), y, made[0], state, part, state.detach(), x[:]

    jitted = jit(f)
    for _ in range(3):
        x = vector(1, 2)
        one, two, itself, detached, _, head, kept, piece, aside, copy_of_x = jitted(x, vector(3, 4))
        assert one is two and itself is x and detached is not x and kept is state and piece is part
        assert aside is not state and copy_of_x is not x
        detached.add_(1)
        one.zero_()
        assert x.tolist() == [2, 3] == copy_of_x.tolist() and head.item() == 0
        base = jitcore.arange(4.0)
        _, _, _, _, y, *_ = jitted(base[:2], view := base[2:])
        assert y is view


def test_requires_grad_of_results():
    weight = nn.Parameter(vector(1, 2))
    flat = jitcore.ones(4)
    part = nn.Parameter(flat[:2])

    def f(x):
        return x * weight, (x * weight).detach(), x * part, weight, weight.detach()

    jitted = jit(f)
    for _ in range(3):
        result = jitted(vector(1, 2))
        assert [t.requires_grad for t in result] == [True, False, True, True, False]
        weight.grad = part.grad = None
        (result[0] * 2 + result[2]).sum().backward()
        assert weight.grad.tolist() == [2, 4] and part.grad.tolist() == [1, 2]


@pytest.mark.parametrize("with_more", [False, True])
def test_a_leaf_made_inside_requires_grad(with_more):
    def f(x):
        leaf = (x * 2).detach().requires_grad_()
        return (leaf, leaf * 3) if with_more else (leaf, leaf.detach())

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for _ in range(3):
            leaf, other = jitted(vector(1, 2))
            assert leaf.requires_grad and leaf.is_leaf and other.requires_grad is with_more
            if with_more:
                other.sum().backward()
                assert leaf.grad.tolist() == [3, 3]


def test_requires_grad_of_an_argument_changes():
    def f(x):
        return (x * x).sum()

    jitted = jit(f)
    for flag in (False, True, False, True):
        x = vector(1, 2).requires_grad_(flag)
        result = jitted(x)
        assert result.requires_grad is flag
        if flag:
            result.backward()
            assert x.grad.tolist() == [2, 4]


def test_requires_grad_of_a_parameter_changes():
    weight = nn.Parameter(vector(1, 2))
    jitted = jit(lambda x: (x * weight).sum())
    for flag in (True, False, True):
        weight.requires_grad_(flag)
        for _ in range(2):
            assert jitted(vector(1, 2)).requires_grad is flag


def test_tensors_data_is_exchanged():
    state = vector(1, 2)
    tail = state[1:]

    def f(x):
        state.add_(x)
        return state * 1, tail * 1

    jitted = jit(f)
    for _ in range(2):
        jitted(vector(1, 1))
    before = tail.tolist()
    for data in (vector(5, 6), jitcore.arange(6.0)[2:4], jitcore.arange(4.0).reshape(2, 2).t()[0]):
        state.data = data
        for n in (1, 2):
            whole, part = jitted(vector(1, 1))
            np.testing.assert_allclose(state.numpy(), data.numpy())
            assert same(whole, state) and part.tolist() == tail.tolist() == before, n


def test_shape_dependent_constant():
    def f(x):
        n = x.shape[0]
        return x.sum(0) / n + (1 if n > 2 else 0) + len(x)

    agree(jit(f), f, *[(jitcore.ones(n, 2),) for n in (1, 2, 3, 1, 8, 3)])


def test_batch_of_one_then_eight_then_none():
    def f(x, y):
        return x + y, x.sum(0), jitcore.cat([x, x])

    agree(jit(f), f, *[(jitcore.ones(n, 3), jitcore.ones(m, 3)) for n, m in ((1, 1), (8, 8), (8, 1), (0, 0), (1, 8))])


def test_zero_size_batch_first():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    agree(jit(model), model, *[(jitcore.ones(n, 3),) for n in (0, 4, 0, 1)])


def test_rank_and_dtype_of_an_argument_change():
    def f(x):
        return x.sum() + x.reshape(-1)[0] / 2

    calls = [(jitcore.ones(shape, dtype=dtype),) for dtype in (jitcore.float32, jitcore.float64, jitcore.int64)
             for shape in ((2,), (2, 2), (4,))]  # fmt: skip
    agree(jit(f), f, *calls, *calls)


def test_arguments_one_and_one_point_zero_and_true_differ():
    def f(x, n):
        return x * n, n, x + (1 if isinstance(n, bool) else 2)

    calls = [(jitcore.tensor([2]), n) for n in (1, 1.0, True, 0, False, 0.0)]
    agree(jit(f), f, *calls, *calls)


def test_minus_zero_and_nan_arguments():
    def f(x, n):
        return jitcore.copysign(x, jitcore.tensor(n)), 1 / (x * 0 + n), n != n

    calls = [(vector(2), n) for n in (0.0, -0.0, float("nan"), float("inf"), 0.0, float("nan"))]
    agree(jit(f), f, *calls, *calls)


def test_minus_zero_as_captured_state():
    class State:
        value = 0.0

    def f(x):
        return x * 0 + 1 / (x * 0 + State.value)

    jitted = jit(f)
    for value in (0.0, -0.0, 0.0, float("nan")):
        State.value = value
        agree(jitted, f, (vector(1),), (vector(1),))


def test_numpy_scalars_and_arrays_as_arguments():
    def f(x, n):
        return x * float(n.sum()) + n.shape[0] if isinstance(n, np.ndarray) else x * n

    jitted = jit(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for n in (np.float32(2), np.float64(2), np.int64(3), np.float64(5), np.ones(2), np.ones(3), np.full(2, 7.0)):
            agree(jitted, f, (vector(1, 2), n), (vector(1, 2), n))
        array = np.ones(2)
        for value in (1, 4, 1):
            array[0] = value
            assert same(jitted(vector(1, 2), array), f(vector(1, 2), array))


def test_strings_none_and_other_objects_as_arguments():
    def f(x, mode, mask=None, function=jitcore.relu):
        x = function(x) if mode == "on" else x - 1
        return x if mask is None else x * mask

    calls = [(vector(-1, 2), "on"), (vector(-1, 2), "off"), (vector(-1, 2), "on", vector(0, 1)),
             (vector(-1, 2), "on", None, jitcore.tanh), (vector(-1, 2), "on", None, abs)]  # fmt: skip
    agree(jit(f), f, *calls, *calls)


def test_positional_and_keyword_arguments():
    def f(x, *rest, scale=1, **named):
        return x * scale + sum(rest) + sum(value * len(name) for name, value in named.items())

    jitted = jit(f)
    for _ in range(2):
        for rest in ((), (vector(1),), (vector(1), vector(2))):
            for named in ({}, {"scale": 3}, {"aa": vector(5)}, {"b": vector(6), "ccc": vector(7)}):
                assert same(jitted(vector(1), *rest, **named), f(vector(1), *rest, **named))
    assert same(jitted(x=vector(2)), vector(2))


def test_keywords_in_another_order():
    def f(**named):
        return jitcore.cat(list(named.values()))

    jitted = jit(f)
    for _ in range(2):
        assert jitted(a=vector(1), b=vector(2)).tolist() == [1, 2]
        assert jitted(b=vector(2), a=vector(1)).tolist() == [2, 1]


def test_isinstance_checks_and_parameters_as_arguments():
    def f(x):
        return x * 2 if isinstance(x, nn.Parameter) else x * 3

    jitted = jit(f)
    for _ in range(2):
        assert jitted(nn.Parameter(vector(1))).tolist() == [2]
        assert jitted(vector(1)).tolist() == [3]
        assert jitted(vector(1).requires_grad_()).tolist() == [3]
        assert jitted(jitcore.nn.Buffer(vector(1)) if hasattr(nn, "Buffer") else vector(1)).tolist() == [3]


def test_tensor_subclass_as_argument():
    class Tagged(jitcore.Tensor):
        pass

    def f(x):
        return x * 2 if type(x) is Tagged else x * 3

    jitted = jit(f)
    tagged = vector(1).as_subclass(Tagged) if hasattr(jitcore.Tensor, "as_subclass") else None
    if tagged is None:
        pytest.skip("no as_subclass")
    for _ in range(2):
        assert jitted(tagged).tolist() == [2] and jitted(vector(1)).tolist() == [3]


def test_attribute_put_on_a_tensor():
    def f(x):
        return x * getattr(x, "weight_of_loss", 1.0)

    jitted = jit(f)
    x = vector(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        for value in (None, 3.0, 4.0):
            if value is not None:
                x.weight_of_loss = value
            for _ in range(2):
                assert jitted(x).item() == 2 * (value or 1.0)


def test_closures_over_arguments_and_locals_are_each_calls_own():
    def f(x, y):
        items = iter([x, y])

        def scaled(t):
            return t * x + next(items)

        return scaled(y) + scaled(x)

    jitted = jit(f)
    agree(jitted, f, *[(vector(n, 1), vector(2, n)) for n in range(4)])
    (variant,) = jitted._recordings.variants()
    assert variant.hits == 3


@quiet
def test_closures_over_locals_that_come_from_outside_are_watched():
    weights = [vector(1, 2)]
    numbers = iter(range(100))

    def f(x):
        weight, count = weights[0], numbers

        def scaled():
            return x * weight + next(count)

        return scaled()

    jitted = jit(f)
    for n in range(4):
        weights[0] = vector(n, 1)
        np.testing.assert_allclose(jitted(vector(1, 1)).numpy(), np.float32([n, 1]) + n)


def test_what_a_dataclass_argument_holds_besides_its_constructors_fields():
    @dataclasses.dataclass
    class Batch:
        y: jitcore.Tensor
        by: float = dataclasses.field(init=False, default=1.0)

    def f(batch):
        result = batch.y * batch.by + batch.plus
        batch.seen = batch.y
        return result

    def g(batch):
        return batch.y * batch.by + batch.plus

    for function in (f, g):
        jitted = jit(function)
        for by, plus in ((1.0, 1.0), (2.0, 1.0), (2.0, vector(5)), (2.0, vector(6))):
            given = [Batch(vector(1)), Batch(vector(1))]
            for batch in given:
                batch.by, batch.plus = by, plus
            assert same(jitted(given[0]), function(given[1])) and same(jitted(given[0]), function(given[1]))
            assert vars(given[0]).keys() == vars(given[1]).keys()


def test_results_are_not_constructed_a_second_time():
    @dataclasses.dataclass
    class Result:
        y: jitcore.Tensor
        count: int = 0
        more: object = dataclasses.field(init=False, default=None)

        def __post_init__(self):
            self.y, self.count = self.y * 2, self.count + 1

    class Pair(collections.namedtuple("Pair", "a b")):
        def __new__(cls, a, b=1):
            return super().__new__(cls, a + 1, b)

    def f(x):
        made = Result(x)
        made.more, made.further = x * 3, x * 4
        return made, Pair(x)

    jitted = jit(f)
    for n in (1, 2, 3):
        (mine, pair), (theirs, other) = jitted(vector(n)), f(vector(n))
        assert same([mine.y, mine.count, mine.more, mine.further], [theirs.y, 1, theirs.more, theirs.further])
        assert same(tuple(pair), tuple(other)) and type(pair) is Pair


def test_keys_of_a_dict_that_compare_equal():
    def f(table):
        return [value * key for key, value in table.items()]

    jitted = jit(f)
    agree(jitted, f, *[({key: jitcore.tensor([1, 2])},) for key in (1, True, 1.0, 0.0, -0.0, 1)])


def test_complex_arguments_to_the_sign_of_a_zero():
    def f(x, c):
        return x * c

    nan = float("nan")
    jitted = jit(f)
    for c in (complex(nan, 1), complex(nan, 2), 0j, complex(0.0, -0.0), complex(-0.0, 0.0)):
        assert repr(jitted(vector(1), c).item()) == repr(f(vector(1), c).item())


def test_attribute_put_on_a_tensor_is_mutable_or_gone():
    def f(x):
        return x * x.info["by"] * x.scale

    jitted = jit(f)
    x = vector(1)
    x.info, x.scale = {"by": 2.0}, 1.0
    for by in (2.0, 3.0):
        x.info["by"] = by
        assert same(jitted(x), f(x)) and same(jitted(x), f(x))
    for n in range(6):
        x = vector(1)
        x.info, x.scale = {"by": 1.0}, 1.5 + n
        assert same(jitted(x), f(x))
        del x


def test_the_tape_of_an_argument():
    def f(x):
        return x * 2 if x.is_leaf else x * 3 if x.grad_fn is not None else x

    jitted = jit(f)
    x = vector(1).requires_grad_()
    for given in (x, x, x * 1, x * 1, x, vector(1)):
        assert same(jitted(given), f(given))


@quiet
def test_places_and_counters_of_an_argument():
    base = jitcore.arange(6.0)
    for f in (lambda x: x * x._version, lambda x: x * x.storage_offset(), lambda x: x * int(x._is_view)):
        jitted = jit(f)
        for given in (base[:2], base[:2], base[3:5], vector(1, 2), base.add_(1)[1:3]):
            assert same(jitted(given), f(given))


@quiet
def test_an_argument_that_is_asked_for_by_identity():
    kept = [vector(1), vector(2)]
    by_id, by_key = {id(kept[0]): 5.0}, {kept[1]: 7.0}
    functions = (
        lambda x: x * 2 if x is kept[0] else x * 3,
        lambda x: x * by_id.get(id(x), 1.0),
        lambda x: x * by_key[x] if x in by_key else x,
    )
    for f in functions:
        jitted = jit(f)
        for given in (vector(3), vector(4), kept[0], vector(3), kept[1], vector(3)):
            assert same(jitted(given), f(given))


def test_lists_and_dicts_from_outside_are_given_back_themselves():
    kept, table = [vector(1)], {"a": vector(2)}

    def f(x, cache, *, more):
        return kept, [x * 2, cache], {"table": table, "more": more["inner"]}, cache[1]

    jitted = jit(f)
    for n in range(4):
        cache, more = [vector(n), [vector(5)]], {"inner": {"x": vector(n)}}
        first, (twice, second), third, fourth = jitted(vector(n), cache, more=more)
        assert first is kept and second is cache and third["table"] is table and third["more"] is more["inner"]
        assert fourth is cache[1] and same(twice, vector(2 * n))
        if n == 1:
            first.append(vector(7))


def test_integers_in_containers_that_change():
    def f(given):
        return given["x"] * given["n"] + given["more"][0] - given["pair"][1]

    for dynamic in (None, True):
        jitted = jit(f, dynamic=dynamic)
        for n in (1, 2, 3, 2, 5):
            agree(jitted, f, ({"x": vector(1), "n": n, "more": [n * 2, "a"], "pair": (vector(1), n + 1)},))


def test_integers_as_keys_of_results():
    def f(x, n):
        return {n: x, x.shape[0]: [{"inner": {n: 1}}]}

    jitted = jit(f)
    for n in (5, 6, 7, 6):
        given = jitted(jitcore.ones(n - 3), n)
        assert list(given) == [n, n - 3] and all(type(key) is int for key in (*given, *given[n - 3][0]["inner"]))
