"""Derivatives of functions of tensors, with respect to tuples of inputs: vjp, jvp, hvp, vhp, jacobian, hessian.

`jitcore.func` has the same for any nesting and composition. Here results are detached unless `create_graph`, and
`strict` asks for an error, instead of zeros, where an output does not depend on an input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ops.creation import ones_like, zeros_like
from ..ops.join import cat
from ..tensor import Tensor, shape_of
from .engine import grad
from .modes import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(*inputs), v times the Jacobian). v may be None where func gives one number."""
    with enable_grad():
        several, given = _prepared(inputs, create_graph)
        single, outputs = _outputs(func, given, "vjp")
        _check_depend(outputs, given, strict)
        vectors = _vector(v, outputs, single, "vjp")
        found = _grad(outputs, given, vectors, create_graph, strict)
    return _result(outputs, not single, create_graph), _result(found, several, create_graph)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(*inputs), the Jacobian times v), by differentiating vjp in its vector."""
    with enable_grad():
        several, given = _prepared(inputs, create_graph)
        vectors = _vector(v, given, not several, "jvp")
        single, outputs = _outputs(func, given, "jvp")
        _check_depend(outputs, given, strict)
        directions = [zeros_like(y.detach()).requires_grad_() for y in outputs]
        rows = _grad(outputs, given, directions, True, strict)
        found = _grad(rows, directions, vectors, create_graph, strict)
    return _result(outputs, not single, create_graph), _result(found, not single, create_graph)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(*inputs), v times the Hessian) of a func that gives one number."""
    with enable_grad():
        several, given = _prepared(inputs, create_graph)
        vectors = _vector(v, given, not several, "vhp")
        outputs = _one_number(func, given, "vhp")
        slopes = _grad(outputs, given, None, True, strict)
        _check_depend(slopes, given, strict)
        found = _grad(slopes, given, vectors, create_graph, strict)
    return _result(outputs, False, create_graph), _result(found, several, create_graph)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(*inputs), the Hessian times v) of a func that gives one number; `vhp` is cheaper where it is symmetric."""
    with enable_grad():
        several, given = _prepared(inputs, create_graph)
        vectors = _vector(v, given, not several, "hvp")
        outputs = _one_number(func, given, "hvp")
        slopes = _grad(outputs, given, None, True, strict)
        _check_depend(slopes, given, strict)
        directions = [zeros_like(x.detach()).requires_grad_() for x in given]
        rows = _grad(slopes, given, directions, True, strict)
        found = _grad(rows, directions, vectors, create_graph, strict)
    return _result(outputs, False, create_graph), _result(found, several, create_graph)


def jacobian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Jacobian [*output, *input] of func at inputs; a tuple over outputs and inputs where there are several.

    vectorize: all rows at once, by vmap; strategy "forward-mode" (which needs vectorize): all columns.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            f'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode". Got '
            f"{strategy!r}."
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError('strategy="forward-mode" needs vectorize=True.')
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError('`create_graph=True` and `strategy="forward-mode"` are not supported together (yet).')
    if vectorize and strict:
        raise RuntimeError("torch.autograd.functional.jacobian: `strict=True` and `vectorize=True` are not supported "
                           "together.")  # fmt: skip
    with enable_grad():
        several, given = _prepared(inputs, create_graph)
        single, outputs = _outputs(func, given, "jacobian")
        _check_depend(outputs, given, strict)
        if strategy == "forward-mode":
            rows = _columns(func, given, single, create_graph)
        else:
            rows = [_rows(y, given, create_graph, strict, vectorize) for y in outputs]
    shaped = [_result(row, several, create_graph) for row in rows]
    return shaped[0] if single else tuple(shaped)


def hessian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Hessian [*input, *input] of a func that gives one number; tuples of tuples where inputs is a tuple."""
    several = isinstance(inputs, tuple | list)
    arguments = tuple(inputs) if several else (inputs,)
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def slopes(*given: Tensor) -> Any:
        outputs = _one_number(func, given, "hessian")
        found = _grad(outputs, given, None, True, strict)
        if strict:
            _check_depend(found, given, strict)
        return tuple(found) if several else found[0]

    return jacobian(
        slopes, arguments if several else arguments[0], create_graph, strict, vectorize, outer_jacobian_strategy
    )


def _rows(y: Tensor, given: Sequence[Tensor], create_graph: bool, strict: bool, vectorize: bool) -> list[Tensor]:
    count = y.numel()
    shapes = [(*shape_of(y), *shape_of(x)) for x in given]
    if not count:
        return [x.new_zeros(shape) for x, shape in zip(given, shapes)]
    from ..func.derivatives import _basis

    basis = _basis(y, count)
    if not y.requires_grad:
        return [x.new_zeros(shape) for x, shape in zip(given, shapes)]
    if vectorize:
        found = grad(y, given, basis, True, create_graph, allow_unused=True, is_grads_batched=True)
        return [x.new_zeros(s) if g is None else g.reshape(s) for x, g, s in zip(given, found, shapes)]
    rows = [_grad([y], given, [basis[k]], create_graph, strict, retain=True) for k in range(count)]
    return [cat([row[i].reshape(-1) for row in rows]).reshape(shape) for i, shape in enumerate(shapes)]


def _columns(func: Callable, given: Sequence[Tensor], single: bool, create_graph: bool) -> list[Sequence[Tensor]]:
    from ..func import jacfwd

    found = jacfwd(func, argnums=tuple(range(len(given))))(*given)
    return [found] if single else list(found)


def _prepared(inputs: Any, create_graph: bool) -> tuple[bool, list[Tensor]]:
    """Whether inputs is a tuple, and tensors to differentiate in: leaves, or (create_graph) with their own history."""
    several = isinstance(inputs, tuple | list)
    given = list(inputs) if several else [inputs]
    for position, x in enumerate(given):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"The inputs given must be either a Tensor or a tuple of Tensors but the value at index {position} "
                f"has type {type(x)}."
            )
    if create_graph:
        return several, [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in given]
    return several, [x.detach().requires_grad_() for x in given]


def _outputs(func: Callable, given: Sequence[Tensor], name: str) -> tuple[bool, list[Tensor]]:
    made = func(*given)
    single = isinstance(made, Tensor)
    outputs = [made] if single else list(made) if isinstance(made, tuple | list) else [made]
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(
                f"The outputs of the user-provided function given to {name} must be either a Tensor or a tuple of "
                f"Tensors but the given outputs have type {type(y)}."
            )
    return single, outputs


def _one_number(func: Callable, given: Sequence[Tensor], name: str) -> list[Tensor]:
    single, outputs = _outputs(func, given, name)
    if not single:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
    return [outputs[0].reshape(())]


def _vector(v: Any, like: Sequence[Tensor], single: bool, name: str) -> list[Tensor]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            what = "function returns" if name == "vjp" else "input to the function is"
            raise RuntimeError(
                f"The vector v can only be None if the user-provided {what} a single Tensor with a single element."
            )
        return [ones_like(like[0].detach())]
    given = list(v) if isinstance(v, tuple | list) else [v]
    if len(given) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(given)}.")
    for position, (g, x) in enumerate(zip(given, like)):
        if not isinstance(g, Tensor):
            raise TypeError(f"v must be a Tensor or a tuple of Tensors, and entry {position} is a {type(g)}")
        if shape_of(g) != shape_of(x):
            raise RuntimeError(
                f"Entry {position} in v has invalid size: should be {list(shape_of(x))} but got {list(shape_of(g))}."
            )
    return given


def _check_depend(outputs: Sequence[Tensor], given: Sequence[Tensor], strict: bool) -> None:
    if not strict:
        return
    for position, y in enumerate(outputs):
        if not y.requires_grad:
            raise RuntimeError(
                f"Output {position} of the user-provided function does not require gradients. The outputs must be "
                f"computed in a differentiable manner from the input when running in strict mode."
            )
        if y is not None and any(y is x for x in given):
            raise RuntimeError(
                f"Output {position} of the user-provided function is one of the inputs; return a view of it in strict "
                f"mode."
            )


def _grad(
    outputs: Sequence[Tensor], given: Sequence[Tensor], vectors: Sequence[Tensor] | None, create_graph: bool,
    strict: bool, retain: bool = True,
) -> list[Tensor]:  # fmt: skip
    """Gradients, with zeros (strict: a RuntimeError) where an input does not matter."""
    used = [(y, None if vectors is None else v) for y, v in zip(outputs, vectors or outputs) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(given)
    if used:
        found = grad([y for y, _ in used], given, [v for _, v in used], retain, create_graph, allow_unused=True)
    for position, g in enumerate(found):
        if strict and (g is None or (create_graph and not g.requires_grad)):
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {position}. This is not allowed in "
                f"strict mode."
            )
    return [zeros_like(x.detach()) if g is None else g for g, x in zip(found, given)]


def _result(tensors: Sequence[Tensor], several: bool, create_graph: bool) -> Any:
    made = tensors if create_graph else [x.detach() for x in tensors]
    return tuple(made) if several else made[0]
