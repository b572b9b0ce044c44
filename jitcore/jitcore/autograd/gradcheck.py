"""Checking derivatives against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.creation import tensor, zeros_like
from ..tensor import Tensor, alias
from .engine import grad
from .modes import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """A derivative that disagrees with finite differences."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` with respect to float64 inputs that require grad match central differences.

    Every entry of the Jacobian is compared, in fast_mode its product with one vector from each side; complex128 numbers
    count as their two parts. Also: two backwards differ by nondet_tol at most; check_undefined_grad: a gradient of
    zeros gives zeros; check_batched_grad: gradients by vmap equal those one by one. Raises GradcheckError where not
    (or returns False), ValueError where no input requires grad, NotImplementedError for check_forward_ad.
    """
    if check_forward_ad or check_batched_forward_grad:
        raise NotImplementedError("gradcheck: jitcore has no forward-mode AD to check; jvp is made of two vjps")
    if not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    try:
        _gradcheck(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, check_batched_grad, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _gradcheck(
    func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float, nondet_tol: float, undefined: bool,
    batched: bool, fast: bool,
) -> None:  # fmt: skip
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them "
            "have requires_grad=True."
        )
    outputs = _tensors(func(*arguments))
    for number, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        for position, x in enumerate(checked):
            where = f"for output {number} with respect to input {position}"
            compute = _projected if fast else _jacobians
            exact, again, measured = compute(func, arguments, number, output, x, eps)
            if not np.allclose(exact, measured, rtol, atol):
                raise GradcheckError(
                    f"Jacobian mismatch {where},\nnumerical:{measured}\nanalytical:{exact}\n"
                    f"largest difference {np.abs(exact - measured).max():.3g}"
                )
            if not np.allclose(exact, again, 0.0, nondet_tol, equal_nan=True):
                raise GradcheckError(f"Backward is not reentrant, i.e., running backward with same input and "
                                     f"grad_output multiple times gives different values {where}")  # fmt: skip
            if batched:
                _check_batched(output, x, where)
        if undefined:
            for g in grad(output, checked, zeros_like(output), retain_graph=True, allow_unused=True):
                if g is not None and not np.all(g._array == 0):
                    raise GradcheckError(f"a gradient of zeros for output {number} gives gradients that are not zero")


def _jacobians(
    func: Callable, arguments: list, number: int, output: Tensor, x: Tensor, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _analytic(output, x), _analytic(output, x), _numeric(func, arguments, number, x, eps)


def _projected(
    func: Callable, arguments: list, number: int, output: Tensor, x: Tensor, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u J v for one random u and v: from backward, from a second one, and from one finite difference."""
    random = np.random.default_rng(0)
    u = _direction(random, output._array).astype(output._array.dtype)
    v = np.ascontiguousarray(_direction(random, x._array).astype(x._array.dtype))
    found = []
    for _ in range(2):
        (g,) = grad(output, x, _constant(u, output), retain_graph=True, allow_unused=True)
        slope = np.zeros_like(v) if g is None else np.ascontiguousarray(g._array)
        found.append(np.asarray(_parts(slope) @ _parts(v)))
    before = x._array.copy()
    with no_grad():
        try:
            x._array[...] = before + eps * v
            above = _tensors(func(*arguments))[number]._array.copy()
            x._array[...] = before - eps * v
            below = _tensors(func(*arguments))[number]._array.copy()
        finally:
            x._array[...] = before
    difference = np.ascontiguousarray((above - below) / (2 * eps))
    return found[0], found[1], np.asarray(_parts(difference) @ _parts(np.ascontiguousarray(u)))


def _check_batched(output: Tensor, x: Tensor, where: str) -> None:
    random = np.random.default_rng(1)
    rows = np.stack([_direction(random, output._array) for _ in range(2)]).astype(output._array.dtype)
    (together,) = grad(output, x, _constant(rows, output), True, allow_unused=True, is_grads_batched=True)
    for k in range(2):
        (alone,) = grad(output, x, _constant(rows[k], output), retain_graph=True, allow_unused=True)
        if (alone is None) != (together is None) or (
            alone is not None and together is not None and not np.allclose(alone._array, together._array[k])
        ):
            raise GradcheckError(f"gradients by vmap differ from gradients one by one {where}")


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """gradcheck of the gradients of `func`, for grad_outputs, by default drawn from a fixed seed."""
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck: jitcore has no forward-mode AD to check")
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    random = np.random.default_rng(0)
    directions = [_leaf(_direction(random, y._array)) for y in _tensors(func(*arguments)) if y.requires_grad]
    if grad_outputs is not None:
        directions = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    count = len(arguments)

    def gradients(*given: Any) -> tuple[Tensor, ...]:
        with enable_grad():  # also while finite differences are measured
            outputs = [y for y in _tensors(func(*given[:count])) if y.requires_grad]
            wanted = [x for x in given[:count] if isinstance(x, Tensor) and x.requires_grad]
            found = grad(outputs, wanted, list(given[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    if not any(y.requires_grad for y in _tensors(gradients(*arguments, *directions))):
        return True
    return gradcheck(
        gradients, [*arguments, *directions], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_batched_grad=check_batched_grad,
        fast_mode=fast_mode,
    )  # fmt: skip


def _direction(random: np.random.Generator, like: np.ndarray) -> np.ndarray:
    drawn = random.uniform(0.5, 1.5, like.shape)
    return drawn + 1j * random.uniform(0.5, 1.5, like.shape) if like.dtype.kind == "c" else drawn


def _parts(array: np.ndarray) -> np.ndarray:
    """The elements one after another; of a complex one the real and the imaginary part."""
    flat = array.reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _leaf(array: np.ndarray) -> Tensor:
    return tensor(np.asarray(array), requires_grad=True)


def _tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else [y for y in outputs if isinstance(y, Tensor)]


def _analytic(output: Tensor, x: Tensor) -> np.ndarray:
    """The Jacobian [input elements, output elements], one backward per output element; of parts where complex."""
    direction = np.zeros(output._array.shape, output._array.dtype)
    columns = _parts(direction).size
    jacobian = np.zeros((_parts(x._array).size, columns))
    for column in range(columns):
        direction = np.zeros(output._array.shape, output._array.dtype)
        _parts(direction)[column] = 1.0
        (g,) = grad(output, x, _constant(direction, output), retain_graph=True, allow_unused=True)
        if g is not None:
            jacobian[:, column] = _parts(np.ascontiguousarray(g._array))
    return jacobian


def _constant(array: np.ndarray, like: Tensor) -> Tensor:
    return tensor(array, dtype=like.dtype)


def _numeric(func: Callable[..., Any], arguments: list[Any], number: int, x: Tensor, eps: float) -> np.ndarray:
    """The Jacobian by central differences. x's memory is changed and put back."""
    flat = _parts(alias(x)._array) if x._array.flags.c_contiguous else None
    if flat is None:
        raise ValueError("gradcheck needs contiguous inputs; call contiguous() first")
    columns = []
    with no_grad():
        for position in range(flat.size):
            before = flat[position]
            flat[position] = before + eps
            above = _parts(_tensors(func(*arguments))[number]._array.copy())
            flat[position] = before - eps
            below = _parts(_tensors(func(*arguments))[number]._array.copy())
            flat[position] = before
            columns.append((above - below) / (2 * eps))
    return np.array(columns).reshape(flat.size, -1)
