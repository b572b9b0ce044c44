"""The format's enums as the IR's own objects; a code is the place in the tuple."""

from __future__ import annotations

from jitcore_ir import dtypes
from jitcore_ir.spec import Kind

from .generated.tables import ENUMS

DTYPES = tuple(dtypes.dtype_named(name.rstrip("_")) for name in ENUMS["DType"])
KINDS = tuple(Kind(name.rstrip("_")) for name in ENUMS["Kind"])
SEGMENT_KINDS = ENUMS["SegmentKind"]
STRUCTURE_KINDS = ENUMS["StructureKind"]

DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
