"""One operator, one dtype: every sample of the database through both libraries, down to a verdict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import FunctionType
from typing import Any

import numpy as np
import torch

import jitcore

from .checks import Checks
from .program import Program
from .structure import replaced, resized, tensors
from .translate import draws, our_function, rebound, to_jitcore, to_numpy

RELATIVE = {"float64": 1e-7, "complex128": 1e-7, "float32": 1e-4, "complex64": 1e-4, "float16": 5e-3, "bfloat16": 4e-2}
"""Of float results. float32's leaves room for the order of sums in the samples' small products and reductions."""

UNSPECIFIED = ("empty", "new_empty", "resize_")
"""Results whose values mean nothing: shape and dtype are compared."""


WIDER = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}

DRAWS = 6
"""Runs of PyTorch's own function: where they differ, it draws random numbers, and shapes and dtypes are compared."""


class Wrong(Exception):
    """An answer that differs from PyTorch's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`status` is pass, wrong, error, missing, or refused (it cannot be exported); `detail` says on what."""

    status: str
    detail: str = ""
    samples: int = 0


def check(entry: Any, dtype: torch.dtype, checks: Checks) -> Verdict:
    """The verdict on one OpInfo for one dtype."""
    warnings.simplefilter("ignore")
    try:
        function = our_function(entry)
    except (AttributeError, NotImplementedError) as error:
        return Verdict("missing", _line(error))
    differentiable = entry.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
    differentiable = differentiable and dtype in entry.supported_backward_dtypes("cpu")
    count = 0
    torch.manual_seed(0)
    for sample in islice(entry.sample_inputs("cpu", dtype, requires_grad=differentiable), checks.samples):
        where = "function"
        try:
            for form, attempt in _attempts(entry, function, sample, differentiable, checks):
                where = form
                attempt()
        except Wrong as error:
            return Verdict("wrong", f"{where}: {error}; {_describe(sample)}", count)
        except jitcore.ExportError as error:
            return Verdict("refused", f"{where}: {_line(error)}; {_describe(sample)}", count)
        except NotImplementedError as error:
            return Verdict("missing", f"{where}: {_line(error)}; {_describe(sample)}", count)
        except Exception as error:
            return Verdict("error", f"{where}: {type(error).__name__}: {_line(error)}; {_describe(sample)}", count)
        count += 1
    return Verdict("pass", samples=count)


def _attempts(
    entry: Any, function: Callable, sample: Any, differentiable: bool, checks: Checks
) -> Iterator[tuple[str, Callable[[], None]]]:
    given = (sample.input, *sample.args)
    finish = sample.output_process_fn_grad
    finish_ours = rebound(finish) if isinstance(finish, FunctionType) else (lambda result: result)

    def run_theirs(arguments: tuple = (given, sample.kwargs)) -> Any:
        return finish(entry.op(*arguments[0], **arguments[1]))

    theirs = run_theirs()
    unspecified = entry.name.startswith(UNSPECIFIED)
    random = unspecified or draws(entry.op) or any(not _same(theirs, run_theirs()) for _ in range(DRAWS))
    ours_given = to_jitcore(given)
    ours_keywords = to_jitcore(sample.kwargs)

    rounded: list[bool] = []  # not empty where PyTorch's own answer is worse than ours

    def compare_function() -> None:
        def attempt() -> None:
            ours = finish_ours(function(*ours_given, **ours_keywords))
            compare(ours, theirs, random)
            if differentiable and not random:
                compare_gradients(ours, theirs, (ours_given, ours_keywords), (given, sample.kwargs), checks.second)

        try:
            attempt()
        except Wrong:
            narrow = [t for t in tensors((given, sample.kwargs), torch.Tensor) if t.dtype in WIDER]
            if not narrow or random:
                raise
            ours = finish_ours(function(*ours_given, **ours_keywords))
            compare(ours, theirs, True)
            compare_wide(entry, finish, sample, ours, (ours_given, ours_keywords), differentiable)
            rounded.append(True)

    yield "function", compare_function
    if checks.methods:
        yield from _methods(entry, sample, finish, finish_ours, theirs, random or bool(rounded))
    if random or rounded or not (checks.jit or checks.export or checks.dynamic):
        return
    program = Program.of(function, finish_ours, ours_given, ours_keywords)
    if checks.jit:
        yield "jit", lambda: compare_each(program.jitted(), theirs)
    expected = tensors(theirs, torch.Tensor)
    if checks.export:
        yield "export", lambda: compare_each(program.exported(), expected)
    if checks.dynamic:
        yield from _dynamic(run_theirs, program, (given, sample.kwargs))


def _dynamic(call: Callable, program: Program, given: tuple) -> Iterator[tuple[str, Callable[[], None]]]:
    """One size made symbolic, and run at another size, where PyTorch takes that too."""
    leaves = tensors(given, torch.Tensor)
    size = next((d for x in leaves for d in x.shape if d > 1), 0)
    larger = [resized(x.detach(), size, size + 2) for x in leaves]
    try:
        theirs = call(replaced(given, larger))
    except (RuntimeError, IndexError, ValueError, AssertionError):
        return  # the other arguments depend on the size
    expected = tensors(theirs, torch.Tensor)
    if size and expected:
        arrays = [to_numpy(x) for x in larger]
        yield "dynamic", lambda: compare_each(program.exported(size, arrays), expected)


def _methods(entry: Any, sample: Any, finish: Any, finish_ours: Any, theirs: Any, random: bool) -> Iterator[Any]:
    method, in_place = entry.method_variant, entry.inplace_variant
    if not isinstance(sample.input, torch.Tensor):
        return

    def compare_method() -> None:
        x, *rest = to_jitcore((sample.input, *sample.args), False)
        compare(finish_ours(getattr(x, method.__name__)(*rest, **to_jitcore(sample.kwargs, False))), theirs, random)

    def compare_in_place() -> None:
        target = sample.input.detach().clone()
        plain = _detached(sample.args), _detached(sample.kwargs)
        x, *rest = to_jitcore((target, *plain[0]), False)
        expected = in_place(target, *plain[0], **plain[1])
        ours = rebound(in_place) if in_place.__name__ == "<lambda>" else getattr(x, in_place.__name__)
        given_x = (x,) if in_place.__name__ == "<lambda>" else ()
        compare(ours(*given_x, *rest, **to_jitcore(plain[1], False)), expected, random)
        compare(x, target, random)

    if method is not None and hasattr(torch.Tensor, getattr(method, "__name__", "?")):
        yield "method", compare_method
    if in_place is not None and not sample.broadcasts_input and hasattr(in_place, "__name__"):
        try:
            in_place(sample.input.detach().clone(), *_detached(sample.args), **_detached(sample.kwargs))
        except (RuntimeError, TypeError):
            return  # PyTorch refuses this sample in place
        yield "in place", compare_in_place


def _detached(structure: Any) -> Any:
    if isinstance(structure, torch.Tensor):
        return structure.detach()
    if isinstance(structure, tuple | list):
        return type(structure)(_detached(part) for part in structure)
    return {n: _detached(p) for n, p in structure.items()} if isinstance(structure, dict) else structure


def compare(ours: Any, theirs: Any, random: bool = False) -> None:
    """Raises Wrong where structure, dtype, shape or (unless `random`) values differ."""
    if isinstance(theirs, torch.Tensor):
        if not isinstance(ours, jitcore.Tensor):
            raise Wrong(f"{type(ours).__name__} where a Tensor was expected")
        ours_dtype, dtype = str(ours.dtype).rpartition(".")[2], str(theirs.dtype).rpartition(".")[2]
        if ours_dtype != dtype:
            raise Wrong(f"dtype {ours_dtype}, expected {dtype}")
        if tuple(ours.shape) != tuple(theirs.shape):
            raise Wrong(f"shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}")
        if not random:
            _compare_arrays(_array(ours), to_numpy(theirs), dtype)
    elif isinstance(theirs, tuple | list):
        if len(ours) != len(theirs):
            raise Wrong(f"{len(ours)} results, expected {len(theirs)}")
        for a, b in zip(ours, theirs):
            compare(a, b, random)
    elif isinstance(theirs, torch.dtype | torch.device):
        if str(ours).rpartition(".")[2] != str(theirs).rpartition(".")[2]:
            raise Wrong(f"{ours}, expected {theirs}")
    elif isinstance(theirs, bool | int | str) or theirs is None:
        if not random and ours != theirs:
            raise Wrong(f"{ours!r}, expected {theirs!r}")
    elif isinstance(theirs, float | complex):
        _compare_arrays(np.asarray(ours), np.asarray(theirs), "float32")


def compare_each(results: Iterable[Any], theirs: Any) -> None:
    """Raises Wrong where one of several results of the same call differs."""
    for result in results:
        compare(result, theirs)


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy()


def _compare_arrays(ours: np.ndarray, theirs: np.ndarray, dtype: str) -> None:
    if dtype not in RELATIVE:
        if not np.array_equal(ours, theirs):
            raise Wrong(f"values differ: {_first(ours, theirs, ours != theirs)}")
        return
    wide = np.complex128 if np.iscomplexobj(theirs) else np.float64
    ours, theirs = ours.astype(wide), theirs.astype(wide)
    finite = np.isfinite(theirs)
    scale = float(np.abs(theirs[finite]).max(initial=0.0))
    tolerance = RELATIVE[dtype]
    with np.errstate(all="ignore"):
        near = np.abs(ours - theirs) <= tolerance * np.abs(theirs) + tolerance * min(max(scale, 0.02), 1.0)
    same = near | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    if not same.all():
        raise Wrong(f"values differ: {_first(ours, theirs, ~same)}")


def _first(ours: np.ndarray, theirs: np.ndarray, differs: np.ndarray) -> str:
    where = tuple(int(i) for i in np.argwhere(np.atleast_1d(differs))[0]) if differs.ndim else ()
    pick = where if differs.ndim else ()
    return f"{ours[pick]} at {where}, expected {theirs[pick]} ({int(differs.sum())} of {differs.size})"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and torch.equal(torch.nan_to_num(a.detach()), torch.nan_to_num(b.detach()))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return True


def compare_gradients(ours: Any, theirs: Any, ours_given: Any, given: Any, second: bool) -> None:
    """First gradients (and, with `second`, gradients of their sum of squares) with respect to every input."""
    results = [t for t in tensors(theirs, torch.Tensor) if t.requires_grad]
    ours_results = [t for t in tensors(ours, jitcore.Tensor) if t.requires_grad]
    if len(results) != len(ours_results):
        raise Wrong(f"{len(ours_results)} results require grad, expected {len(results)}")
    inputs = [t for t in tensors(given, torch.Tensor) if t.requires_grad]
    ours_inputs = [t for t in tensors(ours_given, jitcore.Tensor) if t.requires_grad]
    if not results or not inputs:
        return
    directions = [torch.randn(t.shape, dtype=t.dtype) for t in results]
    expected = torch.autograd.grad(results, inputs, directions, allow_unused=True, create_graph=second)
    found = jitcore.autograd.grad(
        ours_results, ours_inputs, to_jitcore(directions), allow_unused=True, create_graph=second
    )
    _compare_lists(found, expected, "gradient")
    again = [(a, b) for a, b in zip(found, expected) if b is not None and b.requires_grad]
    if not second or not again:
        return
    kept = [(a, b) for a, b in again if a is not None and a.requires_grad]
    directions = [torch.randn(b.shape, dtype=b.dtype) for _, b in kept]
    if len(kept) < len(again):  # PyTorch's may require grad and not depend on anything
        rest = [b for a, b in again if a is None or not a.requires_grad]
        slopes = torch.autograd.grad(
            rest, inputs, [torch.ones_like(b) for b in rest], allow_unused=True, retain_graph=True
        )
        _compare_lists([None] * len(slopes), slopes, "second gradient")
    if not kept:
        return
    expected = torch.autograd.grad([b for _, b in kept], inputs, directions, allow_unused=True)
    found = jitcore.autograd.grad([a for a, _ in kept], ours_inputs, to_jitcore(directions), allow_unused=True)
    _compare_lists(found, expected, "second gradient")


def compare_wide(entry: Any, finish: Callable, sample: Any, ours: Any, ours_given: Any, differentiable: bool) -> None:
    """Results and their gradients against PyTorch's in a wider dtype: where PyTorch rounds at every step of a
    function, its own results are worse than ours."""
    wide = sample.transform(lambda x: _widened(x) if isinstance(x, torch.Tensor) else x)
    theirs = finish(entry.op(wide.input, *wide.args, **wide.kwargs))
    _compare_rounded(tensors(ours, jitcore.Tensor), tensors(theirs, torch.Tensor))
    results = [t for t in tensors(theirs, torch.Tensor) if t.requires_grad]
    inputs = [t for t in tensors((wide.input, wide.args, wide.kwargs), torch.Tensor) if t.requires_grad]
    ours_results = [t for t in tensors(ours, jitcore.Tensor) if t.requires_grad]
    ours_inputs = [t for t in tensors(ours_given, jitcore.Tensor) if t.requires_grad]
    if not differentiable or not results or not inputs:
        return
    directions = [torch.randn(t.shape, dtype=torch.bfloat16).to(t.dtype) for t in results]  # exact in either dtype
    expected = torch.autograd.grad(results, inputs, directions, allow_unused=True)
    given = [to_jitcore(d).to(t.dtype) for d, t in zip(directions, ours_results)]
    found = jitcore.autograd.grad(ours_results, ours_inputs, given, allow_unused=True)
    pairs = [(a, b) for a, b in zip(found, expected) if a is not None and b is not None]
    _compare_rounded([a for a, _ in pairs], [b for _, b in pairs])


def _widened(x: torch.Tensor) -> torch.Tensor:
    return x.detach().to(WIDER[x.dtype]).requires_grad_(x.requires_grad) if x.dtype in WIDER else x


def _compare_rounded(ours: Sequence[Any], theirs: Sequence[torch.Tensor]) -> None:
    if len(ours) != len(theirs):
        raise Wrong(f"{len(ours)} results, expected {len(theirs)}")
    for a, b in zip(ours, theirs):
        if tuple(a.shape) != tuple(b.shape):
            raise Wrong(f"shape {tuple(a.shape)}, expected {tuple(b.shape)}")
        _compare_arrays(_array(a), to_numpy(b), str(a.dtype).rpartition(".")[2])


def _compare_lists(found: Any, expected: Any, what: str) -> None:
    """A gradient of None is one of zero."""
    for number, (a, b) in enumerate(zip(found, expected)):
        if a is None and b is None:
            continue
        if a is None or b is None:
            value = (b if a is None else a).detach()
            if bool((value != 0).any()):
                raise Wrong(f"{what} {number} is {'None' if a is None else 'a tensor'}, and it is not zero")
            continue
        try:
            compare(a, b)
        except Wrong as error:
            raise Wrong(f"{what} {number}: {error}") from None


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _describe(sample: Any) -> str:
    def show(x: Any) -> str:
        if isinstance(x, torch.Tensor):
            return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}" + ("" if x.is_contiguous() else " strided")
        if isinstance(x, tuple | list):
            return f"({', '.join(map(show, x))})"
        return getattr(x, "__name__", None) or repr(x)

    arguments = [show(x) for x in (sample.input, *sample.args)] + [f"{n}={show(x)}" for n, x in sample.kwargs.items()]
    return f"called with ({', '.join(arguments)})"
