"""Runs generated source with real threads and looks at every access: two threads of a block must not touch an element
between the same two barriers, one of them writing; two blocks never. numba's simulator sees neither.

A stand-in for the `cuda` module is all it takes, so numba is not needed.
"""

import sys
import threading
from collections import defaultdict

import numpy as np
from simulate import arguments, collect, fill

from jitcore.compiler.cuda import print_module
from jitcore.compiler.cuda.names import host_names

PATIENCE = 20
"""Seconds that a thread waits at a barrier which others never reach."""


class Race(AssertionError):
    pass


class _Memory:
    """An array that notes who touches which element when."""

    def __init__(self, name, array, cuda):
        self.name, self.array, self.cuda = name, array, cuda
        self.touched = defaultdict(set)  # element -> {(block, thread, epoch, writes)}

    def __getitem__(self, index):
        self._note(index, False)
        return self.array[index]

    def __setitem__(self, index, value):
        self._note(index, True)
        self.array[index] = value

    def _note(self, index, writes):
        assert 0 <= index < len(self.array), f"{self.name}[{index}] of {len(self.array)}"
        me = self.cuda.me
        self.touched[int(index)].add((self.cuda.block, me.number, me.epoch, writes))

    def check(self, across_blocks):
        for index, accesses in self.touched.items():
            for block, thread, epoch, _ in (a for a in accesses if a[3]):
                for other in accesses:
                    same_block = other[0] == block and other[1] != thread and other[2] == epoch
                    if same_block or (across_blocks and other[0] != block):
                        raise Race(f"{self.name}[{index}]: written by {(block, thread)} and touched by {other}")


class _Axis:
    def __init__(self, value):
        self._value = value

    @property
    def x(self):
        return self._value()


class _Cuda:
    """What generated source asks of the module `cuda`."""

    def __init__(self, blocks, threads):
        self.block, self.threads = 0, threads
        self.me = threading.local()
        self.threadIdx, self.blockIdx = _Axis(lambda: self.me.number), _Axis(lambda: self.block)
        self.gridDim = _Axis(lambda: blocks)
        self.shared, self.local = _Arrays(self._shared), _Arrays(lambda shape, dtype, _: np.zeros(shape, dtype))
        self.memories, self._lock = {}, threading.Lock()

    def start_block(self, number):
        self.block, self.barrier, self.memories = number, threading.Barrier(self.threads), {}

    def syncthreads(self):
        self.barrier.wait(PATIENCE)
        self.me.epoch += 1

    def _shared(self, shape, dtype, line):
        with self._lock:
            if line not in self.memories:
                self.memories[line] = _Memory(f"shared memory of line {line}", np.full(shape, 99, dtype), self)
            return self.memories[line]


class _Arrays:
    def __init__(self, make):
        self._make = make

    def array(self, shape, dtype):
        return self._make(shape, dtype, sys._getframe(1).f_lineno)


def run_checked(module, arrays, symbols, threads=8, blocks=2, sources=None):
    """The outputs of a module. Raises Race, and BrokenBarrierError where threads do not all reach a barrier."""
    sources = {s.name: s for s in sources or print_module(module, threads)}
    memory, error = fill(module, arrays, symbols), np.array([-1, 0, 0, 0])
    for call in module.kernels:
        source = sources[call.kernel.name]
        cuda = _Cuda(blocks, source.threads)
        names = host_names(cuda)
        exec(compile(source.text, source.name, "exec"), names)
        watched = {n: _Memory(f"buffer {n}", m, cuda) for n, m in enumerate(memory)}
        given = arguments(source, call, watched, error, symbols)
        for block in range(blocks):
            cuda.start_block(block)
            _run_block(cuda, names[source.name], given)
            for shared in cuda.memories.values():
                shared.check(across_blocks=False)
        for buffer in watched.values():
            buffer.check(across_blocks=True)
    return collect(module, memory, symbols)


def _run_block(cuda, function, given):
    failures = []

    def run(number):
        cuda.me.number, cuda.me.epoch = number, 0
        try:
            with np.errstate(all="ignore"):
                function(*given)
        except BaseException as failure:
            failures.append(failure)
            cuda.barrier.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(cuda.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, threading.BrokenBarrierError)), failures[0])
