"""For all tests: programs are compiled in the process that runs the test, however many, so that it can patch LLVM away
or a lowering wrong."""

import math

import pytest

from jitcore.compiler import workers
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


@pytest.fixture(scope="module")
def fixed_order():
    """Kernels add in an order that shapes alone decide, as once an exact program has been made."""
    before = floating._Order.is_fixed
    floating.fix_order()
    yield
    floating._Order.is_fixed = before
