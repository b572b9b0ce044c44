"""Custom operations: the user's function as one operation, eagerly, recorded, differentiated and mapped."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from custom_op_checks import R, c_function, close, rows

import jitcore
import jitcore_runtime
from jitcore.library import custom_op
from jitcore_runtime import register_custom_op


def test_called_as_the_function(scale):
    x = rows()
    close(scale(x), x.numpy() * 2)
    close(scale(x, factor=3), x.numpy() * 3)
    with pytest.raises(TypeError, match=r"test::scale.*missing a required argument: 'x'"):
        scale()
    with pytest.raises(TypeError, match="test::scale: an argument is a object"):
        scale(x, object())
    assert repr(scale) == "<custom operation test::scale>"


def test_compiled_calls_the_function_each_time(scale):
    compiled = jitcore.jit(lambda x: scale(x + 1, 4.0) * 2)
    x = rows()
    for _ in range(3):
        close(compiled(x), (x.numpy() + 1) * 8)
    assert len(scale.calls) == 3
    assert re.search(r"Run by NumPy from within the compiled program: test::scale at .*test_calls", compiled.explain())


def test_interpreted_equals_compiled(scale):
    x = rows()
    interpreted = jitcore.jit(lambda x: scale(x, 4.0).sum(0), native=False)
    for _ in range(2):
        close(interpreted(x), (x.numpy() * 4).sum(0))


def test_a_function_annotated_with_tensors_gets_tensors():
    @custom_op("test::sine", mutates_args=())
    def sine(x: jitcore.Tensor) -> jitcore.Tensor:
        assert isinstance(x, jitcore.Tensor) and not jitcore.is_grad_enabled()
        return jitcore.from_numpy(np.sin(x.numpy()))

    x = rows().requires_grad_()
    compiled = jitcore.jit(sine)
    for _ in range(2):
        close(compiled(x), np.sin(x.detach().numpy()))


def test_several_results_of_several_dtypes_also_compiled():
    @custom_op("test::split")
    def split(x: np.ndarray, at: int):
        return x[:, :at].copy(), x.sum(1), np.argmax(x, 1), x > 0

    def f(x):
        left, total, best, positive = split(x * 2, 3)
        return left + 1, total, best * 2, positive

    compiled = jitcore.jit(f)
    x = rows(5, 6)
    for _ in range(2):
        for ours, theirs in zip(compiled(x), f(x)):
            assert ours.dtype is theirs.dtype
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_lists_of_tensors_strings_and_none_are_arguments():
    @custom_op("test::join")
    def join(parts, mode: str, extra, dtype):
        total = sum(parts) if mode == "sum" else np.concatenate(parts)
        return total.astype(dtype.numpy) if extra is None else total + extra

    x, y = rows(), rows()
    compiled = jitcore.jit(lambda x, y: (join([x, y], "sum", None, jitcore.float64), join([x, y], "cat", x[0], None)))
    for _ in range(2):
        one, two = compiled(x, y)
        assert one.dtype is jitcore.float64
        close(one, x.numpy() + y.numpy())
        close(two, np.concatenate([x.numpy(), y.numpy()]) + x.numpy()[0])


def with_torch(name):
    """The same operation in PyTorch, by its own custom_op; gradients by setup_context and backward."""

    def build(library, tensor, exp):
        @library.custom_op(name, mutates_args=())
        def cube(x: tensor, y: tensor, k: float) -> tensor:
            return (x * x * x + y) * k

        def setup_context(ctx, inputs, output):
            x, _, ctx.k = inputs
            ctx.save_for_backward(x)

        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x * ctx.k, g * ctx.k, None

        cube.register_autograd(backward, setup_context=setup_context)
        return cube

    return build(jitcore.library, jitcore.Tensor, jitcore.exp), build(torch.library, torch.Tensor, torch.exp)


def test_gradients_and_second_gradients_equal_torchs():
    ours, theirs = with_torch("test::cube")
    a, b = rows().numpy(), rows().numpy()
    found = []
    for lib, op in ((jitcore, ours), (torch, theirs)):
        x, y = (lib.tensor(v, requires_grad=True) for v in (a, b))
        gradients = lib.autograd.grad(op(x.exp(), y, 0.5).sum(), (x, y), create_graph=True)
        (second,) = lib.autograd.grad((gradients[0] ** 2).sum(), x)
        found.append([*(g.detach().numpy() for g in gradients), second.numpy()])
    for one, two in zip(*found):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_gradients_inside_and_outside_of_jit_equal_eagers():
    cube, _ = with_torch("test::cube2")
    a, b = rows(), rows()

    def step(x, y):
        x = x.detach().requires_grad_()
        cube(x, y, 2.0).sum().backward()
        return x.grad

    compiled, function = jitcore.jit(step), jitcore.jit(lambda x, y: cube(x * 2, y, 2.0))
    for _ in range(3):
        close(compiled(a, b), 6 * a.numpy() ** 2)
        x = a.clone().requires_grad_()
        function(x, b).sum().backward()
        close(x.grad, 2 * 6 * (2 * a.numpy()) ** 2)


def test_gradcheck_with_vjp(scale):
    x = jitcore.tensor(R.normal(size=(2, 3)), requires_grad=True)
    assert jitcore.autograd.gradcheck(lambda x: scale(x, 3.0), (x,))
    assert jitcore.autograd.gradgradcheck(lambda x: scale(x * x, 3.0), (x,))


def test_an_operation_without_derivative_says_so():
    op = custom_op("test::plain", lambda x: x + 1)
    x = rows().requires_grad_()
    with pytest.raises(
        RuntimeError, match="Trying to backward through test::plain but no autograd formula was registered"
    ):
        op(x).sum().backward()


def test_wrong_gradients_are_named(scale):
    scale.register_vjp(lambda g, result, x, factor: (g, None, None))
    with pytest.raises(RuntimeError, match="backward of test::scale returned 3 gradients, expected 2"):
        scale(rows().requires_grad_()).sum().backward()
    scale.register_vjp(lambda g, result, x, factor: (g, g))
    with pytest.raises(RuntimeError, match=r"a gradient for 2\.0, which is no tensor"):
        scale(rows().requires_grad_()).sum().backward()


def test_vmap_runs_examples_one_by_one_or_the_users_rule(scale):
    x = rows(5, 4)
    close(jitcore.vmap(lambda v: scale(v, 3.0))(x), x.numpy() * 3)
    assert scale.calls == [(4,)] * 5
    plain = custom_op("test::unruled", lambda x: x.sum())
    close(jitcore.vmap(plain)(x), x.numpy().sum(1))
    y = x.clone().requires_grad_()
    jitcore.vmap(lambda v: scale(v, 3.0))(y).sum().backward()
    close(y.grad, np.full((5, 4), 3.0))
    scale.calls.clear()
    scale.register_vmap(lambda info, in_dims, x, factor: (scale(x, factor), in_dims[0]))
    close(jitcore.vmap(lambda v: scale(v, 3.0))(x), x.numpy() * 3)
    assert scale.calls == [(5, 4)]


def test_results_that_the_rule_does_not_announce(scale):
    scale.register_fake(lambda x, factor: jitcore.TensorSpec((2, 2), jitcore.float64))
    with pytest.raises(
        RuntimeError, match=r"test::scale gave f32\[3,4\], but its shape rule says f64\[2,2\]; called at .*test_calls"
    ):
        jitcore.jit(lambda x: scale(x))(rows())
    scale.register_fake(lambda x, factor: x.shape)
    with pytest.raises(TypeError, match="shape rule of test::scale gave a"):
        jitcore.jit(lambda x: scale(x))(rows())


@pytest.mark.parametrize("made", [None, "text", (), np.array(["a"])], ids=str)
def test_results_that_are_no_arrays(made):
    op = custom_op("test::nothing", lambda x: made)
    with pytest.raises(RuntimeError, match="test::nothing gave"):
        op(rows())


class _OwnKeyError(KeyError):
    pass


class _OwnIndexError(IndexError):
    def __init__(self, number, *, why):
        super().__init__(f"{number} {why}")


@pytest.mark.parametrize("native", [False, True], ids=["interpreted", "native"])
@pytest.mark.parametrize(
    "error", [_OwnKeyError("of its own"), IndexError("of its own"), _OwnIndexError(3, why="of its own")]
)
def test_errors_of_the_function_are_its_own_also_compiled(error, native):
    fail = []

    @custom_op("test::fails")
    def fails(x):
        if fail:
            raise error
        return x + 1

    compiled = jitcore.jit(fails, native=native)
    x = rows()
    compiled(x), compiled(x)
    fail.append(True)
    for run in (fails, compiled, jitcore.jit(lambda x: fails(x))):
        with pytest.raises(type(error), match="of its own"):
            run(x)


def test_arguments_cannot_be_changed():
    @custom_op("test::mutates")
    def mutates(x):
        x += 1
        return x

    @custom_op("test::mutates_tensors")
    def mutates_tensors(x: jitcore.Tensor) -> jitcore.Tensor:
        return x.add_(1)

    x = rows()
    before = x.clone()
    for op in (mutates, mutates_tensors):
        with pytest.raises((ValueError, RuntimeError), match="read-only"):
            op(x)
        np.testing.assert_array_equal(x.numpy(), before.numpy())
    with pytest.raises(NotImplementedError, match=r"mutates_args=\('x',\).*x.copy_\(f\(x\)\)"):
        custom_op("test::f", lambda x: x, mutates_args=("x",))


def test_a_result_never_shares_memory_with_an_argument():
    same = custom_op("test::same", lambda x: (x, x[:1]))
    x = rows()
    for _ in range(2):
        whole, first = same(x)
        whole.add_(1), first.add_(5)
        assert not np.shares_memory(whole.numpy(), x.numpy())
        close(first, x.numpy()[:1] + 5)


@pytest.mark.parametrize("name", ["f", "a::b::c", "a::", "a b::c", "", 3, "a::b\n"])
def test_names_are_checked(name):
    with pytest.raises(ValueError, match="is not namespace::name"):
        custom_op(name, lambda x: x)


def test_rules_by_name():
    custom_op("test::named", lambda x: x * 2)
    jitcore.library.register_fake("test::named")(lambda x: jitcore.empty_like(x))
    jitcore.library.register_autograd("test::named", lambda ctx, g: g * 2)
    op = jitcore.library.custom_op("test::named2", lambda x: x * 3)
    jitcore.library.register_kernel(op, "cpu")(lambda x: x * 4)
    close(op(rows() * 0 + 1), np.full((3, 4), 4.0))
    with pytest.raises(ValueError, match="'test::unknown' is no custom operation"):
        jitcore.library.register_fake("test::unknown", lambda x: x)


def test_copies_and_pickles_are_the_operation_itself(scale):
    assert copy.deepcopy([scale])[0] is scale and copy.copy(scale) is scale
    assert pickle.loads(pickle.dumps(scale)) is scale


def test_operations_are_found_by_namespace():
    op = custom_op("test_space::double", lambda x: x * 2)
    assert jitcore.ops.test_space.double is op
    close(jitcore.ops.test_space.double(rows() * 0 + 1), np.full((3, 4), 2.0))
    for missing in (lambda: jitcore.ops.test_space.half, lambda: jitcore.ops.no_such_space, lambda: jitcore.ops._x):
        with pytest.raises(AttributeError, match=r"there is no custom operation|has no attribute"):
            missing()


def test_a_new_definition_is_what_compiled_programs_call():
    custom_op("test::again", lambda x: x * 2)
    compiled = jitcore.jit(lambda x: jitcore.ops.test.again(x))
    x = rows()
    compiled(x), compiled(x)
    register_custom_op("test::again", lambda x: x * 5)
    close(compiled(x), x.numpy() * 5)


# Numbers that the recording does not know, branches and loops


@pytest.mark.parametrize("native", [True, False])
def test_a_float_of_the_call_causes_no_retrace(scale, native_scale_or_plain, native):
    def f(x, k):
        return scale(x, k * 2) + scale(x, x.sum().item())

    compiled = jitcore.jit(f, native=native)
    x = rows()
    for k in (1.0, 2.5, -3.0, 0.0):
        close(compiled(x, k), f(x, k).numpy())
    assert compiled.explain().count("replayed 3 times") == 1
    y = x.clone().requires_grad_()
    scaled = jitcore.jit(lambda y, k: scale(y, k))
    for k in (2.0, 3.0):
        y.grad = None
        scaled(y, k).sum().backward()
        close(y.grad, np.full((3, 4), k))


def test_a_symbolic_size_is_a_number_argument(tmp_path):
    @custom_op("test::times_size")
    def times_size(x, n: int):
        assert type(n) is int
        return x * x.dtype.type(n)

    times_size.register_fake(lambda x, n: jitcore.empty_like(x))

    def body(array, integers, reals):
        array(1)[...] = array(0) * integers[0]
        return 0

    for _ in range(2):
        jitcore.export(lambda x: times_size(x, x.shape[0] * 2), tmp_path / "m.jca", {"x": "float32[N,4]"})
        for native in (True, False):
            model = jitcore_runtime.load(tmp_path / "m.jca", native=native)
            for n in (1, 5):
                x = rows(n).numpy()
                np.testing.assert_allclose(model(x), x * 2 * n, rtol=1e-6)
        times_size.register_native(c_function(body))


@pytest.mark.parametrize("native", [True, False])
def test_inside_branches_and_loops(scale, native_scale_or_plain, native):
    def branches(x, p):
        y = jitcore.cond(p, lambda x: scale(x, 2.0) + 1, lambda x: scale(x, 3.0) - scale(x * 2, 0.5), (x,))
        return scale(y, 10.0)

    def loops(x):
        carry, ys = jitcore.scan(lambda c, t: (scale(c, 2.0), scale(c + t, 1.5)), x, jitcore.arange(4.0))
        _, z = jitcore.while_loop(lambda n, z: n < 3, lambda n, z: (n + 1, scale(z, 2.0)), (jitcore.tensor(0), x))
        return carry, ys, z

    compiled = jitcore.jit(branches, native=native)
    x = rows()
    for p in (True, False, True):
        close(compiled(x, jitcore.tensor(p)), branches(x, jitcore.tensor(p)).numpy())
    assert "replayed 2 times" in compiled.explain()
    compiled = jitcore.jit(loops, native=native)
    for _ in range(2):
        for ours, theirs in zip(compiled(x), loops(x)):
            close(ours, theirs.numpy())
    assert "replayed 1 times" in compiled.explain()


@pytest.mark.parametrize("native", [True, False])
def test_a_changing_size_is_symbolic_where_there_is_a_shape_rule(scale, native_scale_or_plain, native):
    compiled = jitcore.jit(lambda x: scale(x + 1, 3.0).sum(0), native=native)
    for n in (2, 5, 7, 1, 0, 9):
        x = rows(n)
        close(compiled(x), ((x.numpy() + 1) * 3).sum(0))
    assert "replayed 4 times" in compiled.explain()


def test_a_changing_size_is_a_number_where_there_is_none():
    op = custom_op("test::unruled3", lambda x: np.concatenate([x, x]))
    compiled = jitcore.jit(lambda x: op(x).sum(0))
    for _ in range(2):
        for n in (2, 5, 7):
            x = rows(n)
            close(compiled(x), x.numpy().sum(0) * 2)
