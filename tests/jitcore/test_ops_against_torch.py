"""Every function, in float64 against PyTorch: values, dtypes, gradients, gradients of gradients."""

import numpy as np
import pytest
from torch_compare import check

R = np.random.default_rng(7)


def n(*shape):
    """Normal numbers."""
    return R.normal(size=shape)


def p(*shape):
    """Positive numbers."""
    return R.uniform(0.2, 2.0, size=shape)


def u(*shape):
    """Numbers in (-1, 1)."""
    return R.uniform(-0.95, 0.95, size=shape)


def i(*shape, high=5):
    """Small non-negative integers."""
    return R.integers(0, high, size=shape)


def apart(*shape):
    """Numbers that differ from each other and from integers and halves, so that derivatives are defined."""
    count = int(np.prod(shape))
    return (R.permutation(count) - count / 2 + 0.3).reshape(shape) * 0.37


UNARY = {
    "abs": n,
    "neg": n,
    "sign": n,
    "exp": n,
    "expm1": n,
    "log": p,
    "log1p": p,
    "log2": p,
    "log10": p,
    "sqrt": p,
    "rsqrt": p,
    "sin": n,
    "cos": n,
    "tan": u,
    "asin": u,
    "acos": u,
    "atan": n,
    "sinh": n,
    "cosh": n,
    "tanh": n,
    "sigmoid": n,
    "erf": n,
    "erfc": n,
    "floor": apart,
    "ceil": apart,
    "round": apart,
    "trunc": apart,
    "frac": apart,
    "reciprocal": p,
    "square": n,
    "exp2": n,
    "relu": n,
    "selu": n,
    "celu": n,
    "isnan": n,
    "isinf": n,
    "isfinite": n,
    "nan_to_num": n,
    "clone": n,
    "t": n,
    "trace": n,
    "tril": n,
    "triu": n,
    "flatten": n,
    "ravel": n,
    "signbit": n,
    "numel": n,
    "logit": lambda *s: R.uniform(0.1, 0.9, s),
}
UNARY.pop("numel")


@pytest.mark.parametrize("name", UNARY)
def test_function_of_one_tensor(name):
    check(lambda lib, x: getattr(lib, name)(x), UNARY[name](3, 4))
    if name not in ("t", "trace", "tril", "triu", "selu", "celu"):
        check(lambda lib, x: getattr(x, name)(), UNARY[name](4), grads=0)


INTEGERS_TOO = [
    "exp",
    "log",
    "sqrt",
    "sin",
    "tanh",
    "sigmoid",
    "abs",
    "neg",
    "sign",
    "floor",
    "ceil",
    "round",
    "trunc",
    "square",
    "reciprocal",
    "erf",
    "rsqrt",
    "isnan",
    "isinf",
    "isfinite",
    "relu",
    "exp2",
    "log10",
]


@pytest.mark.parametrize("name", INTEGERS_TOO)
def test_function_of_integers(name):
    check(lambda lib, x: getattr(lib, name)(x), i(3, 4) + 1, grads=0)


BINARY = {
    "add": (n, n),
    "sub": (n, n),
    "mul": (n, n),
    "div": (n, p),
    "pow": (p, n),
    "maximum": (n, n),
    "minimum": (n, n),
    "fmax": (n, n),
    "fmin": (n, n),
    "atan2": (n, n),
    "remainder": (n, p),
    "fmod": (n, p),
    "eq": (n, n),
    "lt": (n, n),
    "le": (n, n),
    "gt": (n, n),
    "ge": (n, n),
    "ne": (n, n),
    "logaddexp": (n, n),
    "true_divide": (n, p),
    "multiply": (n, n),
}


@pytest.mark.parametrize(
    "shapes", [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((2, 1, 3), (4, 1)), ((0, 3), (1, 3))]
)
@pytest.mark.parametrize("name", BINARY)
def test_function_of_two_tensors_broadcasts(name, shapes):
    a, b = BINARY[name]
    check(lambda lib, x, y: getattr(lib, name)(x, y), a(*shapes[0]), b(*shapes[1]))


@pytest.mark.parametrize("scalar", [2, 2.5, -1.5, 0.5, 3])
@pytest.mark.parametrize(
    "operation",
    [
        lambda x, s: x + s,
        lambda x, s: s + x,
        lambda x, s: x - s,
        lambda x, s: s - x,
        lambda x, s: x * s,
        lambda x, s: s * x,
        lambda x, s: x / s,
        lambda x, s: s / x,
        lambda x, s: x % s,
        lambda x, s: x**s,
        lambda x, s: x > s,
        lambda x, s: s >= x,
        lambda x, s: x == s,
        lambda x, s: x != s,
        lambda x, s: s**x if s > 0 else x,
    ],
)
def test_operators_with_python_numbers(operation, scalar):
    check(lambda lib, x: operation(x, scalar), p(3, 4))


def test_tied_maximum_shares_its_gradient():
    x = np.array([1.0, 2.0, 3.0])
    check(lambda lib, a, b: (lib.maximum(a, b), lib.minimum(a, b)), x, np.array([1.0, 5.0, 3.0]))
    check(lambda lib, a: (a.amax(), a.amin(0), a.amax(0, keepdim=True)), np.array([2.0, 7.0, 7.0, 2.0]))


CASES = {
    "clamp": (lambda lib, x: (x.clamp(-0.5, 0.5), x.clamp(min=0.1), lib.clamp(x, max=0.2)), n(3, 4)),
    "clamp at bounds": (
        lambda lib, x: (x.clamp(0.0, 1.0), x.clamp(min=0), lib.relu(x)),
        np.array([-1.0, 0.0, 0.5, 1.0, 2.0]),
    ),
    "clamp tensors": (lambda lib, x, a, b: lib.clamp(x, a, b), n(3, 4), u(4) - 1, u(3, 1) + 1),
    "where": (lambda lib, c, x, y: lib.where(c > 2, x, y), i(3, 4), n(3, 4), n(4)),
    "where scalar": (lambda lib, x: lib.where(x > 0, x, 0.0), n(3, 4)),
    "masked_fill": (lambda lib, x, m: x.masked_fill(m > 2, -1.5), n(3, 4), i(4)),
    "lerp": (lambda lib, x, y: lib.lerp(x, y, 0.3), n(3), n(3)),
    "lerp tensor": (lambda lib, x, y, w: lib.lerp(x, y, w), n(3), n(3), n(3)),
    "addcmul": (lambda lib, x, y, z: lib.addcmul(x, y, z, value=0.5), n(3), n(3), n(2, 3)),
    "addcdiv": (lambda lib, x, y, z: lib.addcdiv(x, y, z, value=0.5), n(3), n(3), p(3)),
    "add alpha": (lambda lib, x, y: (lib.add(x, y, alpha=2), lib.sub(x, y, alpha=0.5)), n(3), n(3)),
    "div modes": (
        lambda lib, x, y: (lib.div(x, y, rounding_mode="floor") * 1, lib.div(x, y, rounding_mode="trunc")),
        i(20, high=50) - 25,
        i(20) + 1,
    ),
    "sum": (
        lambda lib, x: (
            x.sum(),
            x.sum(0),
            x.sum((0, 2), keepdim=True),
            lib.sum(x, dim=-1),
            lib.sum(x, axis=1, keepdims=True),
        ),
        n(2, 3, 4),
    ),
    "sum dtype": (lambda lib, x: (x.sum(dtype=lib.float64), (x > 0).sum(), (x > 0).sum(0)), n(3).astype("f")),
    "mean": (lambda lib, x: (x.mean(), x.mean(1), x.mean((0, 1), keepdim=True)), n(2, 3, 4)),
    "prod": (lambda lib, x: (x.prod(), x.prod(1), x.prod(0, keepdim=True)), n(3, 4)),
    "prod with zeros": (lambda lib, x: (x.prod(), x.prod(1)), np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])),
    "amax": (lambda lib, x: (x.amax(), x.amax(1), x.amin((0, 1)), x.aminmax(dim=0)), apart(3, 4)),
    "max dim": (lambda lib, x: (x.max(), tuple(x.max(0)), tuple(x.min(1, keepdim=True)), x.max(0).values), apart(3, 4)),
    "argmax": (lambda lib, x: (x.argmax(), x.argmax(1), x.argmin(0, keepdim=True)), apart(3, 4)),
    "any all": (lambda lib, x: ((x > 0).any(), (x > 0).all(1), x.any(0), x.all()), n(3, 4)),
    "var": (
        lambda lib, x: (
            x.var(),
            x.var(1),
            x.var(0, unbiased=False),
            x.std(1, correction=0),
            x.std(),
            lib.var_mean(x, 1),
        ),
        n(3, 4),
    ),
    "norm": (
        lambda lib, x: (x.norm(), x.norm(1), x.norm(3, dim=1), x.norm(float("inf"), 1), lib.norm(x, 2, (0, 1), True)),
        apart(3, 4),
    ),
    "logsumexp": (lambda lib, x: (x.logsumexp(1), x.logsumexp((0, 1), keepdim=True)), n(3, 4)),
    "cumsum": (lambda lib, x: (x.cumsum(0), lib.cumsum(x, -1), x.cumprod(1)), n(3, 4)),
    "cumprod with zeros": (
        lambda lib, x: x.cumprod(1),
        np.array([[1.0, 0.0, 2.0, 3.0], [2.0, 0.0, 0.0, 5.0], [1.0, 2.0, 3.0, 4.0]]),
    ),
    "diff": (lambda lib, x: (x.diff(), lib.diff(x, 2, 0)), n(3, 4)),
    "count_nonzero": (lambda lib, x: (x.count_nonzero(), x.count_nonzero(1)), i(3, 4, high=2)),
    "softmax": (lambda lib, x: (x.softmax(1), lib.log_softmax(x, 0), lib.softmax(x, -1)), n(3, 4)),
    "reshape": (
        lambda lib, x: (x.reshape(4, 3), x.reshape((2, -1)), x.view(-1), x.T.reshape(12), x.flatten(0)),
        n(3, 4),
    ),
    "view forms": (
        lambda lib, x: (x.unsqueeze(0), x.unsqueeze(-1), x.squeeze(1), x.squeeze(), x.unflatten(2, (2, -1))),
        n(3, 1, 4),
    ),
    "permute": (
        lambda lib, x: (x.permute(2, 0, 1), x.transpose(0, -1), x.movedim(0, 2), x.mT, lib.movedim(x, (0, 1), (1, 2))),
        n(2, 3, 4),
    ),
    "expand": (lambda lib, x: (x.expand(2, 3, 4), x.expand(-1, 4), x.broadcast_to((3, 4))), n(3, 1)),
    "broadcast_tensors": (lambda lib, x, y: tuple(lib.broadcast_tensors(x, y)), n(3, 1), n(4)),
    "repeat": (lambda lib, x: (x.repeat(2, 3), x.repeat(2, 1, 2), x.tile((2,)), lib.tile(x, (2, 2))), n(2, 3)),
    "repeat_interleave": (lambda lib, x: (x.repeat_interleave(2), x.repeat_interleave(3, 1)), n(2, 3)),
    "repeat_interleave counts": (lambda lib, x: x.repeat_interleave(lib.tensor([1, 0, 2]), dim=1), n(2, 3)),
    "flip roll": (
        lambda lib, x: (x.flip(0), x.flip((0, 1)), x.roll(1), x.roll((1, -2), (0, 1)), lib.fliplr(x)),
        n(3, 4),
    ),
    "narrow select": (lambda lib, x: (x.narrow(1, 1, 2), x.select(0, -1), lib.select(x, 1, 2)), n(3, 4)),
    "unfold": (lambda lib, x: x.unfold(1, 3, 2), n(2, 8)),
    "cat": (
        lambda lib, x, y: (lib.cat([x, y]), lib.cat((x, y, x), 0), lib.hstack([x, y]), lib.vstack((x, y))),
        n(2, 3),
        n(2, 3),
    ),
    "cat dims": (lambda lib, x, y: lib.cat([x, y], dim=-1), n(2, 3), n(2, 5)),
    "stack": (lambda lib, x, y: (lib.stack([x, y]), lib.stack((x, y), -1)), n(2, 3), n(2, 3)),
    "split": (
        lambda lib, x: (
            x.split(2),
            x.split([1, 4], 0),
            x.chunk(2),
            lib.chunk(x, 3),
            x.unbind(1),
            lib.tensor_split(x, 3),
        ),
        n(5, 2),
    ),
    "meshgrid": (
        lambda lib, x, y: (tuple(lib.meshgrid(x, y, indexing="ij")), tuple(lib.meshgrid(x, y, indexing="xy"))),
        n(2),
        n(3),
    ),
    "cartesian_prod": (lambda lib, x, y: lib.cartesian_prod(x, y), n(2), n(3)),
    "diagonal": (lambda lib, x: (x.diagonal(), x.diagonal(1), x.diagonal(-1), lib.diag(x), x.diag(1)), n(3, 4)),
    "diag of vector": (lambda lib, x: (lib.diag(x), lib.diag(x, 1), lib.diag_embed(x, -2)), n(3)),
    "tril": (lambda lib, x: (x.tril(1), x.triu(-1), lib.triu(x, 1)), n(2, 3, 4)),
    "gather": (lambda lib, x, k: (x.gather(1, k), lib.gather(x, 0, k % 3)), n(3, 5), i(3, 4)),
    "scatter": (
        lambda lib, x, y: (x.scatter(1, lib.tensor([[0, 2], [1, 4], [3, 0]]), y), x.scatter(1, lib.tensor([[1]]), 2.0)),
        n(3, 5),
        n(3, 2),
    ),
    "scatter_add": (lambda lib, x, k, y: x.scatter_add(1, k, y), n(3, 5), i(3, 6), n(3, 6)),
    "index_select": (lambda lib, x, k: (x.index_select(1, k), lib.index_select(x, 0, k % 3)), n(3, 5), i(6)),
    "index_add": (lambda lib, x, k, y: x.index_add(1, k, y), n(3, 5), i(6), n(3, 6)),
    "index_copy": (lambda lib, x, y: x.index_copy(1, lib.tensor([3, 0]), y), n(3, 5), n(3, 2)),
    "index_fill": (lambda lib, x: x.index_fill(1, lib.tensor([3, 0]), 1.5), n(3, 5)),
    "take": (
        lambda lib, x, k: (x.take(k), lib.take_along_dim(x, lib.tensor([[0], [1], [1]]), 1)),
        n(3, 5),
        i(2, 4, high=15),
    ),
    "sort": (
        lambda lib, x: (
            tuple(x.sort()),
            tuple(x.sort(0, descending=True)),
            x.argsort(1),
            tuple(x.topk(2)),
            tuple(x.topk(2, 0, largest=False)),
        ),
        apart(4, 5),
    ),
    "median": (lambda lib, x: (x.median(), tuple(x.median(1)), tuple(x.kthvalue(2, 1))), apart(4, 5)),
    "quantile": (
        lambda lib, x: (
            x.quantile(0.3),
            x.quantile(0.5, 1),
            lib.quantile(x, lib.tensor([0.1, 0.9], dtype=lib.float64), 0),
        ),
        apart(4, 5),
    ),
    "nonzero": (
        lambda lib, x: (
            x.nonzero(),
            lib.nonzero(x, as_tuple=True),
            lib.where(x > 2),
            x.unique(),
            x.bincount() if x.ndim == 1 else x,
        ),
        i(10),
    ),
    "unique": (lambda lib, x: lib.unique(x, return_inverse=True, return_counts=True), i(3, 4)),
    "masked_select": (lambda lib, x: (x.masked_select(x > 0), x[x > 0]), n(3, 4)),
    "searchsorted": (
        lambda lib, x: (
            lib.searchsorted(lib.tensor([0.0, 0.5, 1.0], dtype=lib.float64), x),
            lib.bucketize(x, lib.tensor([0.0, 1.0], dtype=lib.float64), right=True),
        ),
        n(3, 4),
    ),
    "isin": (lambda lib, x: lib.isin(x, lib.tensor([1, 3])), i(3, 4)),
    "isclose": (
        lambda lib, x: (lib.isclose(x, x + 1e-9), lib.allclose(x, x), lib.equal(x, x), lib.allclose(x, x + 1)),
        n(3),
    ),
    "matmul": (lambda lib, x, y: (x @ y, lib.mm(x, y)), n(3, 4), n(4, 5)),
    "matmul vectors": (
        lambda lib, m, v: (m @ v, v @ m.T, v @ v, lib.mv(m, v), lib.dot(v, v), lib.outer(v, v)),
        n(3, 4),
        n(4),
    ),
    "matmul batches": (lambda lib, x, y, z: (x @ y, lib.bmm(x, y), x @ z, z.T @ y), n(2, 3, 4), n(2, 4, 5), n(4, 6)),
    "matmul broadcast": (lambda lib, x, y: x @ y, n(5, 1, 3, 4), n(2, 4, 2)),
    "matmul vector batch": (lambda lib, x, v: (x @ v, v @ x.mT), n(5, 3, 4), n(4)),
    "addmm": (lambda lib, b, x, y: lib.addmm(b, x, y, beta=0.5, alpha=2), n(3, 5), n(3, 4), n(4, 5)),
    "baddbmm": (lambda lib, b, x, y: lib.baddbmm(b, x, y, beta=0.5), n(2, 3, 5), n(2, 3, 4), n(2, 4, 5)),
    "einsum": (
        lambda lib, x, y: (
            lib.einsum("ij,jk->ik", x, y),
            lib.einsum("ij,jk", x, y),
            lib.einsum("ij->ji", x),
            lib.einsum("ij->", x),
            lib.einsum("ij,jk->", x, y),
        ),
        n(3, 4),
        n(4, 5),
    ),
    "einsum batch": (
        lambda lib, x, y: (
            lib.einsum("bhqd,bhkd->bhqk", x, y),
            lib.einsum("...qd,...kd->...qk", x, y),
            lib.einsum("bhqd,bhkd->bqh", x, y),
        ),
        n(2, 3, 4, 5),
        n(2, 3, 6, 5),
    ),
    "einsum three": (lambda lib, x, y, z: lib.einsum("i,ij,j->", x, y, z), n(3), n(3, 4), n(4)),
    "einsum diagonal": (
        lambda lib, x: (lib.einsum("ii->i", x), lib.einsum("ii", x), lib.einsum("i,j->ij", x[0], x[1])),
        n(3, 3),
    ),
    "tensordot": (
        lambda lib, x, y: (
            lib.tensordot(x, y, 1),
            lib.tensordot(x, y, dims=([0, 1], [1, 0])) if x.shape[0] == y.shape[1] else x,
        ),
        n(3, 4),
        n(4, 3),
    ),
    "kron": (lambda lib, x, y: lib.kron(x, y), n(2, 3), n(3, 2)),
    "cast": (
        lambda lib, x: (x.float(), x.to(lib.float32).double(), x.long(), x.bool(), x.half(), x.to(lib.int8)),
        n(3, 4),
    ),
    "roundtrip cast": (lambda lib, x: x.float() * x.double(), n(3, 4)),
    "zeros_like": (
        lambda lib, x: (
            lib.zeros_like(x),
            lib.ones_like(x),
            lib.full_like(x, 2),
            x.new_zeros(2),
            x.new_ones((1, 2)),
            x.new_full((2,), 3),
        ),
        n(2, 3),
    ),
}


def test_norm_of_zeros_has_gradient_zero():
    check(lambda lib, x: x.norm(), np.zeros(3), grads=1)


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    function, *arrays = CASES[name]
    check(function, *arrays)


CREATION = {
    "zeros": lambda lib: (
        lib.zeros(2, 3),
        lib.zeros((2,)),
        lib.ones([3]),
        lib.zeros(2, dtype=lib.int64),
        lib.zeros(()),
    ),
    "full": lambda lib: (
        lib.full((2, 3), 7),
        lib.full((2,), 1.5),
        lib.full((), True),
        lib.full((2,), 2, dtype=lib.float64),
    ),
    "arange": lambda lib: (
        lib.arange(5),
        lib.arange(2, 9, 3),
        lib.arange(0.0, 1.0, 0.25),
        lib.arange(5, 0, -2),
        lib.arange(3, dtype=lib.float32),
        lib.arange(0),
    ),
    "linspace": lambda lib: (
        lib.linspace(0, 1, 5),
        lib.linspace(-3, 3, 7, dtype=lib.float64),
        lib.linspace(2, 5, 1),
        lib.logspace(0, 2, 3),
    ),
    "eye": lambda lib: (lib.eye(3), lib.eye(2, 4), lib.eye(2, dtype=lib.int64)),
    "tensor": lambda lib: (
        lib.tensor(1),
        lib.tensor(1.5),
        lib.tensor([True, False]),
        lib.tensor([[1, 2], [3, 4]]),
        lib.tensor([1, 2.5]),
        lib.tensor([]),
        lib.tensor([1, 2], dtype=lib.float16),
    ),
    "tensor of tensors": lambda lib: lib.tensor([lib.tensor(1.0), lib.tensor(2.0)]),
    "tensor of arrays": lambda lib: (
        lib.tensor(np.arange(3, dtype=np.int32)),
        lib.tensor(np.float64(1.5)),
        lib.as_tensor(np.ones(2)),
    ),
}


@pytest.mark.parametrize("name", CREATION)
def test_creation(name):
    check(CREATION[name], grads=0)


MORE = {
    "inverse hyperbolics": (lambda lib, x: (lib.asinh(x), lib.atanh(x / 5), lib.acosh(x.abs() + 1.1)), n(3, 4)),
    "angles": (lambda lib, x: (lib.deg2rad(x), lib.rad2deg(x), lib.sinc(x), x.positive()), n(3, 4)),
    "hypot": (lambda lib, x, y: (lib.hypot(x, y), lib.copysign(x, y), lib.xlogy(x, y.abs() + 0.1)), n(3, 4), n(4)),
    "xlogy at 0": (lambda lib, x, y: lib.xlogy(x, y.detach()), np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 3.0])),
    "heaviside": (
        lambda lib, x: lib.heaviside(x.detach(), lib.tensor(0.5, dtype=lib.float64)),
        np.array([-1.0, 0.0, 2.0]),
    ),
    "float_power": (lambda lib, x: lib.float_power(x.float().abs(), 2), n(3)),
    "infinities": (lambda lib, x: (lib.isposinf(x), lib.isneginf(x)), np.array([np.inf, -np.inf, np.nan, 1.0])),
    "stacks": (lambda lib, x, y: (lib.dstack([x, y]), lib.column_stack([x, y]), lib.row_stack([x, y])), n(3), n(3)),
    "block_diag": (lambda lib, x, y: lib.block_diag(x, y, x[0]), n(2, 3), n(1, 2)),
    "splits": (lambda lib, x: (lib.hsplit(x, 2), lib.vsplit(x, [1]), lib.dsplit(x, 3)), n(2, 4, 3)),
    "rot90": (lambda lib, x: tuple(lib.rot90(x, k, (0, 1)) for k in range(-1, 4)), n(2, 3)),
    "inner cross": (lambda lib, x, y: (lib.inner(x, y), lib.cross(x, y, dim=-1)), n(2, 3), n(2, 3)),
    "cdist": (lambda lib, x, y: (lib.cdist(x, y), lib.cdist(x, y, 1.0)), n(4, 3), n(5, 3)),
    "nanmean": (lambda lib, x: (x.nanmean(), x.nanmean(1), x.nansum(0)), np.array([[1.0, np.nan], [3.0, 4.0]])),
    "cummax": (lambda lib, x: (tuple(x.cummax(1)), tuple(x.cummin(0))), apart(3, 5)),
    "unique_consecutive": (
        lambda lib, x: lib.unique_consecutive(x, return_inverse=True, return_counts=True),
        np.array([1, 1, 2, 2, 1, 3, 3]),
    ),
    "masked_scatter": (lambda lib, x, y: (x.masked_scatter(x > 0, y), x.masked_scatter(x[0] > 0, y)), n(3, 4), n(20)),
    "scatter_reduce": (
        lambda lib, x, k, y: (x.scatter_reduce(1, k, y, "sum"), x.scatter_reduce(1, k, y, "mean", include_self=False)),
        n(3, 5), i(3, 6), n(3, 6),
    ),
    "triangles": (lambda lib: (lib.tril_indices(3, 4, -1), lib.triu_indices(3, 3, 1)),),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_further_functions(name):
    function, *arrays = MORE[name]
    check(function, *arrays, grads=1 if name == "cdist" else 2)


def test_names_that_are_left_out_say_so():
    import jitcore

    assert not hasattr(jitcore, "lobpcg") and not hasattr(jitcore.ones(1), "sparse_mask")
    assert getattr(jitcore, "lobpcg", None) is None
    with pytest.raises(NotImplementedError, match="lobpcg is not offered by jitcore; the nearest is linalg"):
        jitcore.lobpcg(jitcore.ones(2, 2))
    with pytest.raises(NotImplementedError, match="sparse_mask is not offered"):
        jitcore.ones(1).sparse_mask(3)
    with pytest.raises(AttributeError, match="module 'jitcore' has no attribute 'no_such_name'"):
        jitcore.no_such_name  # noqa: B018
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'no_such_name'"):
        jitcore.ones(1).no_such_name  # noqa: B018
    assert not hasattr(jitcore.Tensor, "sparse_mask") and not hasattr(
        jitcore.nn.Parameter(jitcore.ones(1)), "sparse_mask"
    )
    assert "sparse_mask" not in dir(jitcore.ones(1)) and "sum" in dir(jitcore.ones(1))
    x = jitcore.ones(1)
    x.sparse_mask = 3  # a name like any other for what the user keeps there
    assert x.sparse_mask == 3 and "sparse_mask" in dir(x)
