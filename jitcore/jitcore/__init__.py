"""jitcore: PyTorch-style tensors and autograd, in the names and with the defaults of PyTorch.

    import jitcore

    x = jitcore.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                       # tensor([2., 4.])
"""

from math import e, inf, nan, pi

from jitcore_ir.dtypes import (
    DType,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)  # fmt: skip
from jitcore_ir.version import __version__

from . import autograd, operators
from .autograd import vjps
from .autograd.engine import backward as _backward
from .autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)  # fmt: skip
from .device import Device, get_default_dtype, set_default_dtype
from .generator import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)  # fmt: skip
from .ops import convert
from .ops.arithmetic import (
    add,
    addcdiv,
    addcmul,
    atan2,
    bitwise_and,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    div,
    divide,
    floor_divide,
    fmax,
    fmin,
    fmod,
    lerp,
    logaddexp,
    maximum,
    minimum,
    mul,
    multiply,
    pow,
    remainder,
    rsub,
    sub,
    subtract,
    true_divide,
)  # fmt: skip
from .ops.compare import (
    allclose,
    eq,
    equal,
    ge,
    greater,
    greater_equal,
    gt,
    is_nonzero,
    isclose,
    isfinite,
    isin,
    isinf,
    isnan,
    le,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
    not_equal,
)  # fmt: skip
from .ops.creation import (
    arange,
    as_tensor,
    asarray,
    clone,
    detach,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    is_tensor,
    linspace,
    logspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .ops.elementwise import (
    abs,
    absolute,
    acos,
    arccos,
    arcsin,
    arctan,
    asin,
    atan,
    ceil,
    clamp,
    clamp_max,
    clamp_min,
    clip,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    fix,
    floor,
    frac,
    log,
    log1p,
    log2,
    log10,
    logit,
    masked_fill,
    nan_to_num,
    neg,
    negative,
    reciprocal,
    round,
    rsqrt,
    sgn,
    sigmoid,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
    where,
)  # fmt: skip
from .ops.join import (
    cartesian_prod,
    cat,
    chunk,
    concat,
    concatenate,
    hstack,
    meshgrid,
    split,
    stack,
    tensor_split,
    unbind,
    vstack,
)  # fmt: skip
from .ops.matrix import (
    addbmm,
    addmm,
    addmv,
    baddbmm,
    bmm,
    dot,
    kron,
    matmul,
    mm,
    mv,
    outer,
    tensordot,
    vdot,
)  # fmt: skip
from .ops.movement import (
    atleast_1d,
    atleast_2d,
    broadcast_shapes,
    broadcast_tensors,
    broadcast_to,
    flatten,
    flip,
    fliplr,
    flipud,
    moveaxis,
    movedim,
    narrow,
    numel,
    permute,
    ravel,
    repeat_interleave,
    reshape,
    roll,
    select,
    squeeze,
    swapaxes,
    swapdims,
    t,
    tile,
    transpose,
    unflatten,
    unsqueeze,
)  # fmt: skip
from .ops.order import (
    argsort,
    argwhere,
    bincount,
    bucketize,
    histc,
    kthvalue,
    masked_select,
    median,
    nonzero,
    quantile,
    searchsorted,
    sort,
    topk,
    unique,
)  # fmt: skip
from .ops.reduction import (
    all,
    amax,
    amin,
    aminmax,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumprod,
    cumsum,
    diff,
    logsumexp,
    max,
    mean,
    min,
    nansum,
    norm,
    prod,
    std,
    std_mean,
    sum,
    trace,
    var,
    var_mean,
)  # fmt: skip
from .ops.sampling import (
    bernoulli,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
)  # fmt: skip
from .ops.select import (
    diag,
    diag_embed,
    diagonal,
    gather,
    index_add,
    index_copy,
    index_fill,
    index_select,
    scatter,
    scatter_add,
    take,
    take_along_dim,
    tril,
    triu,
)  # fmt: skip
from .promotion import can_cast, promote_types, result_type
from .tensor import Size, Tensor
from .typeinfo import finfo, iinfo

bool = bool_
float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
cfloat = complex64
cdouble = complex128
dtype = DType
device = Device
strided = "strided"
contiguous_format = preserve_format = channels_last = "contiguous"
newaxis = None
