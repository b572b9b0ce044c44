"""A sample's call as a program of its tensors: recorded and replayed, exported and loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jitcore
import jitcore_runtime
from jitcore.compiler.cpu.target import host_target

from .structure import mapped, tensors


@dataclass(frozen=True, slots=True)
class Program:
    """`call` takes the tensors of a sample, `leaves`."""

    call: Callable
    leaves: list[Any]

    @staticmethod
    def of(function: Callable, finish: Callable, given: tuple, keywords: dict) -> Program:
        """The call `finish(function(*given, **keywords))`."""
        structure = (given, keywords)

        def call(*leaves: Any) -> Any:
            waiting = iter(leaves)
            arguments, named = mapped(structure, jitcore.Tensor, lambda _: next(waiting))
            return finish(function(*arguments, **named))

        return Program(call, [x.detach() for x in tensors(structure, jitcore.Tensor)])

    def jitted(self) -> Iterator[Any]:
        """The results of the call recorded, and replayed."""
        compiled = jitcore.jit(self.call)
        for _ in range(2):
            yield compiled(*self.leaves)

    def exported(self, symbolic: int | None = None, arrays: Sequence[np.ndarray] = ()) -> Iterator[list[Any]]:
        """The results of the call from an archive, native and interpreted.

        With `symbolic`, every dimension of this size is a symbol, and `arrays` (of other sizes) are run. Raises
        ExportError for a call that an archive cannot hold.
        """
        names = [f"x{n}" for n in range(len(self.leaves))]
        scope: dict[str, Any] = {"call": self.call}
        exec(f"def exported({', '.join(names)}):\n    return call({', '.join(names)})", scope)
        inputs = {name: _declared(x, symbolic) for name, x in zip(names, self.leaves)}
        given = dict(zip(names, arrays or [x.numpy() for x in self.leaves]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "operator.jca"
            jitcore.export(scope["exported"], path, inputs, targets=[host_target()])
            for native in (True, False):
                result = jitcore_runtime.load(path, native=native)(**given)
                yield [jitcore.from_numpy(np.array(array)) for array in tensors(result, np.ndarray)]


def _declared(x: Any, symbolic: int | None) -> Any:
    """An input of the archive: as the tensor is, or with a symbol for each dimension of the given size."""
    if symbolic is None:
        return x
    dims = ",".join("N" if d == symbolic else str(d) for d in x.shape)
    return f"{str(x.dtype).rpartition('.')[2]}[{dims}]"
