"""The scalar builder that makes LLVM instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from jitcore_ir.dtypes import DType, bfloat16, bool_, float16, float32, float64, int32

from ..scalar import Scalar, half
from ..scalar.builder import Number

I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
F32, F64, PTR = ir.FloatType(), ir.DoubleType(), ir.PointerType()

_FLOAT_BINARY = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_INT_BINARY = {"+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor", "<<": "shl"}


def register_type(dtype: DType) -> ir.Type:
    """What a value of `dtype` is while it is computed with. 16-bit floats only pass through, as their bits."""
    if dtype is bool_:
        return I1
    if dtype is float32:
        return F32
    if dtype is float64:
        return F64
    return ir.IntType(dtype.bits)


def memory_type(dtype: DType) -> ir.Type:
    """What an element of `dtype` is in memory."""
    return I8 if dtype is bool_ else register_type(dtype)


class LLVMScalars:
    """Implements `ScalarBuilder` over an `ir.IRBuilder`, which may be exchanged (`at`).

    `on_zero(is_zero)` adds the code that reports a division by zero where the i1 holds; `half`: the target converts
    float16 in hardware. `flags` are put on float additions, multiplications and extremes (`reassoc` in reductions).
    """

    def __init__(self, builder: ir.IRBuilder, half: bool, on_zero: Callable[[ir.Value], None] | None = None) -> None:
        self.at = builder
        self.half = half
        self.on_zero = on_zero
        self.flags: tuple[str, ...] = ()

    def wrap(self, handle: ir.Value, dtype: DType) -> Scalar:
        return Scalar(self, handle, dtype)  # type: ignore[arg-type]

    def constant(self, dtype: DType, value: Number) -> Scalar:
        kind = register_type(dtype)
        if dtype.kind == "float":
            return self.wrap(ir.Constant(kind, _float_constant(float(value), dtype)), dtype)
        number = int(value) & ((1 << kind.width) - 1)
        return self.wrap(ir.Constant(kind, number), dtype)

    def binary(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        dtype, a, b = x.dtype, x.handle, y.handle
        if dtype.kind == "float":
            if operator == "%":
                return self._fmod(x, y)
            make = getattr(self.at, _FLOAT_BINARY[operator])
            return self.wrap(make(a, b, flags=self.flags if operator in "+*" else ()), dtype)
        signed = dtype.kind == "int"
        if operator == ">>":
            return self.wrap((self.at.ashr if signed else self.at.lshr)(a, b), dtype)
        if operator in ("//", "%"):
            name = {"//": ("udiv", "sdiv"), "%": ("urem", "srem")}[operator][signed]
            return self.wrap(getattr(self.at, name)(a, b), dtype)
        return self.wrap(getattr(self.at, _INT_BINARY[operator])(a, b), dtype)

    def compare(self, operator: str, x: Scalar, y: Scalar) -> Scalar:
        if x.dtype.kind == "float":
            make = self.at.fcmp_unordered if operator == "!=" else self.at.fcmp_ordered
        else:
            make = self.at.icmp_signed if x.dtype.kind == "int" else self.at.icmp_unsigned
        return self.wrap(make(operator, x.handle, y.handle), bool_)

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar:
        return self.wrap(self.at.select(condition.handle, x.handle, y.handle), x.dtype)

    def multiply_add(self, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
        return self.wrap(self._intrinsic("fmuladd", x, y, z), x.dtype)

    def unary(self, name: str, x: Scalar) -> Scalar:
        if name == "neg":
            return self.wrap(self.at.fneg(x.handle) if x.dtype.kind == "float" else self.at.neg(x.handle), x.dtype)
        names = {"abs": "fabs", "round": "roundeven"}
        return self.wrap(self._intrinsic(names.get(name, name), x), x.dtype)

    def extreme(self, name: str, x: Scalar, y: Scalar) -> Scalar:
        return self.wrap(self._intrinsic(name, x, y, flags=("nsz",)), x.dtype)

    def convert(self, x: Scalar, dtype: DType) -> Scalar:
        source = x.dtype
        if source in (float16, bfloat16):
            wide = self._widen(x)
            return wide if dtype is float32 else self.convert(wide, dtype)
        if dtype in (float16, bfloat16):
            return self._narrow(half.single(x, dtype), dtype)
        if dtype is bool_:
            return x if source is bool_ else x.differs(0)
        return self.wrap(self._convert(x, dtype), dtype)

    def _convert(self, x: Scalar, dtype: DType) -> ir.Value:
        source, kind = x.dtype, register_type(dtype)
        if source is dtype:
            return x.handle
        if source.kind == "float" and dtype.kind == "float":
            return self.at.fptrunc(x.handle, kind) if dtype is float32 else self.at.fpext(x.handle, kind)
        if source.kind == "float":
            return self._float_to_int(x, dtype)
        if dtype.kind == "float":
            if source.kind in ("bool", "uint"):
                return self.at.uitofp(x.handle, kind)
            return self.at.sitofp(x.handle, kind)
        width, wanted = x.handle.type.width, kind.width
        if wanted < width:
            return self.at.trunc(x.handle, kind)
        if wanted == width:
            return x.handle
        return self.at.sext(x.handle, kind) if source.kind == "int" else self.at.zext(x.handle, kind)

    def _float_to_int(self, x: Scalar, dtype: DType) -> ir.Value:
        """Truncate. What does not fit is whatever the hardware gives (as in PyTorch), but never undefined: frozen."""
        if dtype.bits == 64:
            wide = self.at.fptosi(x.handle, I64)
        else:  # by way of int64 for int32 too, so that out-of-range values wrap as NumPy's do
            wide = self.at.fptosi(x.handle, I32 if dtype.bits < 32 else I64)
        wide = self.at.freeze(wide) if hasattr(self.at, "freeze") else wide
        kind = ir.IntType(dtype.bits)
        return wide if wide.type.width == dtype.bits else self.at.trunc(wide, kind)

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        return self.wrap(self.at.bitcast(x.handle, register_type(dtype)), dtype)

    def nonzero_divisor(self, y: Scalar) -> Scalar:
        if isinstance(y.handle, ir.Constant) and y.handle.constant:
            return y
        is_zero = y.equals(0)
        if self.on_zero is not None:
            self.on_zero(is_zero.handle)
        return y.like(1).where(is_zero, y)

    # 16-bit floats

    def _widen(self, x: Scalar) -> Scalar:
        if self.half and x.dtype is float16:
            return self.wrap(self.at.fpext(self.at.bitcast(x.handle, ir.HalfType()), F32), float32)
        return half.widen(self.wrap(self.at.zext(x.handle, I32), int32), x.dtype)

    def _narrow(self, x: Scalar, dtype: DType) -> Scalar:
        if self.half and dtype is float16:
            return self.wrap(self.at.bitcast(self.at.fptrunc(x.handle, ir.HalfType()), I16), float16)
        return self.wrap(self.at.trunc(half.narrow(x, dtype).handle, I16), dtype)

    def _intrinsic(self, name: str, *xs: Scalar, flags: tuple[str, ...] = ()) -> ir.Value:
        kind = xs[0].handle.type
        function = declare(
            self.at.module, f"llvm.{name}.{'f32' if kind is F32 or kind == F32 else 'f64'}", kind, [kind] * len(xs)
        )
        return self.at.call(function, [x.handle for x in xs], fastmath=(*flags, *self.flags))

    def _fmod(self, x: Scalar, y: Scalar) -> Scalar:
        function = float_remainder(self.at.module)
        wide = [v.to(float64).handle for v in (x, y)]
        return self.wrap(self.at.call(function, wide), float64).to(x.dtype)


def declare(module: ir.Module, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """The external function `name`, declared once."""
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


def float_remainder(module: ir.Module) -> ir.Function:
    """`double jc_fmod(double x, double y)`: exact, by doubling |y| up to |x| and subtracting on the way down."""
    name = "jc_fmod"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(F64, [F64, F64]), name)
    function.linkage = "internal"
    entry = function.append_basic_block("entry")
    b = ir.IRBuilder(entry)
    fabs = declare(module, "llvm.fabs.f64", F64, [F64])
    copysign = declare(module, "llvm.copysign.f64", F64, [F64, F64])
    x, y = function.args
    size, step = b.call(fabs, [x]), b.call(fabs, [y])
    infinity, zero, half = (ir.Constant(F64, v) for v in (float("inf"), 0.0, 0.5))
    defined = b.and_(b.fcmp_ordered("<", size, infinity), b.fcmp_ordered(">", step, zero))
    up, check, down, subtract, done, nan = (
        function.append_basic_block(n) for n in ("up", "check", "down", "subtract", "done", "nan")
    )
    b.cbranch(defined, up, nan)
    b.position_at_end(nan)
    b.ret(ir.Constant(F64, float("nan")))
    b.position_at_end(up)
    t = b.phi(F64)
    doubled = b.fadd(t, t)
    t.add_incoming(step, entry)
    t.add_incoming(doubled, up)
    b.cbranch(b.fcmp_ordered("<=", doubled, size), up, check)
    b.position_at_end(check)
    r, s = b.phi(F64), b.phi(F64)
    b.cbranch(b.fcmp_ordered(">=", s, step), down, done)
    b.position_at_end(down)
    b.branch(subtract)
    b.position_at_end(subtract)
    rest = b.select(b.fcmp_ordered(">=", r, s), b.fsub(r, s), r)
    r.add_incoming(size, up)
    r.add_incoming(rest, subtract)
    s.add_incoming(t, up)
    s.add_incoming(b.fmul(s, half), subtract)
    b.branch(check)
    b.position_at_end(done)
    b.ret(b.call(copysign, [r, x]))
    return function


def _float_constant(value: float, dtype: DType) -> Any:
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(value)) if dtype is float32 else value
