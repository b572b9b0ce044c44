"""One op, one definition: each primitive has rule, NumPy kernel, derivative and lowering; no table has more."""

import pytest

import jitcore.autograd.vjps  # noqa: F401  fills the table
from jitcore.autograd.rules import NOT_DIFFERENTIABLE, VJPS
from jitcore.compiler.lower.control import CONTROL_LOWERINGS
from jitcore.compiler.lower.table import LOWERINGS
from jitcore.compiler.scalar import SCALARS
from jitcore.func.rules import BATCHING
from jitcore_ir import OPS, Trait, ops
from jitcore_runtime.control import CONTROL
from jitcore_runtime.kernels import KERNELS

PRIMITIVES = [spec for spec in OPS.values() if not spec.has(Trait.LOOP | Trait.TERMINATOR | Trait.CLOSED)]
WITH_REGIONS = [spec for spec in OPS.values() if spec.has(Trait.CLOSED)]


@pytest.mark.parametrize("spec", PRIMITIVES, ids=lambda spec: spec.name)
def test_primitive_is_complete(spec):
    assert callable(spec.infer) and spec.doc and spec.version >= 1
    assert spec in KERNELS, "no NumPy kernel"
    assert (spec in VJPS) != (spec in NOT_DIFFERENTIABLE), "neither or both: a derivative, or declared to have none"
    assert spec in LOWERINGS, "no lowering to loops"
    assert spec in BATCHING, "no rule for vmap"
    if spec.has(Trait.ELEMENTWISE) and spec is not ops.CAST and LOWERINGS[spec] not in ("call out", "parts"):
        assert spec in SCALARS, "no scalar body"


@pytest.mark.parametrize("spec", WITH_REGIONS, ids=lambda spec: spec.name)
def test_operation_with_regions_is_complete(spec):
    assert spec.regions and spec.check is not None and spec.infer_regions is not None and spec.doc
    assert spec in CONTROL, "the interpreter cannot run it"
    assert spec in CONTROL_LOWERINGS, "no lowering to branches and loops"


def test_tables_hold_primitives_only():
    for table in (KERNELS, VJPS, LOWERINGS, SCALARS, BATCHING):
        assert set(table) <= set(PRIMITIVES)


def test_there_are_many():
    assert len(PRIMITIVES) >= 70
