"""The tape: backward, grad, accumulation, hooks, modes, custom functions, lifetimes."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch_compare import assert_same

import jitcore
from jitcore.autograd import Function, gradcheck, gradgradcheck, once_differentiable
from jitcore.autograd.rules import NOT_DIFFERENTIABLE, VJPS
from jitcore_ir import OPS, Trait

LIBRARIES = pytest.mark.parametrize("lib", [jitcore, torch], ids=["jitcore", "torch"])


def leaf(lib, *values):
    return lib.tensor(list(values), requires_grad=True)


def test_every_primitive_has_a_derivative_or_says_that_it_has_none():
    specs = {s for s in OPS.values() if not s.traits & (Trait.TERMINATOR | Trait.LOOP | Trait.IMPURE) and not s.regions}
    missing = specs - set(VJPS) - NOT_DIFFERENTIABLE
    assert not missing, sorted(s.name for s in missing)
    assert not set(VJPS) & NOT_DIFFERENTIABLE


@LIBRARIES
def test_gradients_accumulate_in_place(lib):
    x = leaf(lib, 1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert x.grad is first
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1] and first.tolist() == [5, 7]


@LIBRARIES
def test_leaves_never_share_a_gradient(lib):
    a, b = leaf(lib, 1.0), leaf(lib, 2.0)
    seed = lib.ones(1)
    (a + b).backward(seed)
    a.grad.zero_()
    assert b.grad.tolist() == [1] and seed.tolist() == [1]


@LIBRARIES
def test_a_gradient_kept_by_a_hook_is_not_taken_over(lib):
    x = leaf(lib, 1.0)
    kept = []
    x.register_hook(kept.append)
    (x * 2).backward()
    x.grad.zero_()
    assert kept[0].tolist() == [2]


@LIBRARIES
def test_backward_needs_a_gradient_for_more_than_one_element(lib):
    x = leaf(lib, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(lib.ones(3))
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        lib.ones(1).backward()


@LIBRARIES
def test_a_freed_graph_is_an_error_and_a_retained_one_is_not(lib):
    x = leaf(lib, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


@LIBRARIES
def test_grad_of_unused_inputs(lib):
    x, z = leaf(lib, 2.0), leaf(lib, 1.0)
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        lib.autograd.grad(x * 2, [x, z])
    assert lib.autograd.grad(x * 2, [x, z], allow_unused=True)[1] is None
    assert lib.autograd.grad(x * 2, [x, z], materialize_grads=True)[1].tolist() == [0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        lib.autograd.grad(x * 2, lib.ones(1))


@LIBRARIES
def test_grad_of_intermediates_touches_no_leaf(lib):
    x = leaf(lib, 2.0)
    y = x * x
    z = y * y
    gy, gx = lib.autograd.grad(z.sum(), [y, x])
    assert (gy.tolist(), gx.tolist()) == ([8], [32])
    assert x.grad is None


@LIBRARIES
def test_backward_into_chosen_inputs(lib):
    x, w = leaf(lib, 2.0), leaf(lib, 3.0)
    (x * w).sum().backward(inputs=[w])
    assert x.grad is None and w.grad.tolist() == [2]
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * w).sum().backward(inputs=[])


@LIBRARIES
def test_several_outputs_and_their_gradients(lib):
    x = leaf(lib, 1.0, 2.0)
    lib.autograd.backward([x * 2, (x * x).sum()], [lib.ones(2), None])
    assert x.grad.tolist() == [4, 6]
    (g,) = lib.autograd.grad([x * 2, x * 3], x, [lib.ones(2), lib.tensor([0.0, 1.0])])
    assert g.tolist() == [2, 5]


@LIBRARIES
def test_third_derivative(lib):
    x = lib.tensor(1.3, requires_grad=True, dtype=lib.float64)
    g = x**4
    for _ in range(3):
        (g,) = lib.autograd.grad(g, x, create_graph=True)
    assert g.item() == pytest.approx(24 * 1.3)


@LIBRARIES
def test_create_graph_puts_history_on_grad(lib):
    x = leaf(lib, 3.0)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (again,) = lib.autograd.grad(x.grad.sum(), x)
    assert again.tolist() == [18]


@LIBRARIES
def test_hooks_change_gradients_in_order_and_can_be_removed(lib):
    x = leaf(lib, 1.0)
    seen = []
    y = x * 2
    y.register_hook(lambda g: seen.append(("y", g.item())) or g * 10)
    handle = x.register_hook(lambda g: seen.append(("x", g.item())))
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [21] and seen == [("y", 1.0), ("x", 20.0)]
    handle.remove()
    y.sum().backward()
    assert len(seen) == 3
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        lib.ones(1).register_hook(print)


@LIBRARIES
def test_a_hook_sees_the_whole_gradient_once(lib):
    x = leaf(lib, 1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3 + x).sum().backward()
    assert seen == [6]


@LIBRARIES
def test_post_accumulate_hooks_run_after_grad_is_there(lib):
    x = leaf(lib, 1.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.item()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    assert seen == [2, 4]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


@LIBRARIES
def test_retain_grad(lib):
    x = leaf(lib, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        lib.ones(1).retain_grad()


@LIBRARIES
def test_grad_modes(lib):
    x = leaf(lib, 1.0)
    with lib.no_grad():
        assert not (x * 2).requires_grad and not lib.is_grad_enabled()
        with lib.enable_grad():
            assert (x * 2).requires_grad
        assert lib.ones(1, requires_grad=True).requires_grad
    with lib.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert lib.is_grad_enabled()
    lib.set_grad_enabled(False)
    assert not lib.is_grad_enabled()
    lib.set_grad_enabled(True)
    with lib.inference_mode():
        assert not (x * 2).requires_grad and lib.is_inference_mode_enabled()
    assert not lib.is_inference_mode_enabled()

    @lib.no_grad()
    def double(t):
        return t * 2

    @lib.no_grad
    def triple(t):
        return t * 3

    assert not double(x).requires_grad and not triple(x).requires_grad and double.__name__ == "double"
    with pytest.raises(ZeroDivisionError), lib.no_grad():
        1 / 0  # noqa: B018
    assert lib.is_grad_enabled()


@LIBRARIES
def test_a_generator_in_no_grad_leaves_its_consumer_alone(lib):
    @lib.no_grad()
    def numbers():
        for _ in range(2):
            yield lib.is_grad_enabled()

    for inside in numbers():
        assert not inside and lib.is_grad_enabled()


@LIBRARIES
def test_flags_of_leaves(lib):
    x = lib.ones(2)
    assert x.is_leaf and x.grad_fn is None
    y = x.requires_grad_() * 2
    assert not y.is_leaf and y.grad_fn is not None
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point"):
        lib.ones(2, dtype=lib.int64).requires_grad_()
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
        x.numpy()
    with pytest.raises(RuntimeError, match="attempting to assign a gradient of size"):
        x.grad = lib.ones(3)


@LIBRARIES
def test_integer_results_carry_no_gradient(lib):
    x = leaf(lib, 1.5, -2.0)
    assert not (x > 0).requires_grad and not x.argmax().requires_grad and not x.long().requires_grad
    assert x.to(lib.float64).requires_grad


@LIBRARIES
def test_gradients_have_the_leafs_dtype(lib):
    x = leaf(lib, 1.0)
    (x.double() * lib.ones(1, dtype=lib.float64)).sum().backward()
    assert x.grad.dtype is lib.float32


def test_depth_does_not_matter():
    x = leaf(jitcore, 1.0)
    y = x
    for _ in range(20000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1]
    del y  # a chain of 20000 nodes is freed without recursion trouble


def test_graphs_are_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf(jitcore, 1.0)
        y = x.exp().sin()
        y[0:1].mul_(2)
        alive = weakref.ref(y), weakref.ref(y.grad_fn)
        y.sum().backward()
        del y
        assert [a() for a in alive] == [None, None]
        split, exp, _, _ = functions(jitcore)
        for make in (lambda: x.exp(), lambda: split.apply(x)[0], lambda: exp.apply(x), lambda: (x * 2).sigmoid() ** 2):
            y = make()
            alive = weakref.ref(y), weakref.ref(y.grad_fn)
            del y  # with no backward, which would have freed what the nodes saved
            assert [a() for a in alive] == [None, None]
    finally:
        gc.enable()


class Scale(Function):
    @staticmethod
    def forward(ctx, x, w, factor):
        ctx.save_for_backward(x, w)
        ctx.factor = factor
        return x * w * factor

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, w.requires_grad, False)
        return g * w * ctx.factor, g * x * ctx.factor if ctx.needs_input_grad[1] else None, None


def test_custom_function():
    x, w = leaf(jitcore, 1.0, 2.0), leaf(jitcore, 3.0, 4.0)
    y = Scale.apply(x, w, 2.0)
    assert y.grad_fn.name() == "ScaleBackward"
    y.sum().backward(retain_graph=True)
    assert (x.grad.tolist(), w.grad.tolist()) == ([6, 8], [2, 4])
    (g,) = jitcore.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = jitcore.autograd.grad(g.sum(), w)
    assert second.tolist() == [2, 2]
    x.grad = None
    Scale.apply(x, jitcore.ones(2), 2.0).sum().backward()
    assert x.grad.tolist() == [2, 2]
    assert not Scale.apply(jitcore.ones(2), jitcore.ones(2), 1.0).requires_grad


def functions(lib):
    class SplitSign(lib.autograd.Function):
        """Several outputs, one without gradient, in the style with setup_context."""

        @staticmethod
        def forward(x):
            return x.clamp(min=0), x.clamp(max=0), x > 0

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_non_differentiable(output[2])
            ctx.save_for_backward(output[2])

        @staticmethod
        def backward(ctx, up, down, flags):
            (positive,) = ctx.saved_tensors
            return lib.where(positive, up, down * 2)

    class Exp(lib.autograd.Function):
        """Saves its own result."""

        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    class Double(lib.autograd.Function):
        """Writes its input."""

        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Pass(lib.autograd.Function):
        """Returns its input as it is."""

        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    return SplitSign, Exp, Double, Pass


@LIBRARIES
def test_functions_with_several_outputs(lib):
    split = functions(lib)[0]
    x = leaf(lib, 1.0, -2.0)
    up, down, flags = split.apply(x)
    assert up.requires_grad and down.requires_grad and not flags.requires_grad
    (up * 3 + down).sum().backward()
    assert x.grad.tolist() == [3, 2]
    x.grad = None
    split.apply(x)[1].sum().backward()  # the unused output's gradient is zeros
    assert x.grad.tolist() == [0, 2]


@LIBRARIES
def test_functions_that_save_results_write_or_pass_inputs(lib):
    _, exp, double, passing = functions(lib)
    x = leaf(lib, 0.5)
    y = exp.apply(x)
    (g,) = lib.autograd.grad(y, x, create_graph=True)
    (h,) = lib.autograd.grad(g, x)
    assert h.item() == pytest.approx(np.exp(0.5))
    z = x * 1
    out = double.apply(z)
    assert out is z
    (z * 1).sum().backward()
    assert x.grad.tolist() == [2]
    x.grad = None
    out = passing.apply(x)
    assert out is not x
    out.sum().backward()
    assert x.grad.tolist() == [5]


@LIBRARIES
def test_function_errors(lib):
    class Wrong(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(lib, 1.0), leaf(lib, 2.0)).backward()

    class BadShape(Wrong):
        @staticmethod
        def backward(ctx, g):
            return lib.ones(3), lib.ones(2)

    with pytest.raises(RuntimeError, match="invalid gradient at index 1"):
        BadShape.apply(leaf(lib, 1.0), lib.ones(3, requires_grad=True)).sum().backward()
    with pytest.raises(NotImplementedError):
        lib.autograd.Function.apply(leaf(lib, 1.0))


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x, direction = leaf(jitcore, 3.0), leaf(jitcore, 1.0)
    Square.apply(x).backward()
    assert x.grad.tolist() == [6]
    (g,) = jitcore.autograd.grad(Square.apply(x), x, direction, create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        jitcore.autograd.grad(g, direction)


def test_saved_tensors_of_a_function_notice_writes():
    x = leaf(jitcore, 2.0)
    z = x * 1
    y = Scale.apply(z, jitcore.ones(1), 1.0)
    w = Scale.apply(x, z, 1.0)
    z.add_(1)
    with pytest.raises(RuntimeError, match="saved as saved tensor 1 of ScaleBackward"):
        w.sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gradcheck_accepts_right_and_refuses_wrong_derivatives():
    x = jitcore.tensor([[0.3, 0.7], [1.1, -0.4]], dtype=jitcore.float64, requires_grad=True)
    assert gradcheck(lambda t: (t.exp() * t).sum(0), x)
    assert gradgradcheck(lambda t: (t * t * t).sum(), x)

    class Wrong(Function):
        @staticmethod
        def forward(ctx, t):
            return t * 3

        @staticmethod
        def backward(ctx, g):
            return g * 2

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, x)
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    with pytest.raises(ValueError, match="at least one input"):
        gradcheck(lambda t: t, x.detach())


FINITE = {
    "softmax": lambda x: x.softmax(1),
    "norm": lambda x: x.norm(dim=1),
    "prod": lambda x: x.prod(1),
    "cumprod": lambda x: x.cumprod(0),
    "gather": lambda x: x.gather(1, jitcore.tensor([[0, 0], [2, 1]])),
    "var": lambda x: x.var(1),
    "conv": lambda x: jitcore.nn.functional.conv1d(x.unsqueeze(1), x[:, :2].unsqueeze(1)),
    "matmul": lambda x: x @ x.T,
    "setitem": lambda x: (lambda y: [y.__setitem__((0, slice(1, 3)), x[1, :2] * 2), y][1])(x * x),
}


@pytest.mark.parametrize("name", FINITE)
def test_derivatives_match_finite_differences(name):
    x = jitcore.tensor(np.random.default_rng(2).uniform(0.4, 1.6, (2, 3)), requires_grad=True)
    assert gradcheck(FINITE[name], x)
    assert gradgradcheck(FINITE[name], x)


def test_power_at_zero():
    values, exponents = [0.0, 0.0, 0.0, 2.0], [0.0, 2.0, 1.0, 0.0]
    grads = []
    for lib in (jitcore, torch):
        x, y = leaf(lib, *values), leaf(lib, *exponents)
        (x**y).sum().backward()
        grads.append((x.grad, y.grad))
    assert_same(*grads)


def test_python_numbers_used_twice_are_not_confused():
    x = jitcore.tensor([1.0])
    assert np.signbit((x * 0.0 * -1.0).numpy())[0] and not np.signbit((x * 0.0).numpy())[0]
    assert (x * True).dtype is jitcore.float32 and (jitcore.tensor([2]) * True).dtype is jitcore.int64
    assert (jitcore.tensor([True]) * 1).dtype is jitcore.int64


def test_threads_have_modes_of_their_own_and_compute_alike():
    from concurrent.futures import ThreadPoolExecutor

    def work(seed):
        g = jitcore.Generator().manual_seed(seed)
        w = jitcore.randn(8, 8, generator=g).requires_grad_()
        total = 0.0
        for _ in range(20):
            x = jitcore.randn(4, 8, generator=g)
            with jitcore.no_grad():
                assert not (x @ w).requires_grad
            loss = ((x @ w).relu() * 0.5).softmax(-1)[:, 0].sum()
            loss.backward()
            with jitcore.no_grad():
                w -= 0.1 * w.grad
            w.grad = None
            total += loss.item()
        assert jitcore.is_grad_enabled()
        return total

    alone = [work(seed) for seed in range(4)]
    with jitcore.no_grad(), ThreadPoolExecutor(4) as pool:  # new threads start with grad mode on
        together = list(pool.map(work, range(4)))
    assert together == alone
