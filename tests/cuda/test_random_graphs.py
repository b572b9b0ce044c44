"""Random graphs as CUDA kernels: no races, and exactly what NumPy gives.

Sizes at which lowering and mapping change their minds are lowered, so that tiny tensors reach every path.
"""

from unittest import mock

import numpy as np
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st
from race_check import run_checked
from random_graphs import drawn_settings, programs

from jitcore.compiler.cuda import mapping, print_module
from jitcore.compiler.lower.lower import lower_graph


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.data())
def test_random_graph_equals_numpy(program, data):
    p, expected = program
    note(f"{p.graph}{p.symbols}")
    with drawn_settings(data):
        module = lower_graph(p.graph)
    with mock.patch.object(mapping, "MINIMUM_SHARED", data.draw(st.sampled_from([1, 2, 4]))):
        try:
            sources = print_module(module, 4)
        except NotImplementedError as error:
            assert "has no CUDA form" in str(error)
            assume(False)
    event(", ".join(sorted({source.mapping for source in sources})))
    note("\n".join(source.text for source in sources))
    for got, want in zip(run_checked(module, p.inputs, p.symbols, sources=sources), expected, strict=True):
        np.testing.assert_array_equal(got, want)
