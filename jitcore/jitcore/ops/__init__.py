"""Functions on tensors, one family per file. Importing this package attaches the methods to `Tensor`."""

from . import convert
from .activation import celu, log_softmax, prelu, relu, selu, softmax, threshold
from .attention import scaled_dot_product_attention
from .arithmetic import (
    add, addcdiv, addcmul, atan2, bitwise_and, bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor,
    div, divide, floor_divide, fmax, fmin, fmod, lerp, logaddexp, maximum, minimum, mul, multiply, pow, remainder,
    rsub, sub, subtract, true_divide,
)  # fmt: skip
from .compare import (
    allclose, eq, equal, ge, greater, greater_equal, gt, is_nonzero, isclose, isfinite, isin, isinf, isnan, le,
    less, less_equal, logical_and, logical_not, logical_or, logical_xor, lt, ne, not_equal,
)  # fmt: skip
from .creation import (
    arange, as_tensor, asarray, clone, detach, empty, empty_like, eye, from_dlpack, from_numpy, full, full_like,
    is_tensor, linspace, logspace, ones, ones_like, tensor, zeros, zeros_like,
)  # fmt: skip
from .elementwise import (
    abs, absolute, acos, arccos, arcsin, arctan, asin, atan, ceil, clamp, clamp_max, clamp_min, clip, cos, cosh,
    erf, erfc, exp, exp2, expm1, fix, floor, frac, log, log10, log1p, log2, logit, masked_fill, nan_to_num, neg,
    negative, reciprocal, round, rsqrt, sgn, sigmoid, sign, signbit, sin, sinh, sqrt, square, tan, tanh, trunc,
    where,
)  # fmt: skip
from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, embedding
from .einsum import einsum
from .join import (
    cartesian_prod, cat, chunk, concat, concatenate, hstack, meshgrid, split, stack, tensor_split, unbind, vstack,
)  # fmt: skip
from .matrix import (
    addbmm, addmm, addmv, baddbmm, bmm, dot, kron, matmul, mm, mv, outer, tensordot, vdot,
)  # fmt: skip
from .movement import (
    atleast_1d, atleast_2d, broadcast_shapes, broadcast_tensors, broadcast_to, flatten, flip, fliplr, flipud,
    moveaxis, movedim, narrow, numel, permute, ravel, repeat_interleave, reshape, roll, select, squeeze, swapaxes,
    swapdims, t, tile, transpose, unflatten, unsqueeze,
)  # fmt: skip
from .order import (
    argsort, argwhere, bincount, bucketize, histc, kthvalue, masked_select, median, nonzero, quantile,
    searchsorted, sort, topk, unique,
)  # fmt: skip
from .reduction import (
    all, amax, amin, aminmax, any, argmax, argmin, count_nonzero, cumprod, cumsum, diff, logsumexp, max, mean, min,
    nansum, norm, prod, std, std_mean, sum, trace, var, var_mean,
)  # fmt: skip
from .sampling import (
    bernoulli, multinomial, normal, rand, rand_like, randint, randint_like, randn, randn_like, randperm,
)  # fmt: skip
from .select import (
    diag, diag_embed, diagonal, gather, index_add, index_copy, index_fill, index_select, scatter, scatter_add,
    take, take_along_dim, tril, triu,
)  # fmt: skip
from .losses import cosine_embedding_loss, dist
from .normalization import dropout, layer_norm, group_norm, rms_norm
from .pooling import max_pool1d, max_pool2d, pixel_shuffle, pixel_unshuffle

__all__ = [
    "celu", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convert", "dist",
    "dropout", "einsum", "embedding", "group_norm", "layer_norm", "log_softmax", "max_pool1d", "max_pool2d",
    "pixel_shuffle", "pixel_unshuffle", "prelu", "relu", "rms_norm", "selu", "softmax", "threshold",
    "abs", "absolute", "acos", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "all", "allclose", "amax",
    "amin", "aminmax", "any", "arange", "arccos", "arcsin", "arctan", "argmax", "argmin", "argsort", "argwhere",
    "as_tensor", "asarray", "asin", "atan", "atan2", "atleast_1d", "atleast_2d", "baddbmm", "bernoulli",
    "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bmm",
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize", "cartesian_prod", "cat", "ceil", "chunk",
    "clamp", "clamp_max", "clamp_min", "clip", "clone", "concat", "concatenate", "cos", "cosh", "count_nonzero",
    "cumprod", "cumsum", "detach", "diag", "diag_embed", "diagonal", "diff", "div", "divide", "dot", "empty",
    "empty_like", "eq", "equal", "erf", "erfc", "exp", "exp2", "expm1", "eye", "fix", "flatten", "flip", "fliplr",
    "flipud", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "from_dlpack", "from_numpy", "full",
    "full_like", "gather", "ge", "greater", "greater_equal", "gt", "histc", "hstack", "index_add", "index_copy",
    "index_fill", "index_select", "is_nonzero", "is_tensor", "isclose", "isfinite", "isin", "isinf", "isnan",
    "kron", "kthvalue", "le", "lerp", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2",
    "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logspace", "logsumexp", "lt",
    "masked_fill", "masked_select", "matmul", "max", "maximum", "mean", "median", "meshgrid", "min", "minimum",
    "mm", "moveaxis", "movedim", "mul", "multinomial", "multiply", "mv", "nan_to_num", "nansum", "narrow", "ne",
    "neg", "negative", "nonzero", "norm", "normal", "not_equal", "numel", "ones", "ones_like", "outer", "permute",
    "pow", "prod", "quantile", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
    "ravel", "reciprocal", "remainder", "repeat_interleave", "reshape", "roll", "round", "rsqrt", "rsub",
    "scatter", "scatter_add", "searchsorted", "select", "sgn", "sigmoid", "sign", "signbit", "sin", "sinh", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "std", "std_mean", "sub", "subtract", "sum", "swapaxes",
    "swapdims", "t", "take", "take_along_dim", "tan", "tanh", "tensor", "tensor_split", "tensordot", "tile",
    "topk", "trace", "transpose", "tril", "triu", "true_divide", "trunc", "unbind", "unflatten", "unique",
    "unsqueeze", "var", "var_mean", "vdot", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip
