"""Training programs that test_exact runs, here and in processes with other numbers of threads.

`python exact_programs.py` prints, for each program, a digest of what eager, compiled and interpreted training leave.
"""

import hashlib
import sys

import numpy as np

import jitcore
import jitcore.nn.functional as F
from jitcore import nn, optim
from jitcore_runtime.kernels.floating import fix_order


class MLP(nn.Module):
    """Dropout, a scalar parameter, and layers large enough for several threads."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(50, 257), nn.ReLU(), nn.Dropout(0.3), nn.Linear(257, 96), nn.GELU(), nn.LayerNorm(96),
            nn.Linear(96, 5),
        )  # fmt: skip
        self.temperature = nn.Parameter(jitcore.tensor(1.5))

    def forward(self, x, labels):
        return F.cross_entropy(self.layers(x) * self.temperature, labels)


class Line(nn.Module):
    """One matrix, one vector and one number to learn: for optimizers."""

    def __init__(self):
        super().__init__()
        self.line, self.gain = nn.Linear(9, 5), nn.Parameter(jitcore.tensor(1.5))

    def forward(self, x, wanted):
        return F.mse_loss(self.line(x) * self.gain, wanted)


class GPT(nn.Module):
    def __init__(self, words=31, width=24, heads=3, length=11):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop, self.heads = nn.Dropout(0.1), heads

    def forward(self, x, following):
        batch, length = x.shape
        h = self.words(x) + self.places(jitcore.arange(length))
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.qkv(self.before(h)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, -1)
        h = h + self.drop(self.mix(mixed))
        h = h + self.drop(self.down(F.gelu(self.up(self.between(h)))))
        return F.cross_entropy((h @ self.words.weight.T).flatten(0, 1), following.flatten())


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, stride=2, groups=2), nn.BatchNorm2d(12), nn.SiLU(), nn.AvgPool2d(2, 1), nn.Flatten(),
            nn.Linear(48, 7),
        )  # fmt: skip

    def forward(self, x, labels):
        return F.cross_entropy(self.layers(x), labels, label_smoothing=0.1)


class Recurrent(nn.Module):
    """Long enough for loops where these are no less exact."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.out = nn.LSTM(6, 9, batch_first=True), nn.GRU(9, 5), nn.Linear(5, 3)

    def forward(self, x, wanted):
        return F.mse_loss(jitcore.tanh(self.out(self.gru(self.lstm(x)[0])[0])), wanted)


def _floats(generator, *shape):
    return jitcore.tensor(generator.standard_normal(shape).astype(np.float32))


def _labels(generator, count, *shape):
    return jitcore.tensor(generator.integers(0, count, shape))


def _mlp_batch(g):
    return _floats(g, 50, 128).T, _labels(g, 5, 128)  # columns side by side


PROGRAMS = {
    "mlp": (MLP, _mlp_batch, lambda p: optim.AdamW(p, lr=3e-3, weight_decay=0.02)),
    "gpt": (GPT, lambda g: (_labels(g, 31, 3, 11), _labels(g, 31, 3, 11)), lambda p: optim.AdamW(p, lr=1e-2)),
    "cnn": (
        CNN,
        lambda g: (_floats(g, 5, 3, 14, 14), _labels(g, 7, 5)),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    ),
    "line": (Line, lambda g: (_floats(g, 6, 9), _floats(g, 6, 5)), lambda p: optim.Adam(p, lr=1e-2)),
    "recurrent": (Recurrent, lambda g: (_floats(g, 9, 4, 6), _floats(g, 9, 4, 3)), lambda p: optim.NAdam(p, lr=1e-2)),
}


def train(name, steps=4, optimizer=None, **options):
    """Bytes of everything that training leaves: losses, parameters, gradients, buffers, optimizer state. With options,
    the step is jitted with them."""
    fix_order()
    jitcore.manual_seed(0)
    make, batch, usual = PROGRAMS[name]
    model = make()
    updates = (optimizer or usual)(model.parameters())
    generator = np.random.default_rng(1)
    batches = [batch(generator) for _ in range(steps)]

    def step(x, y):
        updates.zero_grad()
        loss = model(x, y)
        loss.backward()
        updates.step()
        return loss.detach()

    run = jitcore.jit(step, **options) if options else step
    left = {f"loss {i}": run(*given) for i, given in enumerate(batches)}
    if options:
        assert run._eager_calls == 0, run.explain()
    left |= dict(model.named_parameters()) | dict(model.named_buffers())
    left |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    left |= {f"{k} of {i}": v for i, entries in enumerate(updates.state.values()) for k, v in entries.items()}
    return {key: value.detach().numpy().tobytes() for key, value in left.items()}


def digest(parts):
    return hashlib.sha256(b"".join(parts.values())).hexdigest()


if __name__ == "__main__":
    for name in sys.argv[1:] or PROGRAMS:
        ways = [train(name), train(name, exact=True), train(name, exact=True, native=False)]
        print(name, *map(digest, ways))
