"""`ConvSpec`: everything that decides the code of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

from jitcore_ir import BufferType
from jitcore_ir.dtypes import DType
from jitcore_ir.errors import AttributeValueError, ShapeError
from jitcore_ir.ops.elementwise import ACCUMULATOR
from jitcore_ir.shapes import Expr, is_static

from .blocking import Machine, machine
from .gemm_spec import Dims, check_dtype

Pairs = tuple[tuple[int, int], ...]
DIRECTIONS = ("forward", "input", "weight")


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """A loop IR `convolution` of row-major buffers, for one target.

    direction   x                y                        result
    forward     [N, C, S...]     [O, C / groups, K...]    [N, O, *spatial]
    input       [N, O, P...]     [O, C / groups, K...]    [N, C, *spatial]
    weight      [N, C, S...]     [N, O, P...]             [O, C / groups, *spatial]

    Batch and spatial sizes may be expressions; channels, kernel, stride, padding and dilation are integers.
    `prepacked`: y (a weight) is in the layout that `emit_conv_pack` writes for this spec. The packed layout depends on
    dtype, target, direction, the weight's shape and groups alone, so one packed y serves convolutions of other strides.
    """

    dtype: DType
    direction: str
    x_shape: Dims
    y_shape: Dims
    spatial: Dims
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    prepacked: bool
    target: str

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.direction not in DIRECTIONS:
            known = ", ".join(DIRECTIONS)
            raise AttributeValueError(f"convolution: direction {self.direction!r} is not one of {known}")
        if self.prepacked and self.direction == "weight":
            raise AttributeValueError("convolution: a weight gradient has no weight to prepack")
        fixed = (self.x_shape[1], self.y_shape[1], *self.spatial) if self.direction == "weight" else self.y_shape
        if not is_static(fixed) or not isinstance(self.x_shape[1], int):
            raise ShapeError(
                f"convolution ({self.direction}): channels and kernel sizes must be integers in native code; operands "
                f"are {list(self.x_shape)} and {list(self.y_shape)}"
            )

    @classmethod
    def of(
        cls, x: BufferType, y: BufferType, direction: str, prepacked: bool, stride: tuple[int, ...], padding: Pairs,
        dilation: tuple[int, ...], groups: int, spatial: Dims, target: str,
    ) -> ConvSpec:  # fmt: skip
        """The spec of a loop IR `convolution` operation."""
        return cls(
            x.dtype, direction, x.shape, y.shape, spatial, stride, padding, dilation, groups, prepacked, target
        )  # fmt: skip

    @property
    def accumulator(self) -> DType:
        """The dtype of the sums."""
        return ACCUMULATOR[self.dtype]

    @property
    def machine(self) -> Machine:
        return machine(self.target)

    @property
    def run_time_dims(self) -> tuple[Expr, ...]:
        """The distinct dims that are not integers, in the order in which `sizes` holds them. Sizes that follow from
        others, such as those of padded images, are among them."""
        from .conv_geometry import Geometry

        return Geometry(self).run_time_dims
