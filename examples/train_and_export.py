"""Fit a small network to a curve with a compiled training step, export it, and load it with the runtime alone."""

import sys
from pathlib import Path

import numpy as np

import jitcore
import jitcore_runtime
from jitcore import nn, optim


def main(folder: Path) -> float:
    """Train, export to `folder`, load; returns the largest error of the loaded model on the curve."""
    jitcore.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    @jitcore.jit
    def step(x: jitcore.Tensor, y: jitcore.Tensor) -> jitcore.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    x = jitcore.linspace(-3, 3, 200).reshape(-1, 1)
    y = jitcore.sin(x)
    for _ in range(800):
        loss = step(x, y)
    print(f"loss {loss.item():.2e}")
    print(step.explain())

    path = folder / "sine.jca"
    jitcore.export(model.eval(), path, inputs={"input": "float32[N,1]"})
    loaded = jitcore_runtime.load(path, native=True)
    points = np.linspace(-2, 2, 50, dtype=np.float32).reshape(-1, 1)
    error = float(np.abs(loaded(points) - np.sin(points)).max())
    print(f"{path.name}: {path.stat().st_size} bytes, largest error {error:.3f}")
    return error


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
