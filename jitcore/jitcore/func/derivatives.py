"""Derivatives as functions of functions: grad, vjp, jvp, linearize, jacrev, jacfwd, hessian.

They compose with each other and with `vmap`, for all of them use the one tape: a differentiated argument is a tensor
with a tape node of its own (`_mark`), and gradients are asked for at that node. jvp is two vjps: vjp(v) is linear in v,
and its own derivative in v is the product with the Jacobian.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import tape
from ..autograd.engine import run
from ..autograd.modes import enable_grad
from ..autograd.tape import CallNode, Node, edge_of, sized
from ..ops.creation import eye, zeros_like
from ..state import state
from ..tensor import Tensor, alias, shape_of
from ..trace.containers import flatten, unflatten
from .batching import all_below, carries
from .vmap import vmap


class Marked:
    """Trees of tensors that derivatives are taken with respect to: `trees` are what the function is called with."""

    def __init__(self, trees: Sequence[Any], name: str) -> None:
        self.linked = state.grad_enabled
        self.first = next(tape._sequence)
        leaves, self.structure = flatten(tuple(trees))
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{name}: Expected tensors, got unsupported type {type(x)}")
            if x._array.dtype.kind not in "fcV":
                raise RuntimeError(
                    f"{name}: only Tensors of floating point and complex dtype can require gradients, and one is "
                    f"{x.dtype.name}"
                )
        self.originals = leaves
        self.leaves = [_mark(x, self.linked) for x in leaves]
        self.edges = [x._node for x in self.leaves]
        self.trees = unflatten(self.structure, self.leaves)

    def depends_outside(self, outputs: Sequence[Tensor]) -> bool:
        """Whether outputs have history that began before, or in tensors from outside, or in the batches they stand
        for: their gradients then have a history that matters."""
        if not self.linked:
            return False
        stack: list[Any] = [edge_of(z) for y in outputs for z in (y, *all_below(y))]
        seen: set[Any] = set()
        while stack:
            edge = stack.pop()
            if edge is None or edge in seen:
                continue
            if not isinstance(edge, Node) or edge.sequence < self.first:
                return True
            seen.add(edge)
            stack.extend(edge.edges)
        return False

    def gradients(
        self, outputs: Sequence[Tensor], given: Sequence[Tensor], create: bool, retain: bool = False
    ) -> list[Tensor]:
        """Gradients for each marked leaf; zeros where nothing reaches it."""
        roots = [(edge, g) for y, g in zip(outputs, given) if (edge := edge_of(y)) is not None]
        found = run(roots, retain or create, create, self.edges, accumulate=False)
        return [zeros_like(x) if g is None else g for x, g in zip(self.originals, found)]

    def restore(self, leaves: Sequence[Any]) -> tuple:
        return unflatten(self.structure, leaves)


def _mark(x: Tensor, linked: bool) -> Tensor:
    """x with a node of its own, which leads on to x's history."""
    edge = edge_of(x) if linked else None
    made = alias(x)
    made._node = sized(CallNode("InputBackward", () if edge is None else (edge,), x._array, lambda g: (g,)), x)
    made._requires_grad = True
    return made


def _clean(outputs: Sequence[Any], keep: bool) -> list[Any]:
    """Results without the history of the marked arguments, unless it leads further out."""
    return [x if keep or not isinstance(x, Tensor) or not carries(x) else x.detach() for x in outputs]


def _tensors(outputs: Sequence[Any], name: str) -> None:
    for y in outputs:
        if not isinstance(y, Tensor):
            raise RuntimeError(f"{name}: Expected to be given a function that returns tensors, got type {type(y)}")


def _chosen(args: tuple, argnums: int | tuple, name: str) -> tuple[list[Any], list[int]]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not numbers:
        raise RuntimeError(f"{name}: argnums must be non-empty")
    places = []
    for n in numbers:
        if not isinstance(n, int):
            raise RuntimeError(f"{name}: argnums must be int or Tuple[int, ...], got {type(n)}")
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
        places.append(n % len(args))
    return [args[n] for n in places], places


def _with(args: tuple, places: Sequence[int], new: Sequence[Any]) -> list[Any]:
    replaced = list(args)
    for place, x in zip(places, new):
        replaced[place] = x
    return replaced


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that gives the gradients of scalar `func` with respect to its arguments `argnums`."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return wrapped


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """As `grad`; the function gives (gradients, value), with has_aux (gradients, (value, aux))."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, places = _chosen(args, argnums, "grad")
        marked = Marked(chosen, "grad")
        with enable_grad():
            output = func(*_with(args, places, marked.trees), **kwargs)
            aux = None
            if has_aux:
                output, aux = _pair(output, "grad_and_value")
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    "Expected the differentiated function to return a tensor, but got type " + str(type(output))
                )
            if output._array.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{output._array.ndim} dims. Maybe you forgot to return a scalar?"
                )
            outside = marked.depends_outside([output])
            one = zeros_like(output.detach()) + 1
            found = marked.restore(marked.gradients([output], [one], outside))
        (output,) = _clean([output], outside)
        gradients = found[0] if isinstance(argnums, int) else tuple(found)
        return gradients, (output, _clean_tree(aux, marked)) if has_aux else output

    return wrapped


def value_and_grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """`grad_and_value` with the results in JAX's order: (value, gradients)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return value, gradients

    return wrapped


def _pair(output: Any, name: str) -> tuple[Any, Any]:
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(
            f"{name}(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return output


def _clean_tree(tree: Any, marked: Marked) -> Any:
    leaves, structure = flatten(tree)
    kept = [x for y in leaves for x in _clean([y], isinstance(y, Tensor) and marked.depends_outside([y]))]
    return unflatten(structure, kept)


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(func(*primals), vjp_fn), with has_aux also aux; vjp_fn(cotangents) gives the products with the Jacobian's
    transpose, one for each primal."""
    output, back, aux, _ = _vjp(func, primals, has_aux)
    return (output, back, aux) if has_aux else (output, back)


def _vjp(func: Callable, primals: tuple, has_aux: bool = False) -> tuple[Any, Callable, Any, Any]:
    marked = Marked(primals, "vjp(f, *primals)")
    with enable_grad():
        output = func(*marked.trees)
        aux = None
        if has_aux:
            output, aux = _pair(output, "vjp")
        outputs, structure = flatten(output)
        _tensors(outputs, "vjp(f, *primals)")
        outside = marked.depends_outside(outputs)

    def back(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, given_structure = flatten(cotangents)
        if given_structure != structure:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given_structure}, primal output: {structure}"
            )
        for g, y in zip(given, outputs):
            if shape_of(g) != shape_of(y):
                raise RuntimeError(
                    f"Mismatch in shape: a cotangent has a shape of {list(shape_of(g))} and the output of "
                    f"{list(shape_of(y))}."
                )
        create = state.grad_enabled and (outside or any(carries(g) for g in given))
        found = marked.restore(marked.gradients(outputs, given, create, retain=True))
        return found[0] if len(found) == 1 else found

    # PyTorch gives a single gradient for a single primal, else a tuple.
    cleaned = unflatten(structure, _clean(outputs, outside))
    several = functools.partial(_several, back, len(primals))
    return cleaned, several if len(primals) == 1 else back, _clean_tree(aux, marked) if has_aux else None, marked


def _several(back: Callable, count: int, *cotangents: Any, **options: Any) -> tuple:
    found = back(*cotangents, **options)
    return (found,) if count == 1 else found


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """(func(*primals), jvp_fn): jvp_fn(*tangents) gives the product of the Jacobian at primals with the tangents.

    func runs once; jvp_fn may be called, and mapped, many times.
    """
    return _linearize(func, primals, "linearize")


def _linearize(func: Callable, primals: tuple, name: str, has_aux: bool = False) -> Any:
    marked = Marked(primals, name)
    with enable_grad():
        output = func(*marked.trees)
        aux = None
        if has_aux:
            output, aux = _pair(output, name)
        outputs, structure = flatten(output)
        _tensors(outputs, name)
        outside = marked.depends_outside(outputs)
        directions = Marked([zeros_like(y.detach()) for y in outputs], name)
        rows = marked.gradients(outputs, directions.leaves, True)

    def product(*tangents: Any) -> Any:
        given, given_structure = flatten(tuple(tangents))
        if given_structure != marked.structure:
            raise RuntimeError(f"{name}: Expected primals and tangents to have the same python structure.")
        for t, x in zip(given, marked.originals):
            if not isinstance(t, Tensor) or shape_of(t) != shape_of(x):
                raise RuntimeError(f"{name}: a tangent does not have the shape {list(shape_of(x))} of its primal")
        create = state.grad_enabled and (outside or any(carries(t) for t in given))
        found = directions.gradients(rows, given, create, retain=True)
        return unflatten(structure, found)

    made = unflatten(structure, _clean(outputs, outside)), product
    return (*made, _clean_tree(aux, marked)) if has_aux else made


def jvp(func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """(func(*primals), product of its Jacobian with tangents), with has_aux also aux."""
    if not isinstance(primals, tuple):
        raise RuntimeError(f"jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to "
                           f"call f(*primals). Got {type(primals)}")  # fmt: skip
    if not isinstance(tangents, tuple) or flatten(primals)[1] != flatten(tangents)[1]:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure."
        )
    if not flatten(primals)[0]:
        raise RuntimeError("jvp(f, primals, tangents): Expected at least one Tensor in primals")
    made = _linearize(func, primals, "jvp(f, primals, tangents)", has_aux)
    return (made[0], made[1](*tangents), *made[2:])


def jacrev(
    func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that gives the Jacobians [*output, *input] of `func`, by rows, `chunk_size` at once by vmap."""
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, places = _chosen(args, argnums, "jacrev")
        aux, marked, outputs, structure, outside = _prepared(func, args, kwargs, places, chosen, has_aux)
        rows = []
        for y in outputs:
            create = state.grad_enabled and outside

            def back(g: Tensor, y: Tensor = y, create: bool = create) -> tuple:
                return tuple(marked.gradients([y], [g], create, retain=True))

            found = _mapped(back, y, marked.originals, chunk_size)
            shaped = [x.reshape((*shape_of(y), *shape_of(p))) for x, p in zip(found, marked.originals)]
            trees = marked.restore(shaped)
            rows.append(trees[0] if isinstance(argnums, int) else tuple(trees))
        jacobian = unflatten(structure, rows)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def _prepared(func: Callable, args: tuple, kwargs: dict, places: Any, chosen: Any, has_aux: bool) -> tuple:
    marked = Marked(chosen, "jacrev")
    with enable_grad():
        output = func(*_with(args, places, marked.trees), **kwargs)
        aux = None
        if has_aux:
            output, aux = _pair(output, "jacrev")
        outputs, structure = flatten(output)
        _tensors(outputs, "jacrev")
        outside = marked.depends_outside(outputs)
    return _clean_tree(aux, marked) if has_aux else None, marked, outputs, structure, outside


def _mapped(back: Callable, y: Tensor, inputs: Sequence[Tensor], chunk_size: int | None) -> Sequence[Tensor]:
    """back(g) for g = each unit vector of y's space, stacked."""
    count = y.numel()
    basis = _basis(y, count)
    if not isinstance(count, int) or count:
        return vmap(back, chunk_size=chunk_size)(basis)
    return [zeros_like(x).expand((0, *shape_of(x))) for x in inputs]


def _basis(y: Tensor, count: Any) -> Tensor:
    return eye(count, dtype=y.dtype).reshape((count, *shape_of(y)))


def jacfwd(
    func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable:
    """The function that gives the Jacobians [*output, *input] of `func`, by columns, all at once by vmap."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, places = _chosen(args, argnums, "jacfwd")

        def of_chosen(*new: Any) -> Any:
            return func(*_with(args, places, new), **kwargs)

        made = _linearize(of_chosen, tuple(chosen), "jacfwd", has_aux)
        output, product = made[0], made[1]
        outputs, out_structure = flatten(output)
        inputs, in_structure = flatten(tuple(chosen))
        columns: list[list[Tensor]] = []
        for place, x in enumerate(inputs):

            def along(t: Tensor, place: int = place) -> tuple:
                tangents = [t if i == place else zeros_like(p) for i, p in enumerate(inputs)]
                return tuple(flatten(product(*unflatten(in_structure, tangents)))[0])

            found = _mapped(along, x, outputs, None)
            columns.append([
                j.movedim(0, -1).reshape((*shape_of(y), *shape_of(x))) for j, y in zip(found, outputs)
            ])  # fmt: skip
        rows = []
        for number in range(len(outputs)):
            trees = unflatten(in_structure, [column[number] for column in columns])
            rows.append(trees[0] if isinstance(argnums, int) else tuple(trees))
        jacobian = unflatten(out_structure, rows)
        return (jacobian, made[2]) if has_aux else jacobian

    return wrapped


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that gives second derivatives [*output, *input, *input]."""
    return jacfwd(jacrev(func, argnums), argnums)
