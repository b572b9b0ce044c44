"""Generated matrix products against float64 NumPy: shapes, layouts, dtypes, targets, and what they may touch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_products import assert_close, run

from jitcore.compiler.cpu.blocking import MACHINES
from jitcore.compiler.cpu.gemm import packed_size, workspace_size
from jitcore.compiler.cpu.gemm_spec import GemmSpec
from jitcore.compiler.cpu.target import host_target
from jitcore_ir import BufferType, DTypeError, dtypes, shapes
from jitcore_ir.dtypes import DType

HOST = host_target()
LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
RUNNABLE = LEVELS[: LEVELS.index(HOST) + 1] if HOST in LEVELS else [HOST]


def product(
    m: int, n: int, k: int, *, batch: tuple[int, ...] = (), dtype: DType = dtypes.float32, x_order: str = "mk",
    y_order: str = "kn", prepacked: bool = False, symbolic: str = "", plain: bool = True, reverse: bool = False,
    target: str = HOST, cpu: str = "",
) -> None:  # fmt: skip
    """Compute one product, with operands in memory in the given order of axes ("b" stands for the batch), and compare.

    The dims named in `symbolic` are known at run time only.
    """
    sizes = {"m": m, "n": n, "k": k}
    dims = {name: shapes.symbol(name.upper()) if name in symbolic else size for name, size in sizes.items()}
    rng = np.random.default_rng(0)

    def operand(order: str, logical: str) -> tuple[np.ndarray, BufferType, tuple[int, ...]]:
        order = order if "b" in order else "b" + order
        axes: list[str] = []  # names of the buffer's axes, the batch's as numbers
        for name in order:
            axes += [str(i) for i in range(len(batch))] if name == "b" else [name]
        shape = tuple(batch[int(a)] if a.isdigit() else sizes[a] for a in axes)
        type = BufferType(dtype, tuple(batch[int(a)] if a.isdigit() else dims[a] for a in axes))
        wanted = [*(str(i) for i in range(len(batch))), *logical]
        return _random(rng, shape, dtype), type, tuple(axes.index(a) for a in wanted)

    x, x_type, x_permutation = operand(x_order, "mk")
    y, y_type, y_permutation = operand(y_order, "kn")
    spec = GemmSpec.of(x_type, y_type, x_permutation, y_permutation, prepacked, target)
    symbols = {name.upper(): size for name, size in sizes.items()}
    found = run(spec, x, y, (*batch, m, n), symbols, plain, reverse, cpu)
    left, right = x.transpose(x_permutation), y.transpose(y_permutation)
    _compare(found, left, right, dtype, k)


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    if dtype.is_floating_point:
        return rng.standard_normal(shape).astype(np.float32).astype(dtype.numpy)
    return rng.integers(0, 2 if dtype is dtypes.bool_ else 100, shape).astype(dtype.numpy)


def _compare(found: np.ndarray, x: np.ndarray, y: np.ndarray, dtype: DType, k: int) -> None:
    if not dtype.is_floating_point:
        exact = np.matmul(x.astype(np.int64), y.astype(np.int64))
        expected = exact > 0 if dtype is dtypes.bool_ else exact.astype(dtype.numpy)
        np.testing.assert_array_equal(found, expected)
        return
    wide = np.longdouble if dtype is dtypes.float64 else np.float64
    x, y = x.astype(wide), y.astype(wide)
    unit = 2.0**-53 if dtype is dtypes.float64 else 2.0**-24
    assert_close(found, np.matmul(x, y).astype(np.float64), np.matmul(abs(x), abs(y)).astype(np.float64), k, unit)


SHAPES = [
    (1, 1, 1), (6, 16, 8), (5, 17, 3), (7, 33, 20), (64, 64, 64), (13, 10, 128), (100, 50, 33), (130, 270, 400),
    (1, 130, 50), (1, 300, 300), (3, 70, 50), (50, 1, 70), (40, 300, 500), (8, 520, 50),
]  # fmt: skip


@pytest.mark.parametrize("m, n, k", SHAPES)
def test_static_products(m: int, n: int, k: int) -> None:
    for x_order, y_order in (("mk", "kn"), ("km", "nk")):
        product(m, n, k, x_order=x_order, y_order=y_order)


@pytest.mark.parametrize("m, n, k", SHAPES)
def test_prepacked_products(m: int, n: int, k: int) -> None:
    product(m, n, k, x_order="km", prepacked=True, plain=False)


@pytest.mark.parametrize("symbolic", ["m", "mnk"])
@pytest.mark.parametrize("m, n, k", [(1, 40, 30), (9, 100, 65), (60, 300, 400)])
def test_products_of_sizes_known_at_run_time(m: int, n: int, k: int, symbolic: str) -> None:
    product(m, n, k, symbolic=symbolic)
    product(m, n, k, symbolic=symbolic, x_order="km", y_order="nk", plain=False)
    product(m, n, k, symbolic=symbolic, prepacked=True)


@pytest.mark.parametrize("m, n, k", [(0, 4, 4), (4, 0, 4), (4, 4, 0), (0, 0, 0), (1, 40, 0), (40, 1, 0)])
def test_empty_products(m: int, n: int, k: int) -> None:
    product(m, n, k, prepacked=True)
    product(m, n, k, y_order="nk", plain=False)
    product(m, n, k, symbolic="mnk")


def test_batches_in_any_order_of_axes() -> None:
    for x_order, y_order, plain in [("bmk", "bkn", True), ("mbk", "nbk", False), ("kmb", "knb", True)]:
        product(9, 33, 20, batch=(3, 2), x_order=x_order, y_order=y_order, plain=plain)
        product(9, 33, 20, batch=(3, 2), x_order=x_order, y_order=y_order, symbolic="m", prepacked=True)
    product(1, 40, 30, batch=(5,), y_order="bnk")
    product(4, 4, 4, batch=(0,))


@pytest.mark.parametrize("dtype", [*dtypes.FLOATING, *dtypes.INTEGER, dtypes.bool_], ids=str)
def test_every_dtype(dtype: DType) -> None:
    product(50, 300, 200, dtype=dtype)
    product(3, 40, 30, dtype=dtype, y_order="nk")
    product(7, 21, 40, dtype=dtype, symbolic="m", prepacked=True, plain=False)
    product(30, 21, 40, dtype=dtype, symbolic="n", x_order="km")


@pytest.mark.parametrize("target", RUNNABLE)
def test_every_target_this_machine_runs(target: str) -> None:
    for m, n, k in [(1, 37, 20), (100, 130, 400)]:
        for dtype in (dtypes.float32, dtypes.float16):
            product(m, n, k, dtype=dtype, target=target)
            product(m, n, k, dtype=dtype, target=target, y_order="nk", symbolic="m", plain=False)


@pytest.mark.skipif(HOST not in LEVELS[1:], reason="needs a processor with fused multiply-add")
@pytest.mark.parametrize("target", sorted(set(MACHINES) - set(RUNNABLE)))
def test_tile_sizes_of_targets_this_machine_does_not_run(target: str) -> None:
    for m, n, k in [(1, 700, 20), (5, 70, 30), (150, 130, 400)]:
        product(m, n, k, target=target, cpu=HOST)
        product(m, n, k, target=target, cpu=HOST, symbolic="m", prepacked=True, plain=False)


def test_results_do_not_depend_on_the_division_among_threads() -> None:
    rng = np.random.default_rng(1)
    x, y = _random(rng, (100, 500), dtypes.float32), _random(rng, (500, 200), dtypes.float32)
    for prepacked in (False, True):
        x_type, y_type = BufferType(dtypes.float32, x.shape), BufferType(dtypes.float32, y.shape)
        spec = GemmSpec.of(x_type, y_type, (0, 1), (0, 1), prepacked, HOST)
        one, other = (run(spec, x, y, (100, 200), {}, reverse=reverse) for reverse in (False, True))
        np.testing.assert_array_equal(one, other)


def test_one_packed_operand_serves_products_of_any_height() -> None:
    sizes = set()
    for m in (1, 7, 300, shapes.symbol("M")):
        x, y = BufferType(dtypes.float32, (m, 90)), BufferType(dtypes.float32, (90, 50))
        sizes.add(packed_size(GemmSpec.of(x, y, (0, 1), (0, 1), True, "x86-64-v3")))
    assert sizes == {64 * 90 * 4}


def test_workspace_covers_any_run_time_size() -> None:
    x, y = BufferType(dtypes.float32, (shapes.symbol("M"), 90)), BufferType(dtypes.float32, (500, 90))
    spec = GemmSpec.of(x, y, (0, 1), (1, 0), False, "x86-64-v3")
    for m in (0, 1, 30, 1000):
        packed_y, packed_x = 512 * 90 * 4, -(-m // 6) * 6 * 90 * 4
        assert shapes.evaluate(workspace_size(spec), {"M": m}) == packed_y + -(-packed_x // 64) * 64


def test_nan_and_infinity_stay_in_their_rows_and_columns() -> None:
    x, y = np.ones((7, 40), np.float32), np.ones((40, 19), np.float32)
    x[2, 5], y[3, 18] = np.nan, np.inf
    for prepacked in (False, True):
        x_type, y_type = BufferType(dtypes.float32, x.shape), BufferType(dtypes.float32, y.shape)
        spec = GemmSpec.of(x_type, y_type, (0, 1), (0, 1), prepacked, HOST)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(run(spec, x, y, (7, 19), {}), x @ y)


def test_complex_products_are_refused_by_name() -> None:
    x = BufferType(dtypes.complex64, (4, 4))
    with pytest.raises(DTypeError, match="complex64"):
        GemmSpec.of(x, x, (0, 1), (0, 1), False, "x86-64-v3")


def test_unknown_target_is_refused_by_name() -> None:
    x = BufferType(dtypes.float32, (4, 4))
    with pytest.raises(ValueError, match=r"riscv.*x86-64-v3"):
        workspace_size(GemmSpec.of(x, x, (0, 1), (0, 1), False, "riscv"))


_ORDERS = st.sampled_from([("bmk", "bkn"), ("bkm", "bnk"), ("mbk", "kbn"), ("mkb", "nkb")])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(st.integers(0, 60), st.integers(0, 80), st.integers(0, 90)),
    batch=st.lists(st.integers(1, 3), max_size=2),
    orders=_ORDERS,
    symbolic=st.sets(st.sampled_from("mnk")),
    dtype=st.sampled_from([dtypes.float32, dtypes.float64, dtypes.bfloat16, dtypes.int32]),
    prepacked=st.booleans(),
    plain=st.booleans(),
    reverse=st.booleans(),
)
def test_any_product(sizes, batch, orders, symbolic, dtype, prepacked, plain, reverse) -> None:  # type: ignore[no-untyped-def]
    symbolic = "".join(sorted(symbolic))
    x_order, y_order = orders
    if len(batch) == 0:
        x_order, y_order = x_order.replace("b", ""), y_order.replace("b", "")
    product(
        *sizes, batch=tuple(batch), x_order=x_order, y_order=y_order, symbolic=symbolic, dtype=dtype,
        prepacked=prepacked, plain=plain, reverse=reverse,
    )  # fmt: skip
