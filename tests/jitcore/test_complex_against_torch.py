"""Complex tensors against PyTorch: parts and views of them, functions, gradients in its (conjugate) convention."""

import numpy as np
import pytest
import torch
from torch_compare import assert_same, both

import jitcore


def numbers(*shape, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


UNARY = [
    "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "sqrt", "rsqrt", "sigmoid", "log1p", "expm1", "log2", "log10", "exp2", "square", "abs", "angle", "sgn", "sinc",
    "neg", "conj", "real", "imag", "view_as_real", "conj_physical", "resolve_conj", "positive", "reciprocal", "var",
    "std", "mean", "prod", "sum", "norm",
]  # fmt: skip
CASES = {
    **{name: (lambda lib, x, n=name: getattr(lib, n)(x), numbers(3, 2)) for name in UNARY},
    "complex": (lambda lib, x, y: lib.complex(x, y), numbers(3, 1).real, numbers(1, 4).real),
    "polar": (lambda lib, x, y: lib.polar(x, y), abs(numbers(3)), numbers(3, seed=1).real),
    "view_as_complex": (lambda lib, x: lib.view_as_complex(x), numbers(3, 2).real),
    "mul": (lambda lib, x, y: x * y, numbers(3, 2), numbers(2, seed=1)),
    "mul real": (lambda lib, x, y: x * y, numbers(3, 2), numbers(2, seed=1).real),
    "div": (lambda lib, x, y: x / y, numbers(3, 2), numbers(2, seed=1)),
    "div real": (lambda lib, x, y: x / y, numbers(3, 2).real, numbers(2, seed=1)),
    "pow": (lambda lib, x, y: x**y, numbers(3), numbers(3, seed=1)),
    "pow number": (lambda lib, x: x**2.5 + 2.0**x, numbers(3)),
    "number": (lambda lib, x: (2j - x) * (1 + 1j), numbers(3).real),
    "matmul": (lambda lib, x, y: x @ y, numbers(3, 2), numbers(2, 4, seed=1)),
    "bmm": (lambda lib, x, y: lib.bmm(x, y), numbers(2, 3, 2), numbers(2, 2, 4, seed=1)),
    "einsum": (lambda lib, x, y: lib.einsum("bij,kj->bik", x, y.conj()), numbers(2, 3, 2), numbers(4, 2, seed=1)),
    "vdot": (lambda lib, x, y: lib.vdot(x, y), numbers(3), numbers(3, seed=1)),
    "conv2d": (
        lambda lib, x, w: lib.nn.functional.conv2d(x, w, stride=2, padding=1), numbers(2, 3, 5, 5), numbers(4, 3, 3, 3)
    ),
    "cumsum": (lambda lib, x: x.cumsum(0), numbers(3, 2)),
    "cumprod": (lambda lib, x: x.cumprod(0), numbers(3, 2)),
    "logaddexp": (lambda lib, x, y: lib.logaddexp(x, y), numbers(3) * 3, numbers(3, seed=1)),
    "logsumexp": (lambda lib, x: lib.logsumexp(x, 1), numbers(3, 4) * 3),
    "cat": (lambda lib, x, y: lib.cat([x, y]), numbers(3), numbers(2).real),
    "index": (lambda lib, x: x[1:, [0, 1]] * x.T[0, 1], numbers(3, 2)),
    "where": (lambda lib, x, y: lib.where(x.real > 0, x, y), numbers(5), numbers(5, seed=1)),
    "adjoint": (lambda lib, x: x.mH @ x + x.H, numbers(2, 2)),
    "lerp": (lambda lib, x, y: lib.lerp(x, y, 0.3), numbers(3), numbers(3, seed=1)),
    "norm 3": (lambda lib, x: x.norm(3, dim=0), numbers(3, 2)),
    "parts": (lambda lib, x: x.real * x.imag.exp(), numbers(3, 2)),
}  # fmt: skip


def leaves(lib, arrays):
    return [lib.tensor(a, requires_grad=True) for a in arrays]


def gradients(lib, function, arrays, seed=0):
    """The result, the gradients of a real loss of it, and the gradients of those gradients' sizes."""
    given = leaves(lib, arrays)
    result = function(lib, *given)
    random = np.random.default_rng(seed)
    direction = lib.tensor(random.normal(size=tuple(result.shape)) + 1j * random.normal(size=tuple(result.shape)))
    loss = (result * direction).real.sum()
    first = lib.autograd.grad(loss, given, create_graph=True)
    if not any(g.requires_grad for g in first):
        return result, first, []
    second = lib.autograd.grad(sum((g * g.conj()).real.sum() for g in first), given, allow_unused=True)
    return result, first, [lib.zeros_like(x) if g is None else g for g, x in zip(second, given)]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    function, *arrays = CASES[name]
    ours, theirs = gradients(jitcore, function, arrays), gradients(torch, function, arrays)
    assert_same(ours[0], theirs[0].resolve_conj(), "result")
    for what, a, b in zip(("gradient", "second gradient"), ours[1:], theirs[1:]):
        assert_same(list(a), [t.resolve_conj().resolve_neg() for t in b], what)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("make", ["zeros", "ones", "rand", "randn", "empty"])
def test_creation(make, dtype):
    x = getattr(jitcore, make)(2, 3, dtype=getattr(jitcore, dtype))
    assert x.dtype is getattr(jitcore, dtype) and x.is_complex() and jitcore.is_complex(x)


def test_random_numbers_have_parts_of_half_the_variance():
    x = jitcore.randn(20000, dtype=jitcore.complex64)  # standard errors below 0.01
    assert abs(x.real.var().item() - 0.5) < 0.04 and abs(x.imag.var().item() - 0.5) < 0.04
    assert abs((x.real * x.imag).mean().item()) < 0.03


def test_parts_are_views_that_write_through():
    for write in (
        lambda z: z.real.mul_(2), lambda z: z.imag.zero_(), lambda z: z.imag[1:].copy_(z.real[1:] * 3),
        lambda z: setattr(z, "real", z.imag + 1),
    ):  # fmt: skip
        a, b = both(numbers(3, 2))
        write(a), write(b)
        assert_same(a, b)
    a, b = (lib.tensor(numbers(3, 2).real) for lib in (jitcore, torch))
    for lib, x in ((jitcore, a), (torch, b)):
        lib.view_as_real(lib.view_as_complex(x).mul_(2j))[..., 1].add_(1)
    assert_same(a, b)


def test_writes_through_parts_keep_history():
    def run(lib):
        x = lib.tensor(numbers(3), requires_grad=True)
        y = lib.tensor(numbers(3, seed=1).real, requires_grad=True)
        z = x * 2
        z.imag.mul_(y)
        lib.view_as_real(z)[0, 0] = y[1]
        w = z.exp()
        (w.real * w.imag).sum().backward()
        return x.grad, y.grad

    assert_same(run(jitcore), run(torch))


REFUSED = [
    "floor", "ceil", "sign", "round", "trunc", "erf", "argmax", "amax", "max", "min", "isposinf",
    "signbit", "relu", "frac", "deg2rad", "logit", "lgamma", "digamma", "erfinv",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_functions_without_a_complex_meaning_refuse(name):
    with pytest.raises(RuntimeError):
        getattr(jitcore, name)(jitcore.tensor([1 + 2j, 3]))


@pytest.mark.parametrize("operation", ["__lt__", "__ge__", "__mod__", "__floordiv__", "maximum", "atan2", "hypot"])
def test_orders_and_remainders_refuse(operation):
    x = jitcore.tensor([1 + 2j, 3])
    with pytest.raises(RuntimeError):
        getattr(x, operation)(x)


def test_errors():
    z = jitcore.tensor([1 + 2j], requires_grad=True)
    with pytest.raises(RuntimeError, match="real scalar"):
        (z * z).sum().backward()
    with pytest.raises(RuntimeError, match="without overflow"):
        jitcore.zeros(3).fill_(1j)
    with pytest.raises(RuntimeError, match="can't be cast"):
        jitcore.zeros(3).add_(jitcore.zeros(3, dtype=jitcore.complex64))
    with pytest.raises(RuntimeError, match="last dimension of size 2"):
        jitcore.view_as_complex(jitcore.zeros(2, 3))
    with pytest.raises(RuntimeError, match="stride 1"):
        jitcore.view_as_complex(jitcore.zeros(2, 3).T)
    with pytest.raises(RuntimeError, match="only supported for complex"):
        jitcore.view_as_real(jitcore.zeros(2))
    with pytest.raises(RuntimeError, match="non-complex"):
        jitcore.zeros(2).imag  # noqa: B018
    with pytest.raises(RuntimeError):
        jitcore.complex(jitcore.zeros(2), jitcore.zeros(2).double())


def step(function):
    """The result and the gradients of a real loss of it."""

    def run(*given):
        leaves = [x.detach().requires_grad_() for x in given]
        result = function(jitcore, *leaves)
        size = result.real if result.is_complex() else result
        loss = size.sum() + (result * (2 - 1j)).abs().sum()
        return result.detach(), jitcore.autograd.grad(loss, leaves)

    return run


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_eager(name, dtype):
    function, *arrays = CASES[name]
    narrow = {"complex64": ("complex64", "float32"), "complex128": ("complex128", "float64")}[dtype]
    given = [jitcore.tensor(a.astype(narrow[0 if a.dtype.kind == "c" else 1])) for a in arrays]
    run = step(function)
    compiled = jitcore.jit(run)
    eager, recorded, native = run(*given), compiled(*given), compiled(*given)
    tolerance = {"complex64": 1e-4, "complex128": 1e-11}[dtype]  # another order of roundings, amplified by divisions
    for a, b, c in zip(leaves_of(eager), leaves_of(native), leaves_of(recorded)):
        assert a.dtype is b.dtype and a.shape == b.shape
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(c.numpy(), a.numpy())


def leaves_of(result):
    first, rest = result
    return [first, *rest]


EXPORTED = [
    "mul", "exp", "view_as_complex", "matmul", "abs", "asin", "acosh", "cumprod", "cat", "polar", "einsum", "parts",
]  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_equals_eager(name, tmp_path):
    """Native and interpreted; `asin` and `cumprod` of complex numbers have no native code and call out."""
    import jitcore_runtime

    function, *arrays = CASES[name]
    given = [jitcore.tensor(a) for a in arrays]
    names = ["x", "y"][: len(given)]
    function = {1: lambda x: CASES[name][0](jitcore, x), 2: lambda x, y: CASES[name][0](jitcore, x, y)}[len(given)]
    jitcore.export(function, tmp_path / "model.jca", dict(zip(names, given)))
    expected = function(*given).numpy()
    for native in (True, False):
        model = jitcore_runtime.load(tmp_path / "model.jca", native=native)
        assert model.is_native is native
        np.testing.assert_allclose(model(*[x.numpy() for x in given]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", [
    lambda x, y: x * y.exp() / (x + 2), lambda x, y: (x @ y.mH).abs().sum(), lambda x, y: x.real * y.angle() + x.imag,
    lambda x, y: jitcore.view_as_real(x.sgn() * y).cumsum(0),
])  # fmt: skip
def test_gradcheck_takes_complex_inputs(function):
    given = [jitcore.tensor(numbers(3, 2, seed=seed), requires_grad=True) for seed in (0, 1)]
    assert jitcore.autograd.gradcheck(function, given)
    assert jitcore.autograd.gradgradcheck(function, given)


def test_gradcheck_finds_a_missing_conjugate():
    class Wrong(jitcore.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * 2

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        jitcore.autograd.gradcheck(Wrong.apply, [jitcore.tensor(numbers(3), requires_grad=True)])


def training(lib, optimizer, compiled=False, **options):
    weight, data, target = numbers(4, 4), numbers(5, 4, seed=1), numbers(5, 4, seed=2)

    class Layer(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = lib.nn.Parameter(lib.tensor(weight))
            self.bias = lib.nn.Parameter(lib.zeros(4, dtype=lib.float64))

        def forward(self, x):
            return x @ self.weight + self.bias

    layer, x, y = Layer(), lib.tensor(data), lib.tensor(target)
    update = getattr(lib.optim, optimizer)(layer.parameters(), lr=0.1, **options)

    def step():
        update.zero_grad()
        loss = ((layer(x) - y).abs() ** 2).mean()
        loss.backward()
        update.step()
        return loss

    step = jitcore.jit(step) if compiled else step
    return [step().item() for _ in range(6)]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Rprop"])
def test_complex_parameters_train_as_in_pytorch(optimizer):
    options = {} if optimizer == "Rprop" else {"weight_decay": 0.01}
    expected = training(torch, optimizer, **options)
    for compiled in (False, True):
        np.testing.assert_allclose(training(jitcore, optimizer, compiled, **options), expected, rtol=1e-9)


PYTHON = {
    "view as real dtype": lambda lib: lib.tensor([[1j, 2]]).view(lib.float32),
    "view as complex dtype": lambda lib: lib.tensor([[1.0, 2], [3, 4]]).view(lib.complex64),
    "item": lambda lib: (lib.tensor(1 + 2j).item(), lib.tensor([[1j]]).tolist(), float(lib.tensor(2 + 0j))),
    "equality": lambda lib: (lib.tensor([1j, 2]) == 1j, lib.tensor([1j, 2]) != 2),
    "promotion": lambda lib: (lib.tensor([1, 2]) * 1j, lib.tensor([1.0], dtype=lib.float64) * lib.tensor(1j)),
    "numpy": lambda lib: (lib.tensor([np.complex128(1j)]), lib.tensor(np.array([1j], np.complex64))),
    "casts": lambda lib: (lib.tensor([1j, 0]).bool(), lib.tensor([1 + 1j]).to(lib.complex128)),
    "kinds": lambda lib: (lib.isreal(lib.tensor([1j, 2])), lib.isnan(lib.tensor([complex("nan"), 2]))),
    "infinite": lambda lib: lib.isinf(lib.tensor([complex(1, -np.inf), 1])),
    "finite": lambda lib: lib.isfinite(lib.tensor([complex(0, np.nan), 1])),
    "norms": lambda lib: tuple(lib.tensor([3j, 4, 0]).norm(p) for p in (0, 1, 2, 3, np.inf, -np.inf)),
    "fill": lambda lib: (lib.full((2,), 1j), lib.zeros(2, dtype=lib.cfloat).fill_(1 + 1j)),
    "eye": lambda lib: lib.eye(2, dtype=lib.cdouble),
    "assignment": lambda lib: lib.zeros(3, dtype=lib.cfloat).index_put((lib.tensor([0, 2]),), lib.tensor([1j, 2])),
    "angles": lambda lib: (lib.tensor([-1.0, 0, 2, np.nan]).angle(), lib.tensor([-1, 2]).angle()),
    "linear": lambda lib: tuple(lib.nn.Linear(4, 3, dtype=lib.cfloat)(lib.ones(2, 4, dtype=lib.cfloat)).shape),
}  # fmt: skip


@pytest.mark.parametrize("name", PYTHON)
def test_as_in_pytorch(name):
    assert_same(PYTHON[name](jitcore), PYTHON[name](torch), name)


MISTAKES = {
    "fill a real tensor": lambda lib: lib.zeros(2).fill_(1j),
    "assign to a real element": lambda lib: lib.zeros(2).__setitem__(0, 1j),
    "float": lambda lib: float(lib.tensor(1j)),
    "int": lambda lib: int(lib.tensor(1j)),
    "abs_": lambda lib: lib.tensor([1j]).abs_(),
    "a real gradient": lambda lib: lib.tensor([1j], requires_grad=True).backward(lib.tensor([1.0])),
    "a number's parts": lambda lib: lib.tensor([1.0, 2, 3]).view(lib.complex64),
    "mixed product": lambda lib: lib.tensor([[1j]]) @ lib.tensor([[1.0]]),
    "rounded quotient": lambda lib: lib.div(lib.tensor([1j]), 2, rounding_mode="trunc"),
    "softmax": lambda lib: lib.softmax(lib.tensor([1j, 2]), 0),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_as_in_pytorch(name):
    for lib in (torch, jitcore):
        with pytest.raises(RuntimeError):
            MISTAKES[name](lib)
