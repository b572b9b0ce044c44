"""Functions that PyTorch has at its top in the form of its own kernels: other orders of arguments than those of
`nn.functional`, and reductions as numbers (0 none, 1 mean, 2 sum)."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

_REDUCTIONS = ("none", "mean", "sum")


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.batch_norm`."""
    from . import normalization

    return normalization.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.instance_norm`."""
    from . import normalization

    return normalization.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )  # fmt: skip


def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """`nn.functional.kl_div`."""
    from . import losses

    return losses.kl_div(input, target, reduction=_REDUCTIONS[reduction], log_target=log_target)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:  # fmt: skip
    """`nn.functional.poisson_nll_loss`."""
    from . import losses

    return losses.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_REDUCTIONS[reduction])


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """`nn.functional.ctc_loss`."""
    from . import ctc

    return ctc.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _REDUCTIONS[reduction], zero_infinity
    )  # fmt: skip


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """A convolution of 1, 2 or 3 dimensions, or its transpose."""
    from . import convolution as c

    rank = weight.ndim - 2
    if rank not in (1, 2, 3):
        raise RuntimeError(f"convolution: weight must have 3, 4 or 5 dimensions, got {weight.ndim}")
    sizes = [tuple(s) * (rank if len(s) == 1 else 1) for s in (stride, padding, dilation, output_padding)]
    stride, padding, dilation, output_padding = sizes
    if transposed:
        function = (c.conv_transpose1d, c.conv_transpose2d, c.conv_transpose3d)[rank - 1]
        return function(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return (c.conv1d, c.conv2d, c.conv3d)[rank - 1](input, weight, bias, stride, padding, dilation, groups)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dimensions but one, which stays; over all of them where that is -1."""
    return v.norm(pow) if dim == -1 else v.norm(pow, [d for d in range(v.ndim) if d != dim], keepdim=True)


__all__ = ["batch_norm", "convolution", "ctc_loss", "instance_norm", "kl_div", "norm_except_dim", "poisson_nll_loss"]
