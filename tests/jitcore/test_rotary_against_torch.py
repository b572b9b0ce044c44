"""Rotary embeddings as language models write them, with polar and view_as_complex: training, jit and export."""

import numpy as np
import pytest
import torch

import jitcore
import jitcore_runtime

HEADS, WIDTH, LENGTH = 2, 8, 12


def model(lib):
    nn, F = lib.nn, lib.nn.functional

    def precompute_freqs_cis(dim, end, theta=10000.0):
        freqs = 1.0 / (theta ** (lib.arange(0, dim, 2)[: (dim // 2)].float() / dim))
        t = lib.arange(end, device=freqs.device, dtype=lib.float32)
        freqs = lib.outer(t, freqs)
        return lib.polar(lib.ones_like(freqs), freqs)

    def apply_rotary_emb(xq, xk, freqs_cis):
        xq_ = lib.view_as_complex(xq.float().reshape(*xq.shape[:-1], -1, 2))
        xk_ = lib.view_as_complex(xk.float().reshape(*xk.shape[:-1], -1, 2))
        freqs_cis = freqs_cis.view(1, xq_.shape[1], 1, xq_.shape[-1])
        xq_out = lib.view_as_real(xq_ * freqs_cis).flatten(3)
        xk_out = lib.view_as_real(xk_ * freqs_cis).flatten(3)
        return xq_out.type_as(xq), xk_out.type_as(xk)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH, bias=False)
            self.out = nn.Linear(HEADS * WIDTH, HEADS * WIDTH, bias=False)
            self.register_buffer("freqs_cis", precompute_freqs_cis(WIDTH, LENGTH), persistent=False)

        def forward(self, x):
            batch, length, _ = x.shape
            q, k, v = self.qkv(x).view(batch, length, 3, HEADS, WIDTH).unbind(2)
            q, k = apply_rotary_emb(q, k, self.freqs_cis[:length])
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(batch, length, -1))

    return Attention()


def pair():
    """The same model in PyTorch and in jitcore."""
    torch.manual_seed(0)
    theirs, ours = model(torch), model(jitcore)
    ours.load_state_dict({k: jitcore.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def losses(lib, layer, compiled=False):
    x, y = lib.tensor(data(3, 7, HEADS * WIDTH)), lib.tensor(data(3, 7, HEADS * WIDTH, seed=1))
    optimizer = lib.optim.AdamW(layer.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        loss = ((layer(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    step = jitcore.jit(step) if compiled else step
    return [step().item() for _ in range(8)]


@pytest.mark.parametrize("compiled", [False, True])
def test_rotary_attention_trains_as_in_pytorch(compiled):
    ours, theirs = pair()
    np.testing.assert_allclose(losses(jitcore, ours, compiled), losses(torch, theirs), rtol=1e-4)


def test_rotary_attention_is_exported_for_any_length(tmp_path):
    ours, theirs = pair()
    jitcore.export(ours, tmp_path / "model.jca", {"x": f"float32[B,T,{HEADS * WIDTH}]"})
    for native in (True, False):
        loaded = jitcore_runtime.load(tmp_path / "model.jca", native=native)
        assert loaded.is_native is native
        for shape in ((1, 1), (2, 5), (3, LENGTH)):
            x = data(*shape, HEADS * WIDTH)
            np.testing.assert_allclose(loaded(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_rotary_in_bfloat16():
    ours, theirs = pair()
    x = data(2, 5, HEADS * WIDTH)
    a, b = (lib.tensor(x).bfloat16() for lib in (jitcore, torch))
    for made in (ours.bfloat16(), jitcore.jit(ours.bfloat16())):
        for _ in range(2):
            got = made(a).float().detach().numpy()
            np.testing.assert_allclose(got, theirs.bfloat16()(b).float().detach().numpy(), rtol=0.05, atol=0.02)
