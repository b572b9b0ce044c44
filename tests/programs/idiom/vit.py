"""A vision transformer: patches by a strided convolution, class token, nn.MultiheadAttention, stochastic depth off."""

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor


class Mlp(nn.Sequential):
    def __init__(self, width, hidden):
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width))


class EncoderBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout=0.0, batch_first=True)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 2 * width)
        self.scale = nn.Parameter(1e-1 * torch.ones(width))

    def forward(self, input: Tensor) -> Tensor:
        torch._assert(input.dim() == 3, f"Expected (batch, sequence, width) got {input.shape}")
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = input + x * self.scale
        return x + self.mlp(self.ln_2(x))


class Net(nn.Module):
    def __init__(self, size=16, patch=4, width=32, heads=4, classes=10):
        super().__init__()
        self.patch = patch
        self.conv_proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.empty(1, (size // patch) ** 2 + 1, width).normal_(std=0.02))
        self.encoder = nn.Sequential(*[EncoderBlock(width, heads) for _ in range(2)])
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.conv_proj.weight, std=0.1)
        nn.init.zeros_(self.conv_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        p = self.patch
        if h % p or w % p:
            raise ValueError(f"image of {h} x {w} does not divide into patches of {p}")
        x = self.conv_proj(x).reshape(n, -1, (h // p) * (w // p)).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(n, -1, -1), x], dim=1) + self.pos_embedding
        return self.head(self.ln(self.encoder(x))[:, 0])


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    x = torch.as_tensor(random.normal(size=(4, 3, 16, 16)), dtype=torch.get_default_dtype())
    return x, torch.as_tensor(random.integers(0, 10, 4))


def optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)


def scheduler(opt):
    return torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8, eta_min=1e-5)


def step(model, opt, x, y):
    model.train()
    loss = nn.functional.cross_entropy(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def evaluate(model):
    return (model(batch(100)[0]),)
