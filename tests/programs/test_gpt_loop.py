"""A GPT training loop as people write it, jitted as one step: what it may cost and that its losses are eager's."""

import math

import numpy as np
import pytest

import jitcore
import jitcore.nn.functional as F
from jitcore import nn, optim

WIDTH, HEADS, LENGTH, VOCABULARY = 32, 4, 12, 31


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.after = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(self.before(x)).split(C, dim=2)
        q, k, v = (t.view(B, T, HEADS, C // HEADS).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(B, T, C))
        return x + self.mlp(self.after(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.tokens.weight = self.head.weight

    def forward(self, ids, targets):
        x = self.drop(self.tokens(ids) + self.places(jitcore.arange(ids.shape[1])))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def rate(step):
    """Warm-up, then a cosine."""
    return (step + 1) / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step - 4) / 20))


def train(wrap, batches, each=lambda: None):
    """Losses of a run from fixed weights, data and seed; `each` is called after every step."""
    jitcore.manual_seed(3)
    model = GPT()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, rate)

    @wrap
    def step(ids, targets):
        optimizer.zero_grad()
        loss = model(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    losses = []
    for ids, targets in batches:
        losses.append(step(ids, targets))
        schedule.step()
        each()
    return losses, step


def data(sizes):
    generator = np.random.default_rng(0)
    for size in sizes:
        ids = generator.integers(0, VOCABULARY, (size, LENGTH + 1))
        yield jitcore.tensor(ids[:, :-1]), jitcore.tensor(ids[:, 1:])


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(6, 6, 6, 4, 6, 6, 6, 4, 6, 6)])
def test_a_gpt_loop_records_twice_and_makes_one_native_call_a_step(sizes, ran):
    expected, _ = train(lambda step: step, data(sizes))
    counts = []
    ran.clear()
    losses, step = train(jitcore.jit, data(sizes), lambda: (counts.append(len(ran)), ran.clear()))
    np.testing.assert_allclose(losses, expected, rtol=2e-4)
    first = {sizes.index(size) for size in sizes}
    assert counts == [0 if n in first else 1 for n in range(len(sizes))]
    assert sum(len(entry.variants) for entry in step._recordings.entries.values()) <= 2 and step._eager_calls == 0
