"""What is measured. Each workload is written twice: once in PyTorch's idiom (run by PyTorch and, with only the module
changed, by jitcore) and once over an array module (run by NumPy, by JAX, and in float64 as the reference)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from . import arrays

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Workload:
    """`data(rng)` gives (inputs, weights), float32; `torch(module, weights)` and `array(xp, weights)` give a function
    of the inputs. `tolerance` bounds the largest error against float64, relative to the largest reference value.
    `compiled=False` measures eager execution; `peers` limits who takes part."""

    name: str
    data: Callable[[np.random.Generator], tuple[Arrays, Arrays]]
    torch: Callable[[Any, Any], Callable]
    array: Callable[[Any, Any], Callable]
    tolerance: float = 1e-5
    compiled: bool = True
    training: bool = False
    peers: tuple[str, ...] | None = None


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def _gelu_chain(size: int) -> Workload:
    def torch_version(torch: Any, weights: Any) -> Callable:
        def run(x: Any) -> Any:
            y = x * 1.5 + 0.25
            return 0.5 * y * (1 + torch.tanh(0.7978845608 * (y + 0.044715 * y * y * y))) - x

        return run

    return Workload(
        f"gelu chain 1e{len(str(size)) - 1}",
        lambda rng: ({"x": _normal(rng, size)}, {}),
        torch_version,
        arrays.gelu_chain,
    )


def _softmax(torch: Any, weights: Any) -> Callable:
    return lambda x: torch.softmax(x, dim=-1)


def _layer_norm(torch: Any, weights: Any) -> Callable:
    gain, bias = weights["gain"], weights["bias"]
    return lambda x: torch.nn.functional.layer_norm(x, (gain.shape[0],), gain, bias)


def _sgemm(size: int) -> Workload:
    return Workload(
        f"sgemm {size}",
        lambda rng: ({"x": _normal(rng, size, size), "y": _normal(rng, size, size)}, {}),
        lambda torch, weights: lambda x, y: torch.matmul(x, y),
        lambda xp, weights: lambda x, y: x @ y,
    )


def _mlp_weights(rng: np.random.Generator) -> Arrays:
    sizes = (784, 512, 256, 10)
    weights = {}
    for layer, (before, after) in enumerate(pairwise(sizes)):
        weights[f"w{layer}"] = _normal(rng, after, before, scale=before**-0.5)
        weights[f"b{layer}"] = _normal(rng, after, scale=0.1)
    return weights


def _mlp(torch: Any, weights: Any) -> Callable:
    F = torch.nn.functional

    def run(x: Any) -> Any:
        x = torch.relu(F.linear(x, weights["w0"], weights["b0"]))
        x = torch.relu(F.linear(x, weights["w1"], weights["b1"]))
        return F.linear(x, weights["w2"], weights["b2"])

    return run


def _mlp_batch(batch: int) -> Workload:
    return Workload(
        f"MLP batch {batch}", lambda rng: ({"x": _normal(rng, batch, 784)}, _mlp_weights(rng)), _mlp, arrays.mlp
    )


def _cnn_data(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    weights = {
        "k0": _normal(rng, 32, 3, 3, 3, scale=0.2), "c0": _normal(rng, 32, scale=0.1),
        "k1": _normal(rng, 64, 32, 3, 3, scale=0.06), "c1": _normal(rng, 64, scale=0.1),
        "w": _normal(rng, 10, 64 * 16 * 16, scale=0.008), "b": _normal(rng, 10),
    }  # fmt: skip
    return {"x": _normal(rng, 8, 3, 64, 64)}, weights


def _cnn(torch: Any, weights: Any) -> Callable:
    F = torch.nn.functional

    def run(x: Any) -> Any:
        x = F.max_pool2d(torch.relu(F.conv2d(x, weights["k0"], weights["c0"], padding=1)), 2)
        x = F.max_pool2d(torch.relu(F.conv2d(x, weights["k1"], weights["c1"], padding=1)), 2)
        return F.linear(x.flatten(1), weights["w"], weights["b"])

    return run


def _block_data(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    width = arrays.BLOCK_WIDTH
    weights = {"g0": 1 + _normal(rng, width, scale=0.1), "h0": _normal(rng, width, scale=0.1)}
    weights |= {"g1": 1 + _normal(rng, width, scale=0.1), "h1": _normal(rng, width, scale=0.1)}
    shapes = {"qkv": (3 * width, width), "out": (width, width), "up": (4 * width, width), "down": (width, 4 * width)}
    for name, (after, before) in shapes.items():
        weights[name] = _normal(rng, after, before, scale=before**-0.5)
        weights[f"{name}_bias"] = _normal(rng, after, scale=0.1)
    return {"x": _normal(rng, 1, arrays.BLOCK_LENGTH, width)}, weights


def _block(torch: Any, weights: Any) -> Callable:
    F = torch.nn.functional
    w, heads, width, length = weights, arrays.BLOCK_HEADS, arrays.BLOCK_WIDTH, arrays.BLOCK_LENGTH

    def run(x: Any) -> Any:
        y = F.layer_norm(x, (width,), w["g0"], w["h0"])
        q, k, v = F.linear(y, w["qkv"], w["qkv_bias"]).chunk(3, dim=-1)
        q, k, v = (t.view(1, length, heads, width // heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, length, width)
        x = x + F.linear(y, w["out"], w["out_bias"])
        y = F.layer_norm(x, (width,), w["g1"], w["h1"])
        return x + F.linear(F.gelu(F.linear(y, w["up"], w["up_bias"]), approximate="tanh"), w["down"], w["down_bias"])

    return run


def _training_data(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return {"x": _normal(rng, 128, 784), "labels": rng.integers(0, 10, 128)}, _mlp_weights(rng)


def _training_step(torch: Any, weights: Any) -> Callable:
    """One Adam step per call; the result is the loss before it, so that every call checks all updates before."""
    parameters = {name: value.requires_grad_() for name, value in weights.items()}
    optimizer = torch.optim.Adam(list(parameters.values()), lr=1e-3)
    forward = _mlp(torch, parameters)

    def run(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def _tiny(torch: Any, weights: Any) -> Callable:
    return lambda x: x + 1


def _tiny_array(xp: Any, weights: Any) -> Callable:
    return lambda x: x + 1


def _tiny_data(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return {"x": _normal(rng, 8)}, {}


def _many_data(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return {f"x{n}": _normal(rng, 4) for n in range(_TENSORS)}, {}


def _many(torch: Any, weights: Any) -> Callable:
    return lambda *xs: sum(xs[1:], xs[0])


def _attributes(torch: Any, weights: Any) -> Callable:
    """A module whose answer depends on 100 attributes, each of which a compiled call has to find unchanged."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for n in range(_ATTRIBUTES):
                setattr(self, f"a{n}", n / _ATTRIBUTES)

        def forward(self, x: Any) -> Any:
            return x * total(self)

    names: dict[str, Any] = {}
    exec(f"def total(self):\n    return {' + '.join(f'self.a{n}' for n in range(_ATTRIBUTES))}", names)
    total = names["total"]
    return Model()


_TENSORS, _ATTRIBUTES = 20, 100

WORKLOADS: tuple[Workload, ...] = (
    _gelu_chain(10_000),
    _gelu_chain(1_000_000),
    Workload("softmax 1024x1024", lambda rng: ({"x": _normal(rng, 1024, 1024)}, {}), _softmax, arrays.softmax),
    Workload(
        "layernorm 4096x768",
        lambda rng: ({"x": _normal(rng, 4096, 768)}, {"gain": 1 + _normal(rng, 768), "bias": _normal(rng, 768)}),
        _layer_norm,
        arrays.layer_norm,
    ),
    _sgemm(128),
    _sgemm(512),
    _sgemm(1024),
    _mlp_batch(1),
    _mlp_batch(256),
    Workload("CNN 8x3x64x64", _cnn_data, _cnn, arrays.cnn),
    Workload("transformer block d=768 seq 128", _block_data, _block, arrays.block),
    Workload("MLP training step batch 128", _training_data, _training_step, arrays.training_step, 1e-4, training=True),
    Workload(
        "tiny op, eager", _tiny_data, _tiny, _tiny_array, compiled=False, peers=("jitcore", "numpy", "torch", "jax")
    ),
    Workload("tiny op, compiled call", _tiny_data, _tiny, _tiny_array),
    Workload("sum of 20 tiny tensors, compiled call", _many_data, _many, _many),
    Workload(
        "tiny op of a module of 100 attributes, compiled call",
        lambda rng: ({"x": _normal(rng, 4)}, {}),
        _attributes,
        lambda xp, weights: lambda x: x * (sum(range(_ATTRIBUTES)) / _ATTRIBUTES),
    ),
)
