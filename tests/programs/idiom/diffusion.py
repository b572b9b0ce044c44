"""One diffusion step: sinusoidal time embedding, group norm, SiLU, attention block, noise schedule; EMA of weights."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import einsum, nn

STEPS = 20


def timestep_embedding(timesteps, dim, max_period=10000):
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(start=0, end=half, dtype=torch.float32) / half)
    args = timesteps[:, None].float() * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


class ResBlock(nn.Module):
    def __init__(self, inp, out, emb):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(2, inp), nn.SiLU(), nn.Conv2d(inp, out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * out))
        self.out_norm = nn.GroupNorm(2, out)
        self.out = nn.Conv2d(out, out, 3, padding=1)
        nn.init.zeros_(self.out.bias)
        self.skip = nn.Identity() if inp == out else nn.Conv2d(inp, out, 1)

    def forward(self, x, emb):
        h = self.in_layers(x)
        scale, shift = self.emb_layers(emb).type(h.dtype)[..., None, None].chunk(2, dim=1)
        h = self.out_norm(h) * (1 + scale) + shift
        return self.skip(x) + self.out(F.silu(h))


class Attention(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.to_qkv = nn.Conv2d(dim, dim * 3, 1, bias=False)
        self.to_out = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, -1, h * w) for t in self.to_qkv(x).chunk(3, dim=1))
        sim = einsum("b h d i, b h d j -> b h i j", q * self.scale, k)
        sim = sim - sim.amax(dim=-1, keepdim=True).detach()
        out = einsum("b h i j, b h d j -> b h i d", sim.softmax(dim=-1), v)
        return x + self.to_out(out.permute(0, 1, 3, 2).reshape(b, -1, h, w))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16))
        self.conv_in = nn.Conv2d(3, 8, 3, padding=1)
        self.down = ResBlock(8, 8, 16)
        self.pool = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.mid = nn.ModuleList([ResBlock(16, 16, 16), Attention(16)])
        self.up = nn.Conv2d(16, 8, 3, padding=1)
        self.last = ResBlock(16, 8, 16)
        self.out = nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
        betas = torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)
        self.register_buffer("alphas_cumprod", torch.cumprod(1.0 - betas, dim=0).to(torch.get_default_dtype()))

    def forward(self, x, t):
        emb = self.time_embed(timestep_embedding(t, 8).to(x.dtype))
        x = self.conv_in(x)
        skip = self.down(x, emb)
        h = self.mid[1](self.mid[0](self.pool(skip), emb))
        h = self.up(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.out(self.last(torch.cat([h, skip], dim=1), emb))

    def q_sample(self, x0, t, noise):
        a = self.alphas_cumprod.gather(-1, t).reshape(-1, 1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    kind = torch.get_default_dtype()
    x, noise = (torch.tensor(random.normal(size=(3, 3, 8, 8)), dtype=kind) for _ in range(2))
    return x, torch.tensor(random.integers(0, STEPS, 3)), noise


def optimizer(model):
    model.__dict__["ema"] = copy.deepcopy(model).requires_grad_(False)
    return torch.optim.RAdam(model.parameters(), lr=2e-3, weight_decay=1e-4)


def step(model, opt, x0, t, noise):
    loss = F.mse_loss(model(model.q_sample(x0, t, noise), t), noise, reduction="none").mean(dim=(1, 2, 3)).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    with torch.no_grad():
        for shadow, p in zip(model.ema.parameters(), model.parameters()):
            shadow.mul_(0.9).add_(p, alpha=0.1)
    return loss


def evaluate(model):
    x, t, _ = batch(100)
    return model(x, t), model.ema(x, t)
