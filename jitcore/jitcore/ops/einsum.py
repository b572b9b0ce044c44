"""einsum, pair by pair: each step is one batched matrix product over the labels two operands share.

For three operands and more, `opt_einsum` chooses the pairs from the sizes.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..tensor import Tensor, shape_of
from .autocasting import in_low_precision
from .matrix import matmul
from .movement import expand, permute, product, reshape


@in_low_precision
def einsum(*args: Any) -> Tensor:
    """Sum of products by labels: `einsum("bik,bkj->bij", x, y)`. `...` stands for any leading dimensions.

    In the other form each operand is followed by its labels as numbers below 52 (and `...`), the result's come last:
    `einsum(x, [0, 1, 2], y, [0, 2, 3], [0, 1, 3])`.

    Without `->` the result has the labels that occur once, in alphabetical order. Raises RuntimeError where labels,
    operands and sizes do not agree.
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    equation, operands = (args[0], args[1:]) if isinstance(args[0], str) else _from_sublists(args)
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    inputs, output = _parse(equation, operands)
    sizes: dict[str, Any] = {}
    tensors: list[tuple[str, Tensor]] = []
    for labels, x in zip(inputs, operands):
        labels, x = _diagonals(labels, x)
        for label, n, number in zip(labels, shape_of(x), x._array.shape):
            known = sizes.get(label)
            if known is None or known[1] == 1:
                sizes[label] = (n, number)
            elif number != 1 and number != known[1]:
                raise RuntimeError(
                    f"einsum(): operands do not broadcast with remapped shapes: label {label!r} is "
                    f"{known[1]} in one operand "
                    f"and {number} in another ({equation!r})"
                )
        tensors.append((labels, x))
    for label in output:
        if output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in sizes:
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input operand"
            )
    for step in _path(tensors, output):
        parts = [tensors.pop(position) for position in sorted(step, reverse=True)][::-1]
        later = set(output).union(*[set(names) for names, _ in tensors])
        labels, x = parts[0]
        for number, (other_labels, y) in enumerate(parts[1:], 2):
            needed = later.union(*[set(names) for names, _ in parts[number:]])
            labels, x = _contract(labels, x, other_labels, y, needed)
        tensors.append((labels, x))
    labels, x = tensors[0]
    gone = [a for a, label in enumerate(labels) if label not in output]
    if gone:
        x = x.sum(gone)
        labels = "".join(label for label in labels if label in output)
    return permute(x, [labels.index(label) for label in output]) if labels != output else x


def _path(tensors: Sequence[tuple[str, Tensor]], output: str) -> Sequence[tuple[int, ...]]:
    """Which operands meet in each step; the result of a step goes to the end of the list."""
    if len(tensors) <= 2:
        return [tuple(range(len(tensors)))]
    terms = ",".join(labels for labels, _ in tensors)
    return _best_path(f"{terms}->{output}", tuple([tuple(x._array.shape) for _, x in tensors]))


@lru_cache(maxsize=256)
def _best_path(equation: str, shapes: tuple[tuple[int, ...], ...]) -> Sequence[tuple[int, ...]]:
    import opt_einsum

    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="auto")
    return path


def _from_sublists(args: Sequence[Any]) -> tuple[str, tuple]:
    """The equation for operands that are followed by their labels."""
    *pairs, output = args if len(args) % 2 else (*args, None)
    terms = ",".join(_letters(labels) for labels in pairs[1::2])
    return terms if output is None else f"{terms}->{_letters(output)}", tuple(pairs[::2])


def _letters(labels: Sequence[Any]) -> str:
    letters = string.ascii_uppercase + string.ascii_lowercase
    for label in labels:
        if label is not Ellipsis and not 0 <= label < len(letters):
            raise ValueError(f"einsum(): the label {label} is not within the range [0, 52)")
    return "".join("..." if label is Ellipsis else letters[label] for label in labels)


def _parse(equation: str, operands: tuple) -> tuple[list[str], str]:
    """Labels of each operand and of the result. `...` becomes capital-free private labels, aligned to the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise RuntimeError(
            f"einsum(): the equation {equation!r} names {len(terms)} operands, but {len(operands)} were given"
        )
    widest = 0
    for term, x in zip(terms, operands):
        named = len(term.replace("...", ""))
        if "..." in term:
            widest = max(widest, x._array.ndim - named)
        elif named != x._array.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions "
                f"({x._array.ndim}) for operand {terms.index(term)} and no ellipsis was given"
            )
        if not all(c.isalpha() for c in term.replace("...", "")):
            raise RuntimeError(f"einsum(): invalid subscript given in {term!r}; labels are letters")
    dots = [chr(0x100 + i) for i in range(widest)]
    inputs = []
    for term, x in zip(terms, operands):
        count = x._array.ndim - len(term.replace("...", ""))
        inputs.append(term.replace("...", "".join(dots[widest - count :])))
    if arrow:
        return inputs, right.replace("...", "".join(dots))
    every = "".join(inputs)
    once = sorted(c for c in set(every) if every.count(c) == 1 and c not in dots)
    return inputs, "".join(dots) + "".join(once)


def _diagonals(labels: str, x: Tensor) -> tuple[str, Tensor]:
    """Repeated labels of one operand reduced to their diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            x = x.diagonal(0, a, b)
            labels = "".join(c for i, c in enumerate(labels) if i not in (a, b)) + label
    return labels, x


def _contract(la: str, a: Tensor, lb: str, b: Tensor, later: set[str]) -> tuple[str, Tensor]:
    """One product of two operands, summed over the labels nothing later needs."""
    a, la = _summed(a, la, lb, later)
    b, lb = _summed(b, lb, la, later)
    shared = [c for c in la if c in lb]
    # A shared dimension of size 1 in one operand broadcasts.
    na, nb = dict(zip(la, shape_of(a))), dict(zip(lb, shape_of(b)))
    ia, ib = dict(zip(la, a._array.shape)), dict(zip(lb, b._array.shape))
    for c in shared:
        if ia[c] != ib[c]:
            if ia[c] == 1:
                na[c] = nb[c]
                a = expand(a, [na[label] for label in la])
            else:
                nb[c] = na[c]
                b = expand(b, [nb[label] for label in lb])
    batch = [c for c in shared if c in later]
    inner = [c for c in shared if c not in later]
    rows = [c for c in la if c not in shared]
    columns = [c for c in lb if c not in shared]
    lead = [na[c] for c in batch]
    x = permute(a, [la.index(c) for c in batch + rows + inner])
    y = permute(b, [lb.index(c) for c in batch + inner + columns])
    if not inner:  # an outer product: elementwise
        x = reshape(x, (*lead, *[na[c] for c in rows], *(1,) * len(columns)))
        y = reshape(y, (*lead, *(1,) * len(rows), *[nb[c] for c in columns]))
        return "".join(batch + rows + columns), x * y
    n, k, m = product([na[c] for c in rows]), product([na[c] for c in inner]), product([nb[c] for c in columns])
    z = matmul(reshape(x, (*lead, n, k)), reshape(y, (*lead, k, m)))
    shape = (*lead, *[na[c] for c in rows], *[nb[c] for c in columns])
    return "".join(batch + rows + columns), reshape(z, shape)


def _summed(x: Tensor, labels: str, other: str, later: set[str]) -> tuple[Tensor, str]:
    """x summed over labels that neither the other operand nor anything later has."""
    gone = [i for i, c in enumerate(labels) if c not in other and c not in later]
    if not gone:
        return x, labels
    return x.sum(gone), "".join(c for i, c in enumerate(labels) if i not in gone)
