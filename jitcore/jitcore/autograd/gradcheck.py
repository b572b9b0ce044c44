"""Checking derivatives against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.creation import tensor
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
) -> bool:
    """Whether the gradients of `func` with respect to float64 inputs that require grad match central differences.

    Every entry of the Jacobian is compared; complex128 numbers count as their two parts. Raises GradcheckError for a
    mismatch (or returns False), ValueError where
    no input requires grad.
    """
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
            exact = _analytic(output, x)
            measured = _numeric(func, arguments, number, x, eps)
            if not np.allclose(exact, measured, rtol, atol):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {position},\nnumerical:{measured}\n"
                    f"analytical:{exact}\nlargest difference {np.abs(exact - measured).max():.3g}"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """gradcheck of the gradients of `func`, for fixed gradients of its outputs drawn from a fixed seed."""
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    random = np.random.default_rng(0)
    directions = [_leaf(_direction(random, y._array)) for y in _tensors(func(*arguments)) if y.requires_grad]
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
        gradients, [*arguments, *directions], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )


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
