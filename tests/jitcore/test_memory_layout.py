"""Results lie row by row in memory where PyTorch's do, so that `view` works on them as there."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import jitcore
import jitcore.nn.functional as JF

A = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
ORDERS = [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3), (0, 1, 3, 2), (2, 0, 1, 3)]


def gradient_of_weight(t, F, x):
    w = t.ones(7, x.shape[-1], dtype=x.dtype, requires_grad=True)
    return t.autograd.grad(F.linear(x, w).pow(2).sum(), w)[0]


OPERATIONS = {
    "cat": lambda t, F, x: t.cat([x, x], 1),
    "stack": lambda t, F, x: t.stack([x, x], 1),
    "sum0": lambda t, F, x: x.sum(0),
    "sum-1": lambda t, F, x: x.sum(-1),
    "sumkeep": lambda t, F, x: x.sum(1, keepdim=True),
    "mean12": lambda t, F, x: x.mean((1, 2)),
    "amax": lambda t, F, x: x.amax(1),
    "max": lambda t, F, x: x.max(1)[0],
    "argmax": lambda t, F, x: x.argmax(1),
    "softmax": lambda t, F, x: x.softmax(1),
    "logsoftmax": lambda t, F, x: x.log_softmax(-1),
    "cumsum": lambda t, F, x: x.cumsum(1),
    "exp": lambda t, F, x: x.exp(),
    "add": lambda t, F, x: x + x,
    "addb": lambda t, F, x: x + t.ones(x.shape[-1], dtype=x.dtype),
    "matmul": lambda t, F, x: x @ x.transpose(-1, -2),
    "bmm": lambda t, F, x: t.bmm(x[0], x[0].transpose(1, 2)),
    "linear": lambda t, F, x: F.linear(x, t.ones(7, x.shape[-1], dtype=x.dtype)),
    "einsum": lambda t, F, x: t.einsum("abcd,abce->abde", x, x),
    "idx": lambda t, F, x: x[[0, 1]],
    "idx1": lambda t, F, x: x[:, [0, 1]],
    "idxmid": lambda t, F, x: x[:, [0, 1], :, [0, 1]],
    "mask": lambda t, F, x: x[x > 0],
    "index_select": lambda t, F, x: x.index_select(1, t.tensor([0, 1])),
    "gather": lambda t, F, x: x.gather(1, t.zeros(x.shape, dtype=t.long)),
    "take_along": lambda t, F, x: t.take_along_dim(x, x.argsort(1), 1),
    "sort": lambda t, F, x: x.sort(1)[0],
    "argsort": lambda t, F, x: x.argsort(1),
    "topk": lambda t, F, x: x.topk(2, 1)[0],
    "flip": lambda t, F, x: x.flip(1),
    "roll": lambda t, F, x: x.roll(1, 1),
    "tril": lambda t, F, x: x.tril(),
    "where": lambda t, F, x: t.where(x > 0, x, x * 2),
    "masked_fill": lambda t, F, x: x.masked_fill(x > 0, 0.0),
    "clamp": lambda t, F, x: x.clamp(min=0),
    "relu": lambda t, F, x: F.relu(x),
    "gelu": lambda t, F, x: F.gelu(x),
    "layer_norm": lambda t, F, x: F.layer_norm(x, x.shape[-1:]),
    "group_norm": lambda t, F, x: F.group_norm(x, 1),
    "batch_norm": lambda t, F, x: F.batch_norm(x, None, None, training=True),
    "conv2d": lambda t, F, x: F.conv2d(x, t.ones(2, x.shape[1], 1, 1, dtype=x.dtype)),
    "max_pool": lambda t, F, x: F.max_pool2d(x, 2),
    "avg_pool": lambda t, F, x: F.avg_pool2d(x, 2),
    "adapt": lambda t, F, x: F.adaptive_avg_pool2d(x, 1),
    "interp": lambda t, F, x: F.interpolate(x, scale_factor=2),
    "interpb": lambda t, F, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "pad": lambda t, F, x: F.pad(x, (1, 1)),
    "padr": lambda t, F, x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "clone": lambda t, F, x: x.clone(),
    "float": lambda t, F, x: x.float(),
    "repeat": lambda t, F, x: x.repeat(1, 2, 1, 1),
    "repint": lambda t, F, x: x.repeat_interleave(2, 1),
    "tile": lambda t, F, x: x.tile(2),
    "chunk": lambda t, F, x: x.chunk(2, 1)[0],
    "scatter": lambda t, F, x: x.scatter(1, t.zeros(x.shape, dtype=t.long), 1.0),
    "index_add": lambda t, F, x: x.index_add(0, t.tensor([0]), x[:1]),
    "norm": lambda t, F, x: x.norm(dim=1),
    "var": lambda t, F, x: x.var(1),
    "std": lambda t, F, x: x.std((1, 2)),
    "pow": lambda t, F, x: x**2,
    "logsumexp": lambda t, F, x: x.logsumexp(1),
    "prod": lambda t, F, x: x.prod(1),
    "any": lambda t, F, x: (x > 0).any(1),
    "unfold": lambda t, F, x: F.unfold(x, 2),
    "embedding": lambda t, F, x: F.embedding(t.zeros(2, 3, dtype=t.long).t(), x.reshape(-1, 5)),
    "onehot": lambda t, F, x: F.one_hot(t.zeros(2, 3, dtype=t.long).t(), 4),
    "normalize": lambda t, F, x: F.normalize(x, dim=1),
    "sdpa": lambda t, F, x: F.scaled_dot_product_attention(x, x, x),
    "fft": lambda t, F, x: t.fft.fft(x, dim=1),
    "rfft": lambda t, F, x: t.fft.rfft(x, dim=1),
    "irfft": lambda t, F, x: t.fft.irfft(t.fft.rfft(x, dim=1), dim=1),
    "inv": lambda t, F, x: t.linalg.inv(x @ x.transpose(-1, -2) + t.eye(x.shape[-2], dtype=x.dtype)),
    "chol": lambda t, F, x: t.linalg.cholesky(x @ x.transpose(-1, -2) + 9 * t.eye(x.shape[-2], dtype=x.dtype)),
    "solve": lambda t, F, x: t.linalg.solve(x @ x.transpose(-1, -2) + 9 * t.eye(x.shape[-2], dtype=x.dtype), x),
    "cdist": lambda t, F, x: t.cdist(x, x),
    "glu": lambda t, F, x: F.silu(x),
    "cumprod": lambda t, F, x: x.cumprod(2),
    "diff": lambda t, F, x: x.diff(dim=1),
    "lerp": lambda t, F, x: t.lerp(x, x, 0.5),
    "quantile": lambda t, F, x: x.quantile(0.5, dim=1),
    "median": lambda t, F, x: x.median(1)[0],
    "nan_to_num": lambda t, F, x: x.nan_to_num(),
    "view_as_complex": lambda t, F, x: t.view_as_complex(x.reshape(-1, 2)),
    "addmm": lambda t, F, x: t.addmm(x[0, 0], x[0, 0], t.eye(x.shape[-1], dtype=x.dtype)),
    "mm": lambda t, F, x: x[0, 0].mm(x[0, 0].t()),
    "gradient of a weight": gradient_of_weight,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPERATIONS)
def test_contiguous_where_pytorchs_result_is(name):
    for order in ORDERS:
        try:
            theirs = OPERATIONS[name](torch, TF, torch.tensor(A).permute(order))
        except RuntimeError:
            continue
        ours = OPERATIONS[name](jitcore, JF, jitcore.tensor(A).permute(order))
        assert ours.is_contiguous() or not theirs.is_contiguous(), order
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 1e-9, 1e-9)
