"""For all tests: programs are compiled in the process that runs the test, however many, so that it can patch LLVM away
or a lowering wrong."""

import math

import pytest

from jitcore.compiler import workers


@pytest.fixture(autouse=True, scope="session")
def compile_here():
    workers.MOST_HERE = math.inf
