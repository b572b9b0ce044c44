"""`jitcore.linalg` and its older names against PyTorch: values, gradients and their gradients, refusals, compiled."""

import numpy as np
import pytest
import torch
from torch_compare import assert_same, check

import jitcore
import jitcore_runtime


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def complexes(*shape, seed=0):
    return numbers(*shape, seed=seed) + 1j * numbers(*shape, seed=seed + 100)


def positive(lib, x):
    """Hermitian and positive definite."""
    return x @ x.mH + lib.eye(x.shape[-1], dtype=x.dtype)


def hermitian(x):
    return x + x.mH


def well(lib, x):
    """Far from singular."""
    return x + 4 * lib.eye(x.shape[-1], dtype=x.dtype)


def parts(packed):
    """Vectors are determined up to a factor of size 1: their sizes are."""
    return tuple(t.abs() if t.ndim > 1 else t for t in packed)


CASES = {
    "det": (lambda lib, x: lib.linalg.det(x), numbers(2, 3, 3)),
    "slogdet": (lambda lib, x: tuple(lib.linalg.slogdet(x)), numbers(2, 3, 3)),
    "logdet": (lambda lib, x: lib.logdet(positive(lib, x)), numbers(3, 3)),
    "inv": (lambda lib, x: lib.linalg.inv(well(lib, x)), numbers(2, 3, 3)),
    "solve": (lambda lib, x, b: lib.linalg.solve(well(lib, x), b), numbers(2, 3, 3), numbers(2, 3, 4, seed=1)),
    "solve broadcast": (lambda lib, x, b: lib.linalg.solve(well(lib, x), b), numbers(3, 3), numbers(2, 3, 4, seed=1)),
    "solve vector": (lambda lib, x, b: lib.linalg.solve(well(lib, x), b), numbers(2, 3, 3), numbers(2, 3, seed=1)),
    "solve right": (
        lambda lib, x, b: lib.linalg.solve(well(lib, x), b, left=False), numbers(3, 3), numbers(2, 4, 3, seed=1)
    ),
    "solve_triangular": (
        lambda lib, x, b: lib.linalg.solve_triangular(well(lib, x), b, upper=True), numbers(40, 40), numbers(40, 2)
    ),
    "solve_triangular unit right": (
        lambda lib, x, b: lib.linalg.solve_triangular(x, b, upper=False, left=False, unitriangular=True),
        numbers(2, 3, 3), numbers(4, 3),
    ),
    "triangular_solve": (
        lambda lib, x, b: lib.triangular_solve(b, well(lib, x), transpose=True)[0], numbers(3, 3), numbers(3, 2)
    ),
    "lu_solve": (
        lambda lib, x, b: lib.linalg.lu_solve(*lib.linalg.lu_factor(x), b, adjoint=True), numbers(2, 3, 3),
        numbers(3, 2),
    ),
    "cholesky": (lambda lib, x: lib.linalg.cholesky(positive(lib, x)), numbers(2, 3, 3)),
    "cholesky upper": (lambda lib, x: lib.linalg.cholesky(positive(lib, x), upper=True), numbers(2, 3, 3)),
    "cholesky_solve": (lambda lib, x, b: lib.cholesky_solve(b, well(lib, x).tril()), numbers(3, 3), numbers(3, 2)),
    "cholesky_inverse": (lambda lib, x: lib.cholesky_inverse(well(lib, x).tril()), numbers(3, 3)),
    "lu": (lambda lib, x: tuple(lib.linalg.lu(x))[1:], numbers(2, 3, 3)),
    "lu tall": (lambda lib, x: tuple(lib.linalg.lu(x))[1:], numbers(5, 3)),
    "lu wide": (lambda lib, x: tuple(lib.linalg.lu(x))[1:], numbers(3, 5)),
    "lu permutation": (lambda lib, x: lib.linalg.lu(x)[0], numbers(4, 4)),
    "lu large": (lambda lib, x: tuple(lib.linalg.lu_factor(x)), numbers(70, 50)),
    "lu_unpack": (lambda lib, x: tuple(lib.lu_unpack(*lib.linalg.lu_factor(x))), numbers(3, 5)),
    "qr": (lambda lib, x: tuple(lib.linalg.qr(x)), numbers(2, 5, 3)),
    "qr wide": (lambda lib, x: tuple(lib.linalg.qr(x)), numbers(3, 5)),
    "svd": (lambda lib, x: parts(lib.linalg.svd(x, full_matrices=False)), numbers(2, 4, 3)),
    "svd wide": (lambda lib, x: parts(lib.svd(x)), numbers(3, 4)),
    "svdvals": (lambda lib, x: lib.linalg.svdvals(x), numbers(2, 3, 4)),
    "eigh": (lambda lib, x: parts(lib.linalg.eigh(hermitian(x))), numbers(3, 3)),
    "eigvalsh": (lambda lib, x: lib.linalg.eigvalsh(hermitian(x), UPLO="U"), numbers(2, 3, 3)),
    "eigvals": (lambda lib, x: lib.linalg.eigvals(x).abs().sum(), numbers(3, 3)),
    "eig": (lambda lib, x: lib.linalg.eig(hermitian(x))[1].abs().sum(), numbers(3, 3)),
    "pinv": (lambda lib, x: lib.linalg.pinv(x), numbers(2, 4, 3)),
    "pinv of low rank": (lambda lib, x: lib.linalg.pinv(x @ x.mT, rtol=1e-10), numbers(4, 2)),
    "pinv hermitian": (lambda lib, x: lib.linalg.pinv(hermitian(x), hermitian=True), numbers(3, 3)),
    "lstsq": (lambda lib, x, b: lib.linalg.lstsq(x, b)[0], numbers(2, 5, 3), numbers(2, 5, 2)),
    "matrix_rank": (lambda lib, x: lib.linalg.matrix_rank(x @ x.mT), numbers(4, 2)),
    "matrix_exp": (lambda lib, x: lib.linalg.matrix_exp(x * 3), numbers(2, 3, 3)),
    "matrix_power": (lambda lib, x: lib.linalg.matrix_power(well(lib, x), -3), numbers(2, 3, 3)),
    "matrix_power 0": (lambda lib, x: lib.matrix_power(x, 0), numbers(2, 2)),
    "multi_dot": (
        lambda lib, *x: lib.linalg.multi_dot(x), numbers(3), numbers(3, 4), numbers(4, 2), numbers(2, 5)
    ),
    "householder_product": (lambda lib, x, t: lib.linalg.householder_product(x, t), numbers(4, 3), numbers(2)),
    "ormqr": (lambda lib, x, t, y: lib.ormqr(x, t, y), numbers(4, 3), numbers(3), numbers(4, 2)),
    "tensorinv": (lambda lib, x: lib.linalg.tensorinv(x.reshape(2, 3, 6)), numbers(6, 6)),
    "tensorsolve": (lambda lib, x, b: lib.linalg.tensorsolve(x.reshape(2, 3, 6), b), numbers(6, 6), numbers(2, 3)),
    "cross": (lambda lib, x, y: lib.linalg.cross(x, y), numbers(4, 3), numbers(1, 3)),
    "vecdot": (lambda lib, x, y: lib.linalg.vecdot(x, y), numbers(4, 3), numbers(3)),
    "vander": (lambda lib, x: lib.linalg.vander(x), numbers(2, 3)),
    "cond": (lambda lib, x: lib.linalg.cond(x), numbers(2, 3, 4)),
    "cond 1": (lambda lib, x: lib.linalg.cond(x, 1), numbers(2, 3, 3)),
    **{
        f"vector_norm {p}": (lambda lib, x, p=p: lib.linalg.vector_norm(x, p, dim=1), numbers(3, 4))
        for p in (0, 0.5, 1, 1.5, 2, 3, -1, float("inf"), -float("inf"))
    },
    **{
        f"matrix_norm {p}": (lambda lib, x, p=p: lib.linalg.matrix_norm(x, p, dim=(0, 2)), numbers(3, 2, 4))
        for p in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))
    },
    "norm": (lambda lib, x: (lib.linalg.norm(x), lib.linalg.norm(x, dim=0), lib.linalg.norm(x, 1)), numbers(3, 4)),
    "det complex": (lambda lib, x: lib.linalg.det(x).abs(), complexes(3, 3)),
    "inv complex": (lambda lib, x: lib.view_as_real(lib.linalg.inv(x)), complexes(3, 3)),
    "svdvals complex": (lambda lib, x: lib.linalg.svdvals(x), complexes(3, 4)),
    "eigh complex": (lambda lib, x: parts(lib.linalg.eigh(hermitian(x))), complexes(3, 3)),
    "cholesky complex": (lambda lib, x: lib.view_as_real(lib.linalg.cholesky(positive(lib, x))), complexes(3, 3)),
}  # fmt: skip
# PyTorch's derivatives of these lack a part, do not exist or raise.
GRADS = {"householder_product": 1, "ormqr": 1, "vector_norm 0": 1, "cond 1": 0}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    function, *arrays = CASES[name]
    check(function, *arrays, grads=GRADS.get(name, 2))


def test_gradient_of_a_singular_matrix_is_its_cofactors():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    ours = jitcore.tensor(x, requires_grad=True)
    jitcore.linalg.det(ours).backward()
    cofactors = [[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]]
    np.testing.assert_allclose(ours.grad.numpy(), cofactors, atol=1e-12)


def test_equal_singular_values_have_a_gradient_of_their_sum():
    x = jitcore.eye(3, dtype=jitcore.float64).requires_grad_()
    jitcore.linalg.svd(x)[1].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.eye(3), atol=1e-14)


EMPTY = {
    "det": lambda lib, x: lib.linalg.det(x((0, 3, 3))),
    "det of nothing": lambda lib, x: lib.linalg.det(x((2, 0, 0))),
    "slogdet": lambda lib, x: lib.linalg.slogdet(x((2, 0, 0))),
    "svd": lambda lib, x: lib.linalg.svd(x((0, 3))),
    "svd thin": lambda lib, x: lib.linalg.svd(x((2, 0, 3)), full_matrices=False),
    "qr": lambda lib, x: lib.linalg.qr(x((3, 0)), "complete"),
    "eigh": lambda lib, x: lib.linalg.eigh(x((2, 0, 0))),
    "inv": lambda lib, x: lib.linalg.inv(x((0, 2, 2))),
    "solve": lambda lib, x: lib.linalg.solve(x((0, 0)), x((0, 2))),
    "pinv": lambda lib, x: lib.linalg.pinv(x((0, 3))),
    "rank": lambda lib, x: lib.linalg.matrix_rank(x((2, 0, 3))),
    "lu": lambda lib, x: lib.linalg.lu(x((0, 3))),
    "cond": lambda lib, x: lib.linalg.cond(x((0, 2, 2))),
    "norm": lambda lib, x: lib.linalg.matrix_norm(x((0, 3)), "nuc"),
    "exp": lambda lib, x: lib.linalg.matrix_exp(x((0, 2, 2))),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty(name):
    ours, theirs = (EMPTY[name](lib, lib.ones) for lib in (jitcore, torch))
    assert_same(
        tuple(ours) if isinstance(ours, tuple) else ours, tuple(theirs) if isinstance(theirs, tuple) else theirs
    )


ONE_BAD = np.stack([np.eye(3), np.diag([1.0, 2.0, 0.0])])
REFUSED = {
    "singular inv": lambda lib: lib.linalg.inv(lib.tensor(ONE_BAD)),
    "singular solve": lambda lib: lib.linalg.solve(lib.ones(3, 3), lib.ones(3)),
    "indefinite": lambda lib: lib.linalg.cholesky(lib.tensor(ONE_BAD)),
    "nan": lambda lib: lib.linalg.svd(lib.full((3, 3), float("nan"))),
    "not square": lambda lib: lib.linalg.inv(lib.ones(2, 3)),
    "a vector": lambda lib: lib.linalg.det(lib.ones(3)),
    "integers": lambda lib: lib.linalg.det(lib.ones(3, 3, dtype=lib.int64)),
    "two dtypes": lambda lib: lib.linalg.solve(lib.eye(3, dtype=lib.float64), lib.ones(3)),
    "sizes": lambda lib: lib.linalg.solve(lib.eye(3), lib.ones(4, 2)),
    "norm": lambda lib: lib.linalg.matrix_norm(lib.ones(3, 3), 3),
    "norm of nothing": lambda lib: lib.linalg.vector_norm(lib.ones(0), float("inf")),
    "mode": lambda lib: lib.linalg.qr(lib.eye(3), "q"),
    "driver": lambda lib: lib.linalg.svd(lib.eye(3), driver="gesvd"),
    "cross": lambda lib: lib.linalg.cross(lib.ones(2, 2), lib.ones(2, 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    with pytest.raises(RuntimeError) as theirs:
        REFUSED[name](torch)
    with pytest.raises(RuntimeError) as ours:
        REFUSED[name](jitcore)
    singular = isinstance(theirs.value, torch.linalg.LinAlgError)
    assert isinstance(ours.value, jitcore.linalg.LinAlgError) == singular
    if "Batch element" in str(theirs.value):
        assert str(ours.value) == str(theirs.value)


def test_info_says_what_failed():
    for function in ("cholesky_ex", "inv_ex", "lu_factor_ex"):
        ours, theirs = (getattr(lib.linalg, function)(lib.tensor(ONE_BAD))[-1] for lib in (jitcore, torch))
        assert_same(ours, theirs, function)


def test_ldl():
    pytest.importorskip("scipy")
    x, b = numbers(2, 5, 5), numbers(2, 5, 3, seed=1)
    x = x + x.swapaxes(-1, -2)
    ours, theirs = (
        lib.linalg.ldl_solve(*lib.linalg.ldl_factor(lib.tensor(x)), lib.tensor(b)) for lib in (jitcore, torch)
    )
    assert_same(ours, theirs)
    with pytest.raises(jitcore.linalg.LinAlgError, match="not those of a factorization"):
        jitcore.linalg.ldl_solve(jitcore.eye(2), jitcore.tensor([1, -2], dtype=jitcore.int32), jitcore.ones(2, 1))


def compiled(x, b):
    """Call-outs with real and complex results between fused kernels."""
    spd = x @ x.mT + 3 * jitcore.eye(x.shape[-1])
    factor = jitcore.linalg.cholesky(spd)
    _, s, _ = jitcore.linalg.svd(x, full_matrices=False)
    return jitcore.linalg.solve(spd, b) * 2, factor.sum(), s.relu(), jitcore.linalg.eigvals(spd).abs().sum()


def test_jit_replays_matrix_functions_and_raises_their_errors():
    program = jitcore.jit(compiled)
    for seed in range(3):
        x, b = (jitcore.tensor(numbers(4, n, seed=seed).astype(np.float32)) for n in (4, 2))
        for ours, eager in zip(program(x, b), compiled(x, b)):
            np.testing.assert_allclose(ours.numpy(), eager.numpy(), rtol=1e-4, atol=1e-5)
    assert "replayed 2 times" in program.explain()
    invert = jitcore.jit(lambda x: jitcore.linalg.inv(x) * 2)
    invert(jitcore.eye(3))
    invert(2 * jitcore.eye(3))
    with pytest.raises(jitcore.linalg.LinAlgError, match="diagonal element 1 is zero"):
        invert(jitcore.zeros(3, 3))


def test_gradients_under_jit():
    def step(x):
        x = x.detach().requires_grad_()
        (jitcore.linalg.inv(x).sum() + jitcore.linalg.slogdet(x)[1] + jitcore.linalg.qr(x)[1].sum()).backward()
        return x.grad

    program = jitcore.jit(step)
    for seed in range(3):
        x = jitcore.tensor(numbers(3, 3, seed=seed)) + 4 * jitcore.eye(3, dtype=jitcore.float64)
        np.testing.assert_allclose(program(x).numpy(), step(x).numpy(), rtol=1e-10)


def test_an_archive_solves_systems_of_any_size(tmp_path):
    path = tmp_path / "m.jca"
    jitcore.export(compiled, path, {"x": "float32[N,N]", "b": "float32[N,2]"})
    for native in (True, False):
        model = jitcore_runtime.load(path, native=native)
        for n in (1, 5, 9):
            x, b = numbers(n, n).astype(np.float32), numbers(n, 2).astype(np.float32)
            for ours, eager in zip(model(x=x, b=b), compiled(jitcore.tensor(x), jitcore.tensor(b))):
                np.testing.assert_allclose(ours, eager.numpy(), rtol=1e-3, atol=1e-4)
