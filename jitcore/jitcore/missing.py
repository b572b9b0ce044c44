"""Names that PyTorch has and jitcore does not: an attribute error that says so and what comes nearest.

The error is a NotImplementedError, as for every function that is left out, and an AttributeError, so that `hasattr`
and `getattr` with a default answer as they should.
"""

from __future__ import annotations


class MissingError(NotImplementedError, AttributeError):
    """A name of PyTorch's that jitcore does not offer."""


NEAREST = {
    "as_strided": "slicing, permute and unfold give the usual views",
    "autocast": "convert tensors with .to(dtype)",
    "ctc_loss": None,
    "digamma": None,
    "embedding_bag": "embedding followed by sum or mean",
    "erfinv": None,
    "fft": "numpy.fft on x.numpy()",
    "gcd": None,
    "grid_sample": "interpolate",
    "istft": "numpy.fft on x.numpy()",
    "lcm": None,
    "lgamma": None,
    "lobpcg": None,
    "logcumsumexp": "exp, cumsum and log",
    "map_": "operations on whole tensors",
    "mode": "unique(return_counts=True)",
    "polygamma": None,
    "put_": "index_put_",
    "quantize_per_tensor": None,
    "renorm": "norm and mul",
    "resize_": "a new tensor",
    "rnn_tanh": "nn layers",
    "sparse_coo_tensor": "dense tensors",
    "special": "functions of the same names outside `special`",
    "squeeze_": "squeeze",
    "stft": "numpy.fft on x.numpy()",
    "t_": "t",
    "transpose_": "transpose",
    "unsqueeze_": "unsqueeze",
    "vmap": "an extra batch dimension",
}


def missing(owner: str, name: str) -> AttributeError:
    """The error for `owner.name`."""
    if name not in NEAREST:
        return AttributeError(f"{owner} has no attribute {name!r}")
    nearest = NEAREST[name]
    return MissingError(f"{name} is not offered by jitcore" + (f"; the nearest is {nearest}" if nearest else ""))
