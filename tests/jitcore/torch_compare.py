"""Running one expression in jitcore and in PyTorch and comparing what comes out: values, dtypes, gradients."""

import numpy as np
import torch

import jitcore

TOLERANCE = {
    "float64": 1e-10,
    "float32": 2e-5,
    "float16": 2e-3,
    "bfloat16": 2e-2,
    "complex64": 2e-5,
    "complex128": 1e-10,
}


def dtype_name(x):
    return str(x.dtype).rsplit(".", 1)[-1]


def values(x):
    x = x.detach()
    if dtype_name(x) == "bfloat16":
        x = x.float()
    return x.numpy(force=True)


def assert_same(ours, theirs, where=""):
    """Equal structure, dtype, shape and values."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, jitcore.Tensor), f"{where}: {type(ours)}"
        assert dtype_name(ours) == dtype_name(theirs), where
        assert tuple(ours.shape) == tuple(theirs.shape), where
        tolerance = TOLERANCE.get(dtype_name(theirs), 0)
        np.testing.assert_allclose(values(ours), values(theirs), rtol=tolerance, atol=tolerance, err_msg=where)
    elif isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(theirs, float):
        assert abs(ours - theirs) < 1e-5 or ours == theirs or (ours != ours and theirs != theirs), where
    else:
        assert ours == theirs, where


def both(array, requires_grad=False):
    """The same data as a jitcore and a PyTorch tensor."""
    ours, theirs = jitcore.tensor(array), torch.tensor(array)
    if requires_grad and array.dtype.kind == "f":
        ours.requires_grad_(), theirs.requires_grad_()
    return ours, theirs


def float_tensors(structure):
    """The tensors in a result that carry gradient."""
    if hasattr(structure, "requires_grad"):
        return [structure] if structure.requires_grad else []
    return [t for part in structure for t in float_tensors(part)] if isinstance(structure, tuple | list) else []


def check(function, *arrays, grads=2, seed=0):
    """`function(library, *tensors)` gives the same in both, as do its gradients and (`grads` = 2) their gradients.

    Gradients are taken in float64 where the arrays are; the directions are random.
    """
    pairs = [both(a, requires_grad=grads > 0) if isinstance(a, np.ndarray) else (a, a) for a in arrays]
    ours = function(jitcore, *[a for a, _ in pairs])
    theirs = function(torch, *[b for _, b in pairs])
    assert_same(ours, theirs, "result")
    if not grads:
        return
    random = np.random.default_rng(seed)
    out_ours, out_theirs = float_tensors(ours), float_tensors(theirs)
    assert len(out_ours) == len(out_theirs), "which results require grad"
    if not out_theirs:
        return
    directions = [both(random.uniform(0.5, 1.5, tuple(t.shape)).astype(values(t).dtype), True) for t in out_theirs]
    leaves = [p for p in pairs if isinstance(p[0], jitcore.Tensor) and p[0].requires_grad]
    first_ours = jitcore.autograd.grad(
        out_ours, [a for a, _ in leaves], [d for d, _ in directions], create_graph=True, allow_unused=True
    )
    first_theirs = torch.autograd.grad(
        out_theirs, [b for _, b in leaves], [d for _, d in directions], create_graph=True, allow_unused=True
    )
    _same_gradients(first_ours, first_theirs, leaves, "gradient")
    if grads < 2:
        return
    kept = [(a, b) for a, b in zip(first_ours, first_theirs) if b is not None and b.requires_grad]
    if not kept:
        return
    again = [both(random.uniform(0.5, 1.5, tuple(b.shape)).astype(values(b).dtype)) for _, b in kept]
    sources = leaves + directions
    second_ours = (
        jitcore.autograd.grad([a for a, _ in kept], [a for a, _ in sources], [d for d, _ in again], allow_unused=True)
        if all(a.requires_grad for a, _ in kept)
        else [None] * len(sources)
    )
    second_theirs = torch.autograd.grad(
        [b for _, b in kept], [b for _, b in sources], [d for _, d in again], allow_unused=True
    )
    _same_gradients(second_ours, second_theirs, sources, "second gradient")


def _same_gradients(ours, theirs, leaves, where):
    """None and zeros mean the same: some PyTorch formulas give one, some the other."""
    for i, (a, b, leaf) in enumerate(zip(ours, theirs, leaves)):
        a = np.zeros(tuple(leaf[1].shape)) if a is None else values(a)
        b = np.zeros(tuple(leaf[1].shape)) if b is None else values(b)
        tolerance = 10 * TOLERANCE[dtype_name(leaf[1])]
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"{where} {i}")
