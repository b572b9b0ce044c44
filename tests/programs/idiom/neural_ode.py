"""A neural ODE: fixed-step Runge-Kutta, the adjoint method as an autograd.Function, and LBFGS with a closure."""

import numpy as np
import torch
from torch import nn


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y**3) * torch.cos(t)


def rk4(f, t0, y0, h, steps):
    t, y = t0, y0
    for _ in range(steps):
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h * k1 / 2)
        k3 = f(t + h / 2, y + h * k2 / 2)
        k4 = f(t + h, y + h * k3)
        y = y + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        t = t + h
    return y


class Adjoint(torch.autograd.Function):
    """Integrates forward without a graph, and state, adjoint and parameter gradients backward together."""

    @staticmethod
    def forward(ctx, func, t0, y0, h, steps, *params):
        with torch.no_grad():
            y = rk4(func, t0, y0, h, steps)
        ctx.func, ctx.h, ctx.steps = func, h, steps
        ctx.save_for_backward(t0, y, *params)
        return y

    @staticmethod
    def backward(ctx, grad):
        t0, y, *params = ctx.saved_tensors
        sizes = [p.numel() for p in params]

        def dynamics(t, packed):
            state, adjoint = packed[: y.numel()].view_as(y), packed[y.numel() : 2 * y.numel()].view_as(y)
            with torch.enable_grad():
                state = state.detach().requires_grad_(True)
                f = ctx.func(t, state)
                gy, *gp = torch.autograd.grad(f, (state, *params), -adjoint, allow_unused=True)
            return torch.cat([f.detach().reshape(-1), gy.reshape(-1), *[g.reshape(-1) for g in gp]])

        start = torch.cat([y.reshape(-1), grad.reshape(-1), torch.zeros(sum(sizes), dtype=y.dtype)])
        end = rk4(dynamics, t0 + ctx.h * ctx.steps, start, -ctx.h, ctx.steps)
        grads = [g.view_as(p) for g, p in zip(end[2 * y.numel() :].split(sizes), params)]
        return None, None, end[y.numel() : 2 * y.numel()].view_as(y), None, None, *grads


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.func = ODEFunc()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, y0, adjoint=False):
        t0 = torch.zeros((), dtype=y0.dtype)
        if adjoint:
            return Adjoint.apply(self.func, t0, y0 * self.scale, 0.1, 6, *self.func.parameters())
        return rk4(self.func, t0, y0 * self.scale, 0.1, 6)


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    y = torch.tensor(random.normal(size=(6, 2))).to(torch.get_default_dtype())
    return y, torch.stack([y[:, 1], -y[:, 0]], dim=1) * 0.5


def optimizer(model):
    return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")


def step(model, opt, y0, target):
    def closure():
        opt.zero_grad()
        loss = torch.mean(torch.abs(model(y0, adjoint=True) - target) ** 2)
        loss.backward()
        return loss

    return opt.step(closure)


def evaluate(model):
    return (model(batch(100)[0]),)
