"""The same module in jitcore and in PyTorch: weights copied over by name, results and gradients compared."""

import numpy as np
import torch
from torch_compare import assert_same, float_tensors, values

import jitcore


def twins(build, seed=0, eval=False, scale=None):
    """build(library) in both libraries with PyTorch's weights, which must load under the same names."""
    torch.manual_seed(seed)
    theirs, ours = build(torch), build(jitcore)
    if scale is not None:  # vectors that start as zeros or ones would hide mistakes
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.add_(torch.randn(parameter.shape) * scale)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({key: jitcore.tensor(values(value).copy()) for key, value in state.items()})
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    return (ours.eval(), theirs.eval()) if eval else (ours, theirs)


def to(library, structure, grads=True):
    """NumPy arrays inside tuples and dicts as tensors; floating ones require grad."""
    if isinstance(structure, np.ndarray):
        made = library.tensor(structure)
        return made.requires_grad_() if grads and structure.dtype.kind == "f" else made
    if isinstance(structure, tuple | list):
        return type(structure)(to(library, part, grads) for part in structure)
    if isinstance(structure, dict):
        return {key: to(library, part, grads) for key, part in structure.items()}
    return structure


def leaves(structure):
    if hasattr(structure, "requires_grad"):
        return [structure]
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    return [t for part in structure for t in leaves(part)] if isinstance(structure, tuple | list) else []


def compare(ours, theirs, *arrays, call=lambda module, *inputs: module(*inputs), tolerance=2e-5, compiled=False):
    """Results and the gradients of inputs and parameters agree, eagerly (and under jit)."""
    inputs, expected_inputs = to(jitcore, arrays), to(torch, arrays)
    result, expected = call(ours, *inputs), call(theirs, *expected_inputs)
    assert_same(plain(result), plain(expected), "result")
    directions = [
        np.random.default_rng(i).uniform(0.5, 1.5, tuple(t.shape)) for i, t in enumerate(float_tensors(plain(expected)))
    ]
    pull(jitcore, result, directions)
    pull(torch, expected, directions)
    pairs = [(f"input {i}", a, b) for i, (a, b) in enumerate(zip(leaves(inputs), leaves(expected_inputs), strict=True))]
    pairs += [(n, a, b) for (n, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True)]
    for name, a, b in pairs:
        assert (a.grad is None) == (b.grad is None), f"gradient of {name}"
        if b.grad is not None:
            scale = max(1.0, float(np.abs(values(b.grad)).max(initial=0)))
            np.testing.assert_allclose(
                values(a.grad), values(b.grad), rtol=10 * tolerance, atol=10 * tolerance * scale, err_msg=name
            )
    if compiled:
        fast = jitcore.jit(lambda *xs: call(ours, *xs))
        with jitcore.no_grad():
            for _ in range(2):
                again = fast(*to(jitcore, arrays, grads=False))
        assert_same(plain(again), plain(expected), "compiled")
        assert "replayed 1 times" in fast.explain(), fast.explain()


def plain(structure):
    return tuple(plain(s) for s in structure) if isinstance(structure, tuple) else structure


def pull(library, result, directions):
    total = 0
    for tensor, direction in zip(float_tensors(plain(result)), directions, strict=True):
        total = total + (tensor * library.tensor(direction, dtype=tensor.dtype)).sum()
    total.backward()
