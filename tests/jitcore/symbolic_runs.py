"""Recording a function with symbolic sizes, and running the recorded graph for other sizes."""

import numpy as np

import jitcore
from jitcore.state import state
from jitcore.trace.capture import flatten
from jitcore.trace.recorder import Recorder
from jitcore.trace.sources import Argument
from jitcore_ir import ops, shapes
from jitcore_runtime.errors import InputError
from jitcore_runtime.interpreter import Interpreter
from jitcore_runtime.signature import Signature


class SymbolicRun:
    """`function` recorded on `arguments`, whose dims named in `dims` (a tuple per argument) are symbols.

    `run(*arrays)` gives the results for other sizes, or None where these do not fit what was recorded.
    """

    def __init__(self, function, arguments, dims, ranges=()):
        self.recorder = recorder = Recorder("main")
        recorder.sizes.ranges.update(dict(ranges))
        for number, (argument, names) in enumerate(zip(arguments, dims, strict=True)):
            shape = tuple(shapes.symbol(d) if isinstance(d, str) else d for d in names)
            for name, size in zip(names, argument._array.shape, strict=True):
                if isinstance(name, str):
                    assert recorder.sizes.values.setdefault(name, size) == size
            recorder.add_root(argument, f"arg{number}", Argument(number), shape)
        state.recorder = recorder
        try:
            self.result = function(*arguments)
            leaves, _ = flatten(self.result)
            values = [recorder.value_of(leaf) for leaf in leaves]
        finally:
            state.recorder = None
        assert recorder.problem is None, recorder.problem
        recorder.graph.block.append(ops.RETURN, values)
        self.count = len(arguments)

    @property
    def guards(self):
        return [str(guard) for guard in self.recorder.sizes.guards]

    @property
    def replaced(self):
        return [str(found) for found in self.recorder.sizes.specializations]

    def run(self, *arrays):
        graph = self.recorder.graph
        given = [np.asarray(a._array if isinstance(a, jitcore.Tensor) else a) for a in arrays]
        given += [root.tensor._array for root in self.recorder.roots[self.count :]]
        try:
            values = Signature.of(graph).bind(given)
        except InputError:
            return None
        if not all(guard.holds(values) for guard in self.recorder.sizes.guards):
            return None
        return Interpreter(graph).run(given, values)
