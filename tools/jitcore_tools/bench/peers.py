"""Who is measured, and how each prepares a workload. A peer runs in a process of its own (see `worker`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .workloads import Workload

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """`prepare(workload, inputs, weights)` gives a call without arguments; `to_numpy` turns what it returns into an
    array. `needs` are the modules that must be installed; `versions` those worth reporting."""

    name: str
    needs: tuple[str, ...]
    prepare: Callable[[Workload, Mapping[str, np.ndarray], Mapping[str, np.ndarray]], Call]
    to_numpy: Callable[[Any], np.ndarray]
    set_threads: Callable[[int], None]

    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def _numpy(workload: Workload, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> Call:
    run = workload.array(np, weights)
    values = list(inputs.values())
    return lambda: run(*values)


def _jitcore(workload: Workload, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> Call:
    import jitcore

    run = workload.torch(jitcore, {name: jitcore.tensor(array) for name, array in weights.items()})
    values = [jitcore.tensor(array) for array in inputs.values()]
    if workload.compiled:
        run = jitcore.jit(run)
    return _without_grad(jitcore, workload, lambda: run(*values))


def _torch(compiled: bool) -> Callable:
    def prepare(workload: Workload, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> Call:
        import torch

        run = workload.torch(torch, {name: torch.from_numpy(array) for name, array in weights.items()})
        values = [torch.from_numpy(array) for array in inputs.values()]
        if compiled:
            run = torch.compile(run)
        return _without_grad(torch, workload, lambda: run(*values))

    return prepare


def _jax(workload: Workload, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> Call:
    import jax
    import jax.numpy as jnp

    placed = {name: jnp.asarray(array) for name, array in weights.items()}
    values = [jnp.asarray(array) for array in inputs.values()]
    if workload.training or not workload.compiled:
        run = workload.array(jnp, placed)
        return lambda: jax.block_until_ready(run(*values))
    compiled = jax.jit(lambda weights, *xs: workload.array(jnp, weights)(*xs))
    return lambda: jax.block_until_ready(compiled(placed, *values))


def _onnxruntime(workload: Workload, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> Call:
    """The PyTorch version, exported to ONNX."""
    import io

    import onnxruntime
    import torch

    run = workload.torch(torch, {name: torch.from_numpy(array) for name, array in weights.items()})

    class Model(torch.nn.Module):
        def forward(self, *values: Any) -> Any:
            return run(*values)

    file = io.BytesIO()
    examples = tuple(torch.from_numpy(array) for array in inputs.values())
    # The exporter that takes a file object; its type hints name paths only.
    torch.onnx.export(Model(), examples, file, input_names=list(inputs), dynamo=False)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["JITCORE_NUM_THREADS"])
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    feed = {name: array for name, array in inputs.items() if name in names}
    return lambda: session.run(None, feed)[0]


def _without_grad(module: Any, workload: Workload, call: Call) -> Call:
    """The call, with grad mode off for the process where nothing trains."""
    if not workload.training:
        module.set_grad_enabled(False)
    return call


def _torch_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _jitcore_threads(threads: int) -> None:
    from jitcore_runtime import threads as pool

    pool.set_num_threads(threads)


def _by_environment(threads: int) -> None:
    """Nothing to do: the worker starts with the thread variables of OpenBLAS, OpenMP and XLA set."""


def _no_training(prepare: Callable) -> Callable:
    def checked(workload: Workload, inputs: Any, weights: Any) -> Call:
        if workload.training:
            raise NotImplementedError("this peer does not train")
        return prepare(workload, inputs, weights)

    return checked


def _detached(x: Any) -> np.ndarray:
    return x.detach().numpy()


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("jitcore", ("jitcore",), _jitcore, _detached, _jitcore_threads),
        Peer("numpy", ("numpy",), _numpy, np.asarray, _by_environment),
        Peer("torch", ("torch",), _torch(False), _detached, _torch_threads),
        Peer("torch.compile", ("torch",), _torch(True), _detached, _torch_threads),
        Peer("jax", ("jax",), _jax, np.asarray, _by_environment),
        Peer("onnxruntime", ("onnxruntime", "onnx", "torch"), _no_training(_onnxruntime), np.asarray, _by_environment),
    )
}


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that hold every peer to `threads` threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "JITCORE_NUM_THREADS")
    flags = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(names, str(threads)) | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
