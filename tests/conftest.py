"""For all tests: programs are compiled in the process that runs the test, however many, so that it can patch LLVM away
or a lowering wrong."""

import math

import pytest

from jitcore.compiler import workers
from jitcore_runtime import executor
from jitcore_runtime.kernels import floating


@pytest.fixture(autouse=True, scope="session")
def compile_here():
    workers.MOST_HERE = math.inf


@pytest.fixture(autouse=True)
def order_is_restored():
    """Exact programs of one test do not change what kernels do in the next."""
    before = floating._Order.is_fixed
    yield
    floating._Order.is_fixed = before


@pytest.fixture
def ran(monkeypatch):
    """A list that grows by each program that runs, natively or interpreted."""
    programs = []
    native, interpreted = executor._Native.call, executor._Interpreted.run

    def run_native(self, *arguments, **named):
        programs.append(self._program)
        return native(self, *arguments, **named)

    def run_interpreted(self, *arguments):
        programs.append(self._program)
        return interpreted(self, *arguments)

    monkeypatch.setattr(executor._Native, "call", run_native)
    monkeypatch.setattr(executor._Interpreted, "run", run_interpreted)
    return programs


@pytest.fixture(scope="module")
def fixed_order():
    """Kernels add in an order that shapes alone decide, as once an exact program has been made."""
    before = floating._Order.is_fixed
    floating.fix_order()
    yield
    floating._Order.is_fixed = before
