"""Custom operations: the user's function as one operation, eagerly, recorded, differentiated, mapped and exported."""

import copy
import ctypes
import pickle
import re
import sys
import threading
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import torch

import jitcore
import jitcore_runtime
from jitcore.library import custom_op
from jitcore_ir import ops
from jitcore_runtime import MissingCustomOp, custom, register_custom_op
from jitcore_runtime.plan import BufferKind
from jitcore_serialize.encode import encode
from jitcore_serialize.reader import read_archive
from jitcore_serialize.writer import _pack
from jitcore_tools.errors import InputError
from jitcore_tools.inspect_command import inspect_archive
from jitcore_tools.run_command import run_archive

sys.path.append(str(Path(__file__).parents[1] / "serialize"))
from archive_cases import with_metadata

R = np.random.default_rng(0)


def rows(n=3, m=4):
    return jitcore.tensor(R.normal(size=(n, m)).astype(np.float32))


def forget(*names):
    """As in a process that has not imported the module which defines them."""
    for name in names:
        custom._ops.pop(name, None)
        for key, cell in custom._cells.items():
            if key[0] == name:
                cell.value = None


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), np.asarray(theirs), rtol=1e-5, atol=1e-6)


@pytest.fixture
def scale():
    """x * factor in NumPy, with every rule."""
    calls = []

    @custom_op("test::scale")
    def scale(x, factor: float = 2.0):
        assert type(x) is np.ndarray and type(factor) is float
        calls.append(x.shape)
        return x * x.dtype.type(factor)

    @scale.register_fake
    def _(x, factor):
        return jitcore.TensorSpec(x.shape, x.dtype)

    @scale.register_vjp
    def _(g, result, x, factor):
        return g * factor, None

    scale.calls = calls
    return scale


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
    assert re.search(
        r"Run by NumPy from within the compiled program: test::scale at .*test_custom_ops", compiled.explain()
    )


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
        RuntimeError, match=r"test::scale gave f32\[3,4\], but its shape rule says f64\[2,2\]; called at .*test_custom"
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


def test_errors_of_the_function_are_its_own_also_compiled():
    class OwnError(KeyError):
        pass

    fail = []

    @custom_op("test::fails")
    def fails(x):
        if fail:
            raise OwnError("of its own")
        return x + 1

    compiled = jitcore.jit(fails)
    x = rows()
    compiled(x), compiled(x)
    fail.append(True)
    for run in (fails, compiled, jitcore.jit(lambda x: fails(x))):
        with pytest.raises(OwnError, match="of its own"):
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


# Native functions

PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 7)


def c_function(body, counts_calls=True):
    """A C function pointer with the ABI of native functions, which calls Python: it tells how often it was called."""

    @PROTOTYPE
    def native(counts, data, dtypes, ranks, shapes, integers, reals):
        counts, codes = (ctypes.cast(p, ctypes.POINTER(ctypes.c_int64)) for p in (counts, dtypes))
        assert (counts[0], codes[0]) == (1, 8), "one float32 operand"
        pointers = ctypes.cast(data, ctypes.POINTER(ctypes.c_void_p))
        sizes = ctypes.cast(shapes, ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)))
        axes = ctypes.cast(ranks, ctypes.POINTER(ctypes.c_int64))
        native.calls += counts_calls

        def array(k, dtype=np.float32):
            shape = [sizes[k][a] for a in range(axes[k])]
            memory = (ctypes.c_char * (int(np.prod(shape)) * np.dtype(dtype).itemsize)).from_address(pointers[k])
            return np.ndarray(shape, dtype, memory)

        return body(
            array,
            ctypes.cast(integers, ctypes.POINTER(ctypes.c_int64)),
            ctypes.cast(reals, ctypes.POINTER(ctypes.c_double)),
        )

    native.calls = 0
    return native


@pytest.fixture
def native_scale(scale):
    def body(array, integers, reals):
        x, y = array(0), array(1)
        if x.size and x.flat[0] == 666:
            return 13
        y[...] = x * np.float32(reals[0])
        return 0

    scale.native = c_function(body)
    scale.register_native(scale.native)
    return scale


def test_a_c_function_is_called_eagerly_compiled_and_interpreted(native_scale):
    x = rows()
    close(native_scale(x), x.numpy() * 2)
    assert native_scale.native.calls == 1
    for native in (True, False):
        compiled = jitcore.jit(lambda x: native_scale(x + 1, 4.0) * 2, native=native)
        for _ in range(3):
            close(compiled(x), (x.numpy() + 1) * 8)
        if native:
            assert "Called natively from within the compiled program: test::scale at" in compiled.explain()
    assert native_scale.native.calls == 7
    assert not native_scale.calls, "the Python function is not run"


def test_a_c_function_that_fails(native_scale):
    x = rows()
    compiled = jitcore.jit(lambda x: native_scale(x).sum())
    compiled(x), compiled(x)
    x[0, 0] = 666
    for run in (native_scale, compiled):
        with pytest.raises(RuntimeError, match="the native function of test::scale returned 13"):
            run(x)


@pytest.mark.parametrize("native", [0, -1, "x", True, 2.5, lambda: 1])
def test_what_is_no_native_function(scale, native):
    with pytest.raises(TypeError, match="test::scale: native is no address"):
        scale.register_native(native)


def test_several_results_and_integers_in_c():
    def body(array, integers, reals):
        x = array(0)
        array(1)[...] = x * integers[0] + integers[1] + reals[0]
        array(2)[...] = x.sum(1)
        return 0

    op = custom_op("test::two", lambda x, k, flag, r: None)
    op.register_fake(lambda x, k, flag, r: (jitcore.empty_like(x), x.new_empty(x.shape[:1])))
    native = op.register_native(c_function(body))
    compiled = jitcore.jit(lambda x: op(x.t(), 3, True, 0.5))
    x = rows()
    for _ in range(3):
        one, two = compiled(x)
        close(one, x.numpy().T * 3 + 1.5)
        close(two, x.numpy().sum(0))
    assert native.calls == 3


def test_numba_functions_are_called_natively():
    numba = pytest.importorskip("numba")

    @custom_op("test::numba")
    @numba.njit
    def weighted(x, y, k: float, n: int):
        if n == 99:
            raise ValueError("no")
        return x[:n] * np.float32(k) + y[:n]

    weighted.register_fake(lambda x, y, k, n: jitcore.TensorSpec((min(n, x.shape[0]), *x.shape[1:]), x.dtype))
    x, y = rows(), rows()
    compiled = jitcore.jit(lambda x, y: weighted(x, y, 3, 2))
    expected = (x.numpy() * 3 + y.numpy())[:2]
    for _ in range(2):
        close(compiled(x, y), expected)
    close(weighted(x, y, 3.0, 2), expected)
    assert "Called natively from within the compiled program: test::numba" in compiled.explain()
    with pytest.raises(RuntimeError, match="native function of test::numba returned 1"):
        weighted(x, y, 3.0, 99)
    with pytest.raises(TypeError, match=r"n is 2\.5, but its annotation says int"):
        weighted(x, y, 3.0, 2.5)


def test_numba_cfunc_is_a_native_function(scale):
    numba = pytest.importorskip("numba")
    from numba import carray, types

    int64s = types.CPointer(types.int64)
    signature = types.int64(
        int64s, types.CPointer(types.voidptr), int64s, int64s, types.CPointer(int64s), int64s,
        types.CPointer(types.double),
    )  # fmt: skip

    @numba.cfunc(signature)
    def native(counts, data, dtypes, ranks, shapes, integers, reals):
        shape = (shapes[0][0], shapes[0][1])
        x, y = carray(data[0], shape, np.float32), carray(data[1], shape, np.float32)
        for i in range(shape[0]):
            for j in range(shape[1]):
                y[i, j] = x[i, j] * np.float32(reals[0])
        return 0

    scale.register_native(native)
    compiled = jitcore.jit(lambda x: scale(x, 3.0))
    x = rows()
    for _ in range(2):
        close(compiled(x), x.numpy() * 3)
    assert not scale.calls


def test_threads_call_natively_at_once(native_scale):
    compiled = jitcore.jit(lambda x: native_scale(x, 3.0) + 1)
    compiled(rows())
    wrong = []

    def work():
        for _ in range(50):
            x = rows()
            if not np.allclose(compiled(x).numpy(), x.numpy() * 3 + 1):
                wrong.append(x)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


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


@pytest.fixture(params=["python", "c"])
def native_scale_or_plain(request, scale):
    if request.param == "c":
        scale.register_native(c_function(scaling, counts_calls=False))


def scaling(array, integers, reals):
    array(1)[...] = array(0) * np.float32(reals[0])
    return 0


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


# Archives


def export(op, path, **options):
    jitcore.export(lambda x: op(x * 2, 3.0).sum(1), path, {"x": "float32[N,4]"}, **options)


def test_an_archive_needs_the_operation_and_refuses_without_it(scale, tmp_path):
    path = tmp_path / "m.jca"
    export(scale, path, targets=["x86-64-v2"])
    text = inspect_archive(path, True)
    assert "needs the custom operations test::scale (version 1)" in text and "runs test::scale with NumPy" in text
    assert "custom_call(%" in text and 'name = "test::scale"' in text
    forget("test::scale")
    for native in (True, False):
        with pytest.raises(
            jitcore_runtime.ArchiveError,
            match=r"m\.jca: the custom operation 'test::scale' \(version 1\) is not registered in this process; .*"
            r"call jitcore_runtime\.register_custom_op\('test::scale', function\) first, then load again",
        ):
            jitcore_runtime.load(path, native=native)
    register_custom_op("test::scale", lambda x, k: x, version=2)
    with pytest.raises(jitcore_runtime.ArchiveError, match=r"version 1 .*'test::scale' is needed, but version 2"):
        jitcore_runtime.load(path)


def test_an_archive_that_gives_other_arguments_is_refused(scale, tmp_path):
    export(scale, tmp_path / "m.jca", targets=[])
    register_custom_op("test::scale", lambda x: x)
    with pytest.raises(jitcore_runtime.ArchiveError, match=r"calls 'test::scale' \(version 1\) with 2 arguments"):
        jitcore_runtime.load(tmp_path / "m.jca")
    register_custom_op("test::scale", np.multiply)
    assert jitcore_runtime.load(tmp_path / "m.jca")(np.ones((2, 4), np.float32)).tolist() == [24, 24]


@pytest.mark.parametrize("native", [True, False])
def test_an_archive_runs_what_is_registered_at_every_size(scale, tmp_path, native):
    path = tmp_path / "m.jca"
    export(scale, path)
    forget("test::scale")
    register_custom_op("test::scale", lambda x, factor: x * np.float32(factor))
    model = jitcore_runtime.load(path, native=native)
    for n in (1, 0, 7):
        x = rows(n).numpy()
        np.testing.assert_allclose(model(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)


def test_an_archive_calls_the_native_function_that_is_registered(native_scale, tmp_path):
    path = tmp_path / "m.jca"
    export(native_scale, path)
    forget("test::scale")
    register_custom_op("test::scale", native=native_scale.native)
    for native in (True, False):
        before = native_scale.native.calls
        x = rows(7).numpy()
        np.testing.assert_allclose(jitcore_runtime.load(path, native=native)(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)
        assert native_scale.native.calls == before + 1


def test_an_operation_that_goes_away_is_missed_by_name(scale, tmp_path):
    path = tmp_path / "m.jca"
    export(scale, path)
    models = [jitcore_runtime.load(path, native=native) for native in (True, False)]
    forget("test::scale")
    for model in models:
        with pytest.raises(RuntimeError, match=r"custom operation 'test::scale'.*is not registered"):
            model(rows().numpy())
    with pytest.raises(MissingCustomOp, match="import the module that defines it"):
        scale(rows())


def test_a_symbolic_size_needs_a_shape_rule(tmp_path):
    op = custom_op("test::unruled2", lambda x, k: x)
    with pytest.raises(
        jitcore.ExportError, match=r"test::unruled2 has no shape rule.*\[N, 4\].*test_custom_ops.*register_fake"
    ):
        export(op, tmp_path / "m.jca")
    jitcore.export(lambda x: op(x, 1.0), tmp_path / "m.jca", {"x": "float32[3,4]"})  # a known size needs none


def test_a_rule_that_takes_a_size_for_a_number_is_refused_with_its_line(scale, tmp_path):
    scale.register_fake(lambda x, factor: jitcore.TensorSpec((int(x.shape[0]), 4), x.dtype))
    with pytest.raises(jitcore.ExportError, match=r"N was used as the number 7 at .*test_custom_ops\.py"):
        export(scale, tmp_path / "m.jca")


def test_export_does_not_depend_on_what_the_function_says_to_made_up_numbers(scale, tmp_path):
    @custom_op("test::picky")
    def picky(x, k: float):
        if not x.any():
            raise ValueError("zeros")
        return x * np.float32(k)

    picky.register_fake(lambda x, k: jitcore.empty_like(x))
    export(picky, tmp_path / "m.jca")
    x = rows().numpy()
    np.testing.assert_allclose(jitcore_runtime.load(tmp_path / "m.jca")(x), (x * 6).sum(1), rtol=1e-5, atol=1e-5)


def attribute(name):
    """The place of an attribute of `custom_call` in a file."""
    return list(ops.CUSTOM_CALL.attributes).index(name)


@pytest.mark.parametrize(
    "name, field, value, words",
    [
        ("name", "text", "no name", "is not the name of an operation"),
        ("name", "text", "", "is not the name of an operation"),
        ("arguments", "text", "[]", r"takes the operands \[\], but 1"),
        ("arguments", "text", '[{"tensor":0},{"tensor":0}]', "takes the operands"),
        ("arguments", "text", "{", "not JSON"),
        ("dtypes", "text", "float32,float32", "do not fit"),
        ("dtypes", "text", "float99", "unknown dtype"),
        ("ranks", "values", [1], "do not fit"),
        ("ranks", "values", [-2], "do not fit"),
        ("dims", "values", [0], "do not fit"),
        ("dtype", "values", [5], "no result of test::scale is int64"),
    ],
)
def test_hostile_calls_are_refused(scale, tmp_path, name, field, value, words):
    data = changed_archive(scale, tmp_path, lambda call, plan: setattr(call.attributes[attribute(name)], field, value))
    with pytest.raises(jitcore_runtime.ArchiveError, match=words):
        jitcore_runtime.load(data)


@pytest.mark.parametrize(
    "field, value, words",
    [("index", 1, "function 1 of 1"), ("dtype", 8, "for the function of operation"), ("shape", [1], "f")],
)
def test_hostile_functions_are_refused(scale, tmp_path, field, value, words):
    def change(call, plan):
        (buffer,) = (b for b in plan.buffers if b.kind == BufferKind.FUNCTION)
        setattr(buffer, field, value)

    with pytest.raises(jitcore_runtime.ArchiveError, match=words):
        jitcore_runtime.load(changed_archive(scale, tmp_path, change), native=True)


def changed_archive(op, folder, change):
    """The bytes of an archive that calls `op`, changed and packed again."""
    path = folder / "m.jca"
    export(op, path, targets=["x86-64-v2"])
    archive = read_archive(path, code=True)
    encoded = encode(archive)
    _pack(encoded)
    (entry,) = encoded.metadata.entries
    number = [o.name for o in encoded.metadata.operators].index("custom_call")
    (call,) = (o for o in entry.block.operations if o.operator == number)
    change(call, entry.code[0].plan)
    builder = flatbuffers.Builder(1024)
    builder.Finish(encoded.metadata.Pack(builder))
    return with_metadata(path.read_bytes(), bytes(builder.Output()))


def test_the_command_runs_a_file_that_registers_operations_first(scale, tmp_path):
    export(scale, tmp_path / "m.jca", targets=[])
    forget("test::scale")
    (tmp_path / "ops.py").write_text(
        "import jitcore_runtime\njitcore_runtime.register_custom_op('test::scale', lambda x, k: x * x.dtype.type(k))\n"
    )
    x = rows().numpy()
    np.save(tmp_path / "x.npy", x)
    arguments = (tmp_path / "m.jca", (f"x={tmp_path / 'x.npy'}",), tmp_path / "y.npz", None, False)
    with pytest.raises(InputError, match="'test::scale'"):
        run_archive(*arguments)
    with pytest.raises(InputError, match=r"--import .*nothing\.py"):
        run_archive(*arguments, [str(tmp_path / "nothing.py")])
    run_archive(*arguments, [str(tmp_path / "ops.py")])
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["output0"], (x * 6).sum(1), rtol=1e-5, atol=1e-5)


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
