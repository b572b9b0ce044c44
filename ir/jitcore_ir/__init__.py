"""The intermediate representation: dtypes, shapes, op specs, graphs in SSA form and their text.

Passes live in `jitcore_ir.passes`, which is imported only by who runs them.
"""

from . import dtypes, ops, shapes
from .dtypes import DType
from .errors import AttributeValueError, DTypeError, IRError, ParseError, ShapeError, VerificationError
from .graph import Block, Graph, Operation, Region, Value, create_operation
from .location import UNKNOWN, Location
from .parser import parse_graph
from .printer import print_graph, print_operation
from .spec import OPS, Kind, OpSpec, Trait, spec_named
from .types import BufferType, TensorType

__all__ = [
    "OPS",
    "UNKNOWN",
    "AttributeValueError",
    "Block",
    "BufferType",
    "DType",
    "DTypeError",
    "Graph",
    "IRError",
    "Kind",
    "Location",
    "OpSpec",
    "Operation",
    "ParseError",
    "Region",
    "ShapeError",
    "TensorType",
    "Trait",
    "Value",
    "VerificationError",
    "create_operation",
    "dtypes",
    "ops",
    "parse_graph",
    "print_graph",
    "print_operation",
    "shapes",
    "spec_named",
]
