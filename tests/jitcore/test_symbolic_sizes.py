"""Operations recorded with symbolic sizes: nothing is pinned, and the graph gives eager's answers at other sizes."""

import numpy as np
import pytest
from symbolic_runs import SymbolicRun

import jitcore
from jitcore.nn import functional as F
from jitcore_ir import ops

CALLS = {
    "reshape": lambda x: x.reshape(-1, 4).reshape(x.shape),
    "flatten": lambda x: x.flatten().sum(),
    "flatten features": lambda x: x.flatten(1) @ jitcore.ones(12, 2),
    "mean": lambda x: x.mean(0) + x.mean(),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "batch_norm with statistics": lambda x: F.batch_norm(x, jitcore.zeros(3), jitcore.ones(3), training=True),
    "instance_norm": lambda x: F.instance_norm(x, jitcore.zeros(3), jitcore.ones(3)),
    "interpolate": lambda x: F.interpolate(x.transpose(0, 2), scale_factor=2),
    "block_diag": lambda x: jitcore.block_diag(x[0], x[:, 0]),
    "softmax": lambda x: x.softmax(-1),
    "softmax over the symbol": lambda x: x.softmax(0) * x.log_softmax(0),
    "linear": lambda x: F.linear(x, jitcore.ones(5, 4), jitcore.ones(5)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "causal attention over the symbol": lambda x: F.scaled_dot_product_attention(
        *[x.transpose(0, 1)] * 3, is_causal=True
    ),
    "conv": lambda x: F.max_pool1d(F.conv1d(x, jitcore.ones(2, 3, 3), padding=1), 2).mean((1, 2)),
    "conv over the symbol": lambda x: F.conv1d(x.transpose(0, 2), jitcore.ones(2, 3, 3), padding=1, stride=2),
    "transposed conv": lambda x: F.conv_transpose1d(x.transpose(0, 2), jitcore.ones(3, 2, 4), stride=2, padding=1),
    "max_pool over the symbol": lambda x: F.max_pool1d(x.transpose(0, 2), 2, ceil_mode=True),
    "cat": lambda x: jitcore.cat([x, x], 1)[:, 1:4],
    "cat of the symbol": lambda x: jitcore.cat([x, x[:2], x.flip(0)]),
    "indexing": lambda x: x[:, -1, ::2] + x[:, 0, None, 1],
    "slices of the symbol": lambda x: x[1:] - x[:-1],
    "last of the symbol": lambda x: x[-1] * x[-2:].sum(),
    "broadcast": lambda x: x * jitcore.ones(3, 1) + x.mean((1, 2), keepdim=True),
    "zeros_like": lambda x: jitcore.zeros_like(x) + x.new_zeros(x.shape[0], 1, 1) + jitcore.ones(x.size(0), 3, 4),
    "cross_entropy": lambda x: F.cross_entropy(x.flatten(1), x.argmax(-1)[:, 0]),
    "smoothed cross_entropy": lambda x: F.cross_entropy(x.flatten(1), x.argmax(-1)[:, 0], label_smoothing=0.1),
    "losses": lambda x: F.mse_loss(x, x * 2) + F.l1_loss(x, x * 2) + F.binary_cross_entropy_with_logits(x, x.sigmoid()),
    "gather": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "scatter": lambda x: jitcore.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0) * x,
    "embedding": lambda x: F.embedding(x.argmax(-1), jitcore.ones(4, 6)),
    "var": lambda x: x.var(0) + x.std() + x.var((0, 1), correction=0),
    "tril": lambda x: x.transpose(0, 2).tril(),
    "expand": lambda x: x.mean(1, keepdim=True).expand(-1, 5, -1),
    "norm": lambda x: F.normalize(x, dim=-1) + F.rms_norm(x, (4,)) + F.group_norm(x, 3),
    "vector norms": lambda x: x.norm() + jitcore.linalg.vector_norm(x, float("inf")) + x.norm(1, 0).sum(),
    "repeat": lambda x: x.repeat(1, 2, 1).sum(1) + x.repeat_interleave(2, 1).sum(1),
    "tile the symbol": lambda x: x.repeat(2, 1, 1),
    "one_hot": lambda x: F.one_hot(x.argmax(-1), 4),
    "einsum": lambda x: jitcore.einsum("bij,bkj->bik", x, x),
    "einsum over the symbol": lambda x: jitcore.einsum("bij,bkj->ik", x, x),
    "tensordot": lambda x: jitcore.tensordot(x, x, ([0, 1], [0, 1])),
    "pad": lambda x: F.pad(x, (1, 1)),
    "chunk": lambda x: x.chunk(2, -1)[0] + x.split(2, -1)[1] + x.unbind(1)[0].unsqueeze(1)[..., :2],
    "chunk of the symbol": lambda x: x.chunk(2)[0].sum() - x.chunk(2)[1].sum(),
    "setitem": lambda x: (lambda y: [y.__setitem__((slice(None), 0), 1.0), y][1])(x * 2),
    "in place": lambda x: (lambda y: y.mul_(2).add_(x))(x.clone()),
    "stack": lambda x: jitcore.stack([x, x], 1).movedim(1, -1),
    "arange": lambda x: jitcore.arange(x.shape[0]) * 2,
    "positions": lambda x: F.embedding(jitcore.arange(x.size(0)) % 5, jitcore.rand(5, 3, 4)) + x,
    "size as operand": lambda x: x * x.shape[0] / x.numel(),
    "pooling": lambda x: F.adaptive_avg_pool1d(x, 1) + F.avg_pool1d(x, 2, 2).sum(),
    "pooling the symbol": lambda x: F.adaptive_avg_pool1d(x.transpose(0, 2), 1),
    "sort": lambda x: x.sort(0).values + x.argsort(0),
    "topk": lambda x: x.topk(2, 0).values,
    "cumsum": lambda x: x.cumsum(0) + x.cumprod(0),
    "roll": lambda x: x.roll(1, 0) + x.flip(0),
    "any and all": lambda x: (x > 0.5).any(0) & (x > 0).all(0),
    "max": lambda x: x.max(0).values + x.amax(0) + x.max(),
    "prod": lambda x: x.prod(0),
    "unfold": lambda x: x.unfold(0, 2, 1).sum(-1),
    "diff": lambda x: x.diff(dim=0),
    "fft": lambda x: jitcore.fft.rfft(x, dim=0).abs(),
    "linalg": lambda x: jitcore.linalg.det(x @ x.transpose(1, 2) + jitcore.eye(3)),
    "meshgrid": lambda x: jitcore.meshgrid(x[:, 0, 0], x[:, 1, 0], indexing="ij")[0],
    "outer": lambda x: jitcore.outer(x[:, 0, 0], x[:, 1, 0]),
    "where": lambda x: jitcore.where(x > x.mean(0), x, 0.0).nan_to_num(),
    "masked_fill": lambda x: x.masked_fill(x > 0.5, -1.0),
    "dropout": lambda x: F.dropout(x, 0.5) * 0 + F.dropout(x, 0.0),
    "kv heads": lambda x: x.view(x.size(0), 3, 2, 2).transpose(1, 2).contiguous().view(x.size(0), 2, -1),
    "glu": lambda x: F.glu(x, -1),
    "take_along_dim": lambda x: jitcore.take_along_dim(x, x.argsort(0), 0),
    "masks as indices": lambda x: x[:, jitcore.tensor([0, 2])][:, :, jitcore.tensor([1, 3])],
}


def value_and_gradient(call):
    def run(x):
        x = x.detach().requires_grad_()
        y = call(x)
        if not y.requires_grad:
            return [y]
        (y * y).sum().backward()
        return [y.detach(), x.grad]

    return run


def numbers(results):
    return [np.array(r._array if isinstance(r, jitcore.Tensor) else r) for r in results]


@pytest.mark.parametrize("name", CALLS)
def test_a_recording_with_a_symbol_holds_for_other_sizes(name):
    function = value_and_gradient(CALLS[name])
    held = 0
    for recorded in (6, 1, 3):
        jitcore.manual_seed(0)
        example = jitcore.rand(recorded, 3, 4)
        try:
            function(example)
        except (RuntimeError, IndexError, ValueError):
            assert recorded == 1  # too small for this call
            continue
        jitcore.manual_seed(0)
        run = SymbolicRun(function, [jitcore.rand(recorded, 3, 4)], [("N", 3, 4)])
        assert not run.replaced, (recorded, run.replaced)
        for size in (2, 1, 7, 5, 0):
            x = jitcore.rand(size, 3, 4)
            given = run.run(x)
            jitcore.manual_seed(0)
            if name == "positions":
                jitcore.rand(recorded, 3, 4)
            try:
                expected = numbers(function(x))
            except (RuntimeError, IndexError, ValueError):
                assert given is None, (recorded, size, run.guards)
                continue
            if given is None:
                continue
            held += size > 1
            for a, b in zip(given, expected, strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype, (recorded, size)
                if name != "positions":
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=f"{recorded} -> {size}")
    assert held >= 5


def test_sizes_reach_the_graph_as_size_operations():
    run = SymbolicRun(lambda x: x.mean(0), [jitcore.rand(7, 3)], [("N", 3)])
    assert ops.SIZE in [operation.spec for operation in run.recorder.graph.operations]
