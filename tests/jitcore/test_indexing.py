"""Indexing in every form, reads and writes, against PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_compare import assert_same, check

import jitcore

R = np.random.default_rng(5)
X = R.normal(size=(4, 3, 5))


def long(lib, data):
    return lib.tensor(data)


READS = {
    "int": lambda lib, x: x[1],
    "negative int": lambda lib, x: x[-1],
    "ints": lambda lib, x: x[1, 2, 3],
    "slice": lambda lib, x: x[1:3],
    "slice with step": lambda lib, x: x[::2, 1:, ::3],
    "slice beyond the end": lambda lib, x: x[2:100, -2:],
    "empty slice": lambda lib, x: x[3:1],
    "negative bounds": lambda lib, x: x[-3:-1, :-1],
    "ellipsis": lambda lib, x: x[..., 0],
    "ellipsis in the middle": lambda lib, x: x[1, ..., 2:4],
    "ellipsis of nothing": lambda lib, x: x[0, 1, ..., 2],
    "none": lambda lib, x: x[None],
    "nones": lambda lib, x: x[:, None, 1, None, ...],
    "none at the end": lambda lib, x: x[..., None],
    "list": lambda lib, x: x[[0, 2, 2]],
    "tensor": lambda lib, x: x[long(lib, [3, 0, -1])],
    "matrix of positions": lambda lib, x: x[long(lib, [[0, 1], [2, 3]])],
    "second dimension": lambda lib, x: x[:, long(lib, [2, 0])],
    "last dimension": lambda lib, x: x[..., long(lib, [4, 1, 1])],
    "two tensors": lambda lib, x: x[long(lib, [0, 1, 2]), long(lib, [2, 1, 0])],
    "two tensors broadcast": lambda lib, x: x[long(lib, [[0], [3]]), long(lib, [2, 1, 0])],
    "two tensors apart": lambda lib, x: x[long(lib, [0, 1]), :, long(lib, [2, 4])],
    "int beside a tensor": lambda lib, x: x[1, :, long(lib, [2, 4])],
    "int between": lambda lib, x: x[long(lib, [1, 0]), 1, long(lib, [2, 4])],
    "three tensors": lambda lib, x: x[long(lib, [0, 1]), long(lib, [0, 2]), long(lib, [4, 3])],
    "slice and tensor": lambda lib, x: x[1:3, long(lib, [0, 2]), ::2],
    "none and tensor": lambda lib, x: x[None, long(lib, [0, 2]), None],
    "array": lambda lib, x: x[np.array([1, 2])],
    "mask": lambda lib, x: x[x > 0],
    "mask of the first dimension": lambda lib, x: x[lib.tensor([True, False, True, True])],
    "mask of two dimensions": lambda lib, x: x[x[..., 0] > 0],
    "mask in second place": lambda lib, x: x[:, lib.tensor([True, False, True])],
    "mask and tensor": lambda lib, x: x[lib.tensor([True, False, True, False]), long(lib, [1, 2])],
    "mask of nothing": lambda lib, x: x[x > 100],
    "0-d tensor": lambda lib, x: x[lib.tensor(2)],
    "0-d tensor and slice": lambda lib, x: x[lib.tensor(2), 1:],
    "empty list": lambda lib, x: x[[]],
    "range": lambda lib, x: x[list(range(3))],
    "uint8 mask like": lambda lib, x: x[long(lib, [1, 0]).to(lib.int32)],
}


@pytest.mark.parametrize("name", READS)
def test_read(name):
    check(READS[name], X)


def put(index, value):
    def function(lib, x, v):
        y = x.clone()
        y[index(lib, y)] = value(lib, v)
        return y

    return function


WRITES = {
    "int": (lambda lib, x: 1, lambda lib, v: v[0]),
    "slice": (lambda lib, x: slice(1, 3), lambda lib, v: v[:2]),
    "number": (lambda lib, x: (slice(None), 1), lambda lib, v: 7.5),
    "broadcast": (lambda lib, x: (..., slice(0, 2)), lambda lib, v: v[0, 0, :2]),
    "element": (lambda lib, x: (1, 2, 3), lambda lib, v: v[0, 0, 0]),
    "leading ones": (lambda lib, x: 0, lambda lib, v: v[:1]),
    "step": (lambda lib, x: (slice(None, None, 2), slice(None), slice(1, None, 2)), lambda lib, v: v[:2, :, :2]),
    "positions": (lambda lib, x: long(lib, [2, 0]), lambda lib, v: v[:2]),
    "positions and broadcast": (lambda lib, x: long(lib, [2, 0, -1]), lambda lib, v: v[0, 0]),
    "two tensors": (lambda lib, x: (long(lib, [0, 1]), long(lib, [2, 1])), lambda lib, v: v[:2, 0]),
    "two tensors apart": (
        lambda lib, x: (long(lib, [0, 1]), slice(None), long(lib, [2, 4])),
        lambda lib, v: v[:2, :, 0],
    ),
    "three tensors": (
        lambda lib, x: (long(lib, [0, 1]), long(lib, [2, 1]), long(lib, [0, 0])),
        lambda lib, v: v[0, 0, :2],
    ),
    "mask and number": (lambda lib, x: x > 0, lambda lib, v: -1.0),
    "mask and 0-d": (lambda lib, x: x > 0, lambda lib, v: v[0, 0, 0]),
    "mask of a dimension": (lambda lib, x: lib.tensor([True, False, True, False]), lambda lib, v: v[:2]),
    "mask of rows and number": (lambda lib, x: x[..., 0] > 0, lambda lib, v: 2.0),
    "slice and positions": (lambda lib, x: (slice(1, 3), long(lib, [0, 2])), lambda lib, v: v[:2, :2]),
    "second dimension": (lambda lib, x: (slice(None), long(lib, [2, 0])), lambda lib, v: v[:, :2]),
    "list of numbers": (
        lambda lib, x: (0, 0),
        lambda lib, v: (
            [1.0, 2.0, 3.0, 4.0, 5.0] if lib is jitcore else lib.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=lib.float64)
        ),
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_write(name):
    check(put(*WRITES[name]), X, R.normal(size=(4, 3, 5)))


def test_augmented_assignment_through_an_index():
    def function(lib, x):
        y = x * 1
        y[1:3] += 2
        y[:, 0] *= y[:, 1].clone()
        y[lib.tensor([0, 3])] -= 1
        y[y > 1] = 0.5
        return y

    check(function, X)


def test_index_put_accumulates():
    def function(lib, x, v):
        y = x * 1
        return y.index_put_((lib.tensor([0, 0, 2]),), v[:3], accumulate=True), x.index_put(
            (lib.tensor([1]), lib.tensor([2])), v[0, 0]
        )

    check(function, X, R.normal(size=(4, 3, 5)))


ERRORS = {
    "int out of range": (lambda x: x[4], IndexError, "index 4 is out of bounds for dimension 0 with size 4"),
    "negative out of range": (lambda x: x[0, -4], IndexError, "index -4 is out of bounds"),
    "too many": (lambda x: x[0, 0, 0, 0], IndexError, "too many indices for tensor of dimension 3"),
    "two ellipses": (lambda x: x[..., ...], IndexError, "single ellipsis"),
    "negative step": (lambda x: x[::-1], ValueError, "step must be greater than zero"),
    "position out of range": (lambda x: x[jitcore.tensor([4])], IndexError, "index 4 is out of bounds"),
    "joined position out of range": (
        lambda x: x[jitcore.tensor([0]), jitcore.tensor([3])],
        IndexError,
        "dimension 1 with size 3",
    ),
    "mask of another shape": (lambda x: x[jitcore.tensor([True, False])], IndexError, "shape of the mask"),
    "float index": (lambda x: x[jitcore.tensor([1.0])], IndexError, "tensors used as indices"),
    "float number": (lambda x: x[1.0], IndexError, "only integers"),
    "shapes that do not broadcast": (
        lambda x: x[jitcore.tensor([0, 1]), jitcore.tensor([0, 1, 2])],
        IndexError,
        "broadcast",
    ),
    "0-d": (lambda x: x[0, 0, 0][0], IndexError, "invalid index of a 0-dim tensor"),
    "value too large": (lambda x: x.__setitem__(0, jitcore.ones(7)), RuntimeError, "do not broadcast"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    call, kind, words = ERRORS[name]
    with pytest.raises(kind, match=words):
        call(jitcore.tensor(X))


@st.composite
def indices(draw, shape):
    """A random index for a tensor of `shape`, as data both libraries accept."""
    items = []
    axis = 0
    while axis < len(shape):
        kind = draw(st.sampled_from(["int", "slice", "none", "list", "stop", "full"]))
        size = shape[axis]
        if kind == "none":
            items.append(None)
            if len(items) > 6:
                break
            continue
        if kind == "stop":
            break
        if kind == "int":
            items.append(draw(st.integers(-size, size - 1)))
        elif kind == "slice":
            bound = st.one_of(st.none(), st.integers(-size - 2, size + 2))
            items.append(slice(draw(bound), draw(bound), draw(st.integers(1, 3))))
        elif kind == "full":
            items.append(slice(None))
        else:
            items.append(draw(st.lists(st.integers(-size, size - 1), min_size=2, max_size=2)))
        axis += 1
    if draw(st.booleans()) and axis < len(shape):
        items.insert(draw(st.integers(0, len(items))), Ellipsis) if not any(
            isinstance(i, list) for i in items
        ) else None
    return items


def placed(lib, items):
    return tuple(lib.tensor(i) if isinstance(i, list) else i for i in items)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_indices_read_and_write_alike(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    items = data.draw(indices(shape))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    a, b = jitcore.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    try:
        theirs = b[placed(torch, items)]
    except IndexError:  # an Ellipsis that left too many
        return
    ours = a[placed(jitcore, items)]
    assert_same(ours, theirs)
    (ours * ours).sum().backward()
    (theirs * theirs).sum().backward()
    assert_same(a.grad, b.grad)
    c, d = a.detach().clone(), b.detach().clone()
    if not any(isinstance(i, list) and len({v % shape[0] for v in i}) < len(i) for i in items):
        c[placed(jitcore, items)] = -1.0
        d[placed(torch, items)] = -1.0
        assert_same(c, d)


def test_one_hot_refuses_classes_that_are_not_there():
    import jitcore.nn.functional as F

    for classes in ([3], [-1, 0]):
        with pytest.raises(RuntimeError, match="Class values must be"):
            torch.nn.functional.one_hot(torch.tensor(classes), 3)
        with pytest.raises(RuntimeError, match="Class values must be"):
            F.one_hot(jitcore.tensor(classes), 3)
    compiled = jitcore.jit(lambda k: F.one_hot(k, 3))
    for _ in range(2):
        assert compiled(jitcore.tensor([2])).tolist() == [[0, 0, 1]]
    with pytest.raises(RuntimeError, match="Class values must be"):
        compiled(jitcore.tensor([3]))
