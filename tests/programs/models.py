"""Models in PyTorch's idiom, each built from the module it is given: `torch` or `jitcore`."""

import math

import numpy as np


def mlp(torch):
    nn = torch.nn
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 5))


def digit_cnn(torch):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
            self.head = nn.Linear(12 * 2 * 2, 10)

        def forward(self, input):
            x = torch.relu(self.norm(self.first(input)))
            x = nn.functional.max_pool2d(torch.relu(self.second(x)), 2)
            return self.head(x.flatten(1))

    return Net()


def depthwise_cnn(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.SiLU(),
        nn.Conv2d(4, 6, 1),
        nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 9, 3),
    )


def autoencoder(torch):
    nn = torch.nn
    down = nn.Conv2d(2, 6, 3, stride=2, padding=1)
    return nn.Sequential(down, nn.LeakyReLU(0.1), nn.ConvTranspose2d(6, 2, 4, stride=2, padding=1), nn.Sigmoid())


def transformer_block(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, width=24, heads=3):
            super().__init__()
            self.heads = heads
            self.before = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.after = nn.LayerNorm(width)
            self.up = nn.Linear(width, 2 * width)
            self.down = nn.Linear(2 * width, width)

        def forward(self, input):
            batch, length, width = input.shape
            q, k, v = self.qkv(self.before(input)).chunk(3, dim=-1)
            q, k, v = (t.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for t in (q, k, v))
            scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
            y = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(batch, length, width)
            x = input + self.out(y)
            return x + self.down(nn.functional.gelu(self.up(self.after(x))))

    return Block()


def token_classifier(torch):
    nn = torch.nn

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(11, 8)
            self.score = nn.Linear(8, 4)

        def forward(self, input):
            x = self.table(input)
            weights = torch.softmax(x.sum(-1), dim=-1)
            return nn.functional.log_softmax(self.score((x * weights.unsqueeze(-1)).sum(1)), dim=-1)

    return Classifier()


def gated_recurrence(torch):
    """A hand-written recurrent cell over five steps: indexing, sigmoid, tanh, cat, stack."""
    nn = torch.nn

    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(10, 6)
            self.candidate = nn.Linear(10, 6)

        def forward(self, input):
            state = torch.cat([input[:, 0], input[:, 1, :2]], dim=1) * 0
            states = []
            for step in range(5):
                joined = torch.cat([input[:, step], state], dim=1)
                gate = torch.sigmoid(self.gate(joined))
                state = gate * state + (1 - gate) * torch.tanh(self.candidate(joined))
                states.append(state)
            return torch.stack(states, dim=1)

    return Cell()


def statistics(torch):
    """Reductions, variances, comparisons and masks."""
    nn = torch.nn

    class Summary(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))

        def forward(self, input):
            centered = (input - input.mean(0)) / (input.std(0) + 1e-3) * self.scale
            clipped = centered.clamp(-1.5, 1.5)
            kept = torch.where(input > 0, clipped, 0.1 * clipped)
            return torch.cat([kept.amax(1, keepdim=True), kept.logsumexp(1, keepdim=True), kept.cumsum(1)], dim=1)

    return Summary()


def _normal(*shape):
    return lambda rng, batch: rng.standard_normal((batch, *shape)).astype(np.float32)


MODELS = {
    "mlp": (mlp, _normal(20)),
    "digit_cnn": (digit_cnn, _normal(1, 8, 8)),
    "depthwise_cnn": (depthwise_cnn, _normal(4, 6, 6)),
    "autoencoder": (autoencoder, _normal(2, 8, 8)),
    "transformer_block": (transformer_block, _normal(9, 24)),
    "token_classifier": (token_classifier, lambda rng, batch: rng.integers(0, 11, (batch, 6))),
    "gated_recurrence": (gated_recurrence, _normal(5, 4)),
    "statistics": (statistics, _normal(6)),
}
"""Name -> (build(torch or jitcore), make_input(rng, batch))."""
