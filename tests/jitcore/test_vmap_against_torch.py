"""jitcore.func.vmap against torch.func.vmap: values, gradients through it, nesting, errors, the same under jit."""

import numpy as np
import pytest
import torch

import jitcore
from jitcore import func as F
from jitcore.trace.containers import flatten

RANDOM = np.random.default_rng(7)


def _made(*shape):
    return RANDOM.standard_normal(shape) + 0.1


X, Y, SQUARE = _made(3, 4, 5), _made(3, 4, 5), _made(3, 4, 4) + 4 * np.eye(4)
INDEX = RANDOM.integers(0, 4, (3, 2))
IMAGES, WEIGHTS = _made(3, 2, 2, 6, 6), _made(3, 6, 2, 3, 3)

# name: (function of the library and examples, whole arrays, in_dims)
CASES = {
    "elementwise": (lambda L, x, y: (x * y).sin() + x.exp() / 2, (X, Y), 0),
    "broadcast ranks": (lambda L, x, y: x + y, (X, _made(5, 3)), (0, 1)),
    "broadcast to lower rank": (lambda L, x, y: x * y.sum(), (X, Y), 0),
    "unmapped": (lambda L, x, y: x * y, (X, Y[0]), (0, None)),
    "unmapped of higher rank": (lambda L, x, y: x + y, (X[:, 0], Y), (0, None)),
    "other in_dims": (lambda L, x, y: x @ y.t(), (X, Y), (1, -2)),
    "sum": (lambda L, x: x.sum(0), (X,), 0),
    "mean keepdim": (lambda L, x: x.mean(-1, keepdim=True), (X,), 1),
    "amax": (lambda L, x: x.amax(1) - x.amin(), (X,), 0),
    "argmax": (lambda L, x: x.argmax(-1), (X,), 0),
    "prod": (lambda L, x: x.prod(1), (X,), 2),
    "softmax": (lambda L, x: L.softmax(x, -1), (X,), 0),
    "cumsum": (lambda L, x: x.cumsum(1), (X,), 0),
    "flip": (lambda L, x: x.flip(0), (X,), 0),
    "movement": (lambda L, x: x.t().reshape(-1)[1:7].unsqueeze(0).expand(3, 6), (X,), 0),
    "steps": (lambda L, x: x[::2, 1:], (X,), 0),
    "cat": (lambda L, x, y: L.cat([x, y, x]), (X, Y[0]), (0, None)),
    "stack": (lambda L, x, y: L.stack([x, y], -1), (X, Y), 0),
    "pad": (lambda L, x: L.nn.functional.pad(x, (1, 2, 0, 1), value=2.0), (X,), 0),
    "where": (lambda L, x, y: L.where(x > 0, x, y), (X, Y), 0),
    "matmul": (lambda L, x, y: x @ y, (X, _made(5, 2)), (0, None)),
    "matmul by mapped": (lambda L, x, y: x @ y, (_made(2, 4), X), (None, 0)),
    "matmul of both": (lambda L, x, y: x @ y.t(), (X, Y), 0),
    "dot": (lambda L, x, y: L.dot(x, y), (X[:, 0], Y[:, 0]), 0),
    "einsum": (lambda L, x, y: L.einsum("ij,kj->ik", x, y), (X, Y), 0),
    "index": (lambda L, x, i: x[i], (X[0], INDEX), (None, 0)),
    "index of mapped": (lambda L, x, i: x[i], (X, INDEX), 0),
    "index of second axis": (lambda L, x, i: x[:, i], (X, INDEX), 0),
    "index_select": (lambda L, x, i: x.index_select(0, i), (X, INDEX[0]), (0, None)),
    "embedding": (lambda L, x, i: L.nn.functional.embedding(i, x), (X[0], INDEX), (None, 0)),
    "gather": (lambda L, x, i: x.gather(0, i.unsqueeze(-1)), (X, INDEX), 0),
    "scatter": (lambda L, x, i: x.scatter(1, i.unsqueeze(-1), 2.0), (X, INDEX), 0),
    "scatter_add": (lambda L, x, i, y: x.scatter_add(1, i.unsqueeze(-1), y), (X, INDEX, _made(3, 2, 1)), 0),
    "index_add": (lambda L, x, i, y: x.index_add(0, i, y), (X, INDEX, _made(3, 2, 5)), 0),
    "diagonal": (lambda L, x: x.diagonal() + x.trace(), (SQUARE,), 0),
    "tril": (lambda L, x: x.tril(), (X,), 0),
    "conv": (lambda L, x, w: L.nn.functional.conv2d(x, w, padding=1), (IMAGES, WEIGHTS[0]), (0, None)),
    "conv by mapped": (lambda L, x, w: L.nn.functional.conv2d(x, w), (IMAGES[0], WEIGHTS), (None, 0)),
    "conv of both": (
        lambda L, x, w: L.nn.functional.conv2d(x, w[:, :1], stride=2, groups=2), (IMAGES, WEIGHTS), 0,
    ),
    "conv_transpose": (
        lambda L, x, w: L.nn.functional.conv_transpose2d(x, w.transpose(0, 1), stride=2), (IMAGES, WEIGHTS), 0,
    ),
    "max_pool": (lambda L, x: L.nn.functional.max_pool2d(x, 2), (IMAGES,), 0),
    "layer_norm": (lambda L, x: L.nn.functional.layer_norm(x, (5,)), (X,), 0),
    "solve": (lambda L, a, b: L.linalg.solve(a, b), (SQUARE, X), 0),
    "det": (lambda L, a: L.linalg.det(a), (SQUARE,), 0),
    "inv": (lambda L, a: L.linalg.inv(a), (SQUARE,), 0),
    "cross_entropy": (lambda L, x, i: L.nn.functional.cross_entropy(x[:2], i), (X, INDEX), 0),
    "attention": (
        lambda L, x, y: L.nn.functional.scaled_dot_product_attention(x, y, y),
        (IMAGES[:, :, :, 0], IMAGES[:, :, :, 1]),
        0,
    ),
    "written": (lambda L, x, y: _written(x, y), (X, Y), 0),
    "several results": (lambda L, x: (x.sum(), {"twice": [x * 2]}), (X,), 0),
}  # fmt: skip


def _written(x, y):
    made = x.clone()
    made[0] = y[1]
    made[1:].mul_(2)
    made += y
    return made


def _both(arrays):
    return [jitcore.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]


def _leaves(tree):
    return flatten(tree)[0]


def assert_equal(ours, theirs, rtol=1e-9):
    ours, theirs = _leaves(ours), _leaves(theirs)
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs):
        assert tuple(x.shape) == tuple(y.shape) and x.dtype.name == str(y.dtype).removeprefix("torch.")
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol, rtol)


@pytest.mark.parametrize("name", CASES)
def test_vmap(name):
    function, arrays, in_dims = CASES[name]
    ours, theirs = _both(arrays)
    expected = torch.func.vmap(lambda *a: function(torch, *a), in_dims)(*theirs)
    mapped = F.vmap(lambda *a: function(jitcore, *a), in_dims)
    assert_equal(mapped(*ours), expected)
    assert_equal(F.vmap(lambda *a: function(jitcore, *a), in_dims, chunk_size=2)(*ours), expected)
    compiled = jitcore.jit(mapped)
    for _ in range(2):
        assert_equal(compiled(*ours), expected, 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_gradient_through_vmap_is_the_gradient_of_a_loop(name):
    function, arrays, in_dims = CASES[name]
    floats = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]

    def total(L, vmap, given):
        results = _leaves(vmap(lambda *a: function(L, *a), in_dims)(*given))
        return sum((r.double() * r.double()).sum() for r in results if r.dtype in (L.float64, L.float32))

    ours, theirs = _both(arrays)
    for k in floats:
        ours[k].requires_grad_()
        theirs[k].requires_grad_()
    expected = total(torch, torch.func.vmap, theirs)
    if not isinstance(expected, torch.Tensor) or not expected.requires_grad:
        return
    expected.backward()
    total(jitcore, F.vmap, ours).backward()
    for k in floats:
        np.testing.assert_allclose(ours[k].grad.numpy(), theirs[k].grad.numpy(), 1e-8, 1e-8)


def test_batches_of_batches():
    (x, y), (tx, ty) = _both((X, Y))
    one = F.vmap(F.vmap(lambda a, b: a * b + a.sum(), in_dims=(0, None)), in_dims=(0, 1), out_dims=1)
    two = torch.func.vmap(torch.func.vmap(lambda a, b: a * b + a.sum(), in_dims=(0, None)), in_dims=(0, 1), out_dims=1)
    assert_equal(one(x, y[:, 0].t()), two(tx, ty[:, 0].t()))


def test_trees_and_out_dims():
    x, t = jitcore.tensor(X), torch.tensor(X)
    given = [({"a": x, "b": 3.0}, [x]), ({"a": t, "b": 3.0}, [t])]

    def function(d, e):
        return d["a"] * d["b"], e[0].sum(0)

    dims = ({"a": 0, "b": None}, [1])
    x2, t2 = x.transpose(0, 1), t.transpose(0, 1)
    ours = F.vmap(function, dims, (1, 0))(given[0][0], [x2])
    assert_equal(ours, torch.func.vmap(function, dims, (1, 0))(given[1][0], [t2]))


def test_randomness():
    x = jitcore.zeros(6, 3)
    jitcore.manual_seed(0)
    same = F.vmap(lambda r: r + jitcore.rand(3), randomness="same")(x).numpy()
    different = F.vmap(lambda r: r + jitcore.rand(3), randomness="different")(x).numpy()
    assert (same == same[0]).all() and len(np.unique(different)) == 18
    assert (F.vmap(lambda r: r + 1 + jitcore.rand(3), randomness="same")(x).numpy() != same + 1).any()  # goes on
    with pytest.raises(RuntimeError, match="randomness error mode"):
        F.vmap(lambda r: r + jitcore.rand(3))(x)


@pytest.mark.parametrize(
    "function", [lambda r: r if r.sum() > 0 else -r, lambda r: r * r.sum().item(), lambda r: r + r.numpy().sum(),
                 lambda r: r * int(r.sum()), lambda r: r.tolist()],
)  # fmt: skip
def test_values_cannot_be_read(function):
    with pytest.raises(RuntimeError, match="vmap"):
        F.vmap(function)(jitcore.ones(2, 3))


def test_an_example_that_escapes_cannot_be_used():
    kept = []
    F.vmap(lambda r: (kept.append(r), r)[1])(jitcore.ones(2, 3))
    with pytest.raises(RuntimeError, match="vmap"):
        kept[0] + 1
    with pytest.raises(RuntimeError, match="vmap"):
        F.vmap(lambda r: r + kept[0])(jitcore.ones(2, 3))


def test_a_batch_is_not_written_to_what_all_examples_share():
    shared = jitcore.zeros(3)
    with pytest.raises(RuntimeError, match="in-place"):
        F.vmap(lambda r: shared.add_(r))(jitcore.ones(2, 3))
    assert not shared.any()


@pytest.mark.parametrize("wrong", [
    lambda vmap, L: vmap(lambda x: x, in_dims="a")(L.ones(2)), lambda vmap, L: vmap(lambda x: x, in_dims=2)(L.ones(2)),
    lambda vmap, L: vmap(lambda x: x, in_dims=(0, 0))(L.ones(2)), lambda vmap, L: vmap(lambda x: x)(3.0),
    lambda vmap, L: vmap(lambda x: x)(), lambda vmap, L: vmap(lambda x: 1.0)(L.ones(2)),
    lambda vmap, L: vmap(lambda x, y: x)(L.ones(2), L.ones(3)),
    lambda vmap, L: vmap(lambda x: x, out_dims=(0, 0))(L.ones(2)),
    lambda vmap, L: vmap(lambda x: x, out_dims=None)(L.ones(2)),
    lambda vmap, L: vmap(lambda x: x, in_dims=None)(L.ones(2)),
    lambda vmap, L: vmap(lambda x: x, randomness="none")(L.ones(2)),
    lambda vmap, L: vmap(lambda x: x, chunk_size=0)(L.ones(2)),
])  # fmt: skip
def test_errors_are_of_pytorchs_classes(wrong):
    with pytest.raises(Exception) as expected:
        wrong(torch.func.vmap, torch)
    with pytest.raises(expected.type):
        wrong(jitcore.vmap, jitcore)


def test_detach_inside_cuts_history_outside():
    x, t = jitcore.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    F.vmap(lambda r: r * r.detach())(x).sum().backward()
    torch.func.vmap(lambda r: r * r.detach())(t).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), t.grad.numpy())


def test_every_example_of_a_wrong_index_is_an_error():
    with pytest.raises(IndexError):
        F.vmap(lambda x, i: x[i])(jitcore.ones(2, 3), jitcore.tensor([[0], [3]]))


def _cube(L, generate):
    class Cube(L.autograd.Function):
        generate_vmap_rule = generate

        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    return Cube


@pytest.mark.parametrize("transform", [
    lambda F, f, x: F.vmap(f)(x), lambda F, f, x: F.vmap(F.grad(lambda r: f(r).sum()))(x),
    lambda F, f, x: F.grad(lambda a: F.vmap(f)(a).sum())(x), lambda F, f, x: F.vmap(F.vmap(f))(x),
    lambda F, f, x: F.jacrev(F.vmap(f))(x),
])  # fmt: skip
def test_autograd_function(transform):
    x = X[0]
    ours = transform(F, _cube(jitcore, True).apply, jitcore.tensor(x))
    assert_equal(ours, transform(torch.func, _cube(torch, True).apply, torch.tensor(x)))


@pytest.mark.parametrize("L", [jitcore, torch], ids=["jitcore", "torch"])
def test_autograd_function_of_a_tensor_from_outside_and_a_mapped_one(L):
    """The gradient of the outside tensor is not lost."""

    class Product(L.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(a, b):
            return a * b

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b, g * a

    w, rows = L.tensor([1.0, 2.0], requires_grad=True), L.tensor([[1.0, 2.0], [3.0, 4.0]])
    L.func.vmap(lambda row: Product.apply(w, row))(rows).sum().backward()
    assert w.grad.tolist() == [4.0, 6.0]


@pytest.mark.parametrize("L", [jitcore, torch], ids=["jitcore", "torch"])
def test_autograd_function_without_a_rule_is_refused(L):
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        L.func.vmap(_cube(L, False).apply)(L.ones(2, 3))


@pytest.mark.parametrize("L", [jitcore, torch], ids=["jitcore", "torch"])
def test_autograd_function_with_its_own_vmap(L):
    class Double(_cube(L, False)):
        @staticmethod
        def vmap(info, in_dims, x):
            assert info.batch_size == 2 and in_dims == (0,)
            return _cube(L, True).apply(x) + 1, 0

    assert L.func.vmap(Double.apply)(L.ones(2, 3)).tolist() == [[2.0] * 3] * 2
