"""The workloads over an array module: NumPy (also in float64, as the reference) or `jax.numpy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK_WIDTH, BLOCK_HEADS, BLOCK_LENGTH = 768, 12, 128


def gelu_chain(xp: Any, weights: Any) -> Callable:
    def run(x: Any) -> Any:
        y = x * 1.5 + 0.25
        return 0.5 * y * (1 + xp.tanh(0.7978845608 * (y + 0.044715 * y * y * y))) - x

    return run


def softmax(xp: Any, weights: Any) -> Callable:
    return lambda x: _softmax(xp, x)


def layer_norm(xp: Any, weights: Any) -> Callable:
    return lambda x: _layer_norm(xp, x, weights["gain"], weights["bias"])


def mlp(xp: Any, weights: Any) -> Callable:
    return lambda x: _mlp(xp, weights, x)


def cnn(xp: Any, weights: Any) -> Callable:
    w = weights

    def run(x: Any) -> Any:
        for kernel, bias in (("k0", "c0"), ("k1", "c1")):
            x = xp.maximum(_conv(xp, x, w[kernel]) + w[bias][:, None, None], 0)
            n, c, height, width = x.shape
            x = x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))
        return x.reshape(x.shape[0], -1) @ w["w"].T + w["b"]

    return run


def block(xp: Any, weights: Any) -> Callable:
    w = weights

    def run(x: Any) -> Any:
        y = _layer_norm(xp, x[0], w["g0"], w["h0"]) @ w["qkv"].T + w["qkv_bias"]
        q, k, v = (
            part.reshape(BLOCK_LENGTH, BLOCK_HEADS, -1).transpose(1, 0, 2)
            for part in (y[:, i * BLOCK_WIDTH : (i + 1) * BLOCK_WIDTH] for i in range(3))
        )
        scores = q @ k.transpose(0, 2, 1) * (BLOCK_WIDTH // BLOCK_HEADS) ** -0.5
        y = (_softmax(xp, scores) @ v).transpose(1, 0, 2).reshape(BLOCK_LENGTH, BLOCK_WIDTH)
        z = x[0] + y @ w["out"].T + w["out_bias"]
        y = _layer_norm(xp, z, w["g1"], w["h1"]) @ w["up"].T + w["up_bias"]
        y = 0.5 * y * (1 + xp.tanh(0.7978845608028654 * (y + 0.044715 * y * y * y)))
        return (z + y @ w["down"].T + w["down_bias"])[None]

    return run


def training_step(xp: Any, weights: Any) -> Callable:
    """An Adam step with its own state; returns the loss before the step."""
    values = dict(weights)
    means = {name: xp.zeros_like(value) for name, value in values.items()}
    squares = {name: xp.zeros_like(value) for name, value in values.items()}
    update = _jitted_update() if xp is not np else _update
    count = 0

    def run(x: Any, labels: Any) -> Any:
        nonlocal values, means, squares, count
        count += 1
        loss, values, means, squares = update(values, means, squares, count, x, labels)
        return loss

    return run


def _update(values: Any, means: Any, squares: Any, count: Any, x: Any, labels: Any, xp: Any = np) -> tuple:
    loss, gradients = _loss_and_gradients(xp, values, x, labels)
    means = {n: 0.9 * means[n] + 0.1 * g for n, g in gradients.items()}
    squares = {n: 0.999 * squares[n] + 0.001 * g * g for n, g in gradients.items()}
    c1, c2 = 1 - 0.9**count, 1 - 0.999**count
    values = {n: v - 1e-3 / c1 * means[n] / (xp.sqrt(squares[n] / c2) + 1e-8) for n, v in values.items()}
    return loss, values, means, squares


def _jitted_update() -> Callable:
    import jax
    import jax.numpy as jnp

    return jax.jit(
        lambda values, means, squares, count, x, labels: _update(values, means, squares, count, x, labels, jnp)
    )


def _loss_and_gradients(xp: Any, w: Any, x: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
    """Cross-entropy of the MLP and its gradients, derived by hand."""
    h0 = xp.maximum(x @ w["w0"].T + w["b0"], 0)
    h1 = xp.maximum(h0 @ w["w1"].T + w["b1"], 0)
    p = _softmax(xp, h1 @ w["w2"].T + w["b2"])
    rows = xp.arange(x.shape[0])
    loss = -xp.log(p[rows, labels]).mean()
    one_hot = (labels[:, None] == xp.arange(p.shape[1])).astype(p.dtype)
    d2 = (p - one_hot) / x.shape[0]
    d1 = (d2 @ w["w2"]) * (h1 > 0)
    d0 = (d1 @ w["w1"]) * (h0 > 0)
    gradients = {"w2": d2.T @ h1, "w1": d1.T @ h0, "w0": d0.T @ x, "b2": d2.sum(0), "b1": d1.sum(0), "b0": d0.sum(0)}
    return loss, gradients


def _softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _layer_norm(xp: Any, x: Any, gain: Any, bias: Any) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    return centered / xp.sqrt((centered * centered).mean(-1, keepdims=True) + 1e-5) * gain + bias


def _mlp(xp: Any, w: Any, x: Any) -> Any:
    x = xp.maximum(x @ w["w0"].T + w["b0"], 0)
    x = xp.maximum(x @ w["w1"].T + w["b1"], 0)
    return x @ w["w2"].T + w["b2"]


def _conv(xp: Any, x: Any, kernel: Any) -> Any:
    """A 3x3 convolution with padding 1."""
    if xp is not np:
        import jax

        return jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.tensordot(windows, kernel, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
