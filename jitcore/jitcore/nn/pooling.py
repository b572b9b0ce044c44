"""Pooling layers and their inverses."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .layers import REQUIRED, FromTable, Row, make_layers

_MAX = {
    "kernel_size": REQUIRED, "stride": None, "padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False,
}  # fmt: skip
_AVERAGE = {"kernel_size": REQUIRED, "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True}
_POWER = {"norm_type": REQUIRED, "kernel_size": REQUIRED, "stride": None, "ceil_mode": False}
_FRACTIONAL = {
    "kernel_size": REQUIRED, "output_size": None, "output_ratio": None, "return_indices": False,
    "_random_samples": None,
}  # fmt: skip


class _Strided(FromTable):
    """The stride is the kernel's size where none is given."""

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        if self._row.function == "avg_pool1d":  # which shows tuples
            for key in ("kernel_size", "stride", "padding"):
                arguments[key] = _tuple(arguments[key], 1)
        return arguments


class _MaxPoolNd(_Strided):
    """The largest of each window."""


class _AvgPoolNd(_Strided):
    """The mean of each window."""


class _AdaptiveAvgPoolNd(FromTable):
    """The mean of windows that give the wanted size."""


class _AdaptiveMaxPoolNd(FromTable):
    """The largest of windows that give the wanted size."""


class _MaxUnpoolNd(FromTable):
    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        rank = int(self._row.function[-2])
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        return {key: _tuple(value, rank) for key, value in arguments.items()}

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:  # type: ignore[override]
        given = {key: getattr(self, key) for key in self._passed}
        return getattr(F, self._row.function)(input, indices, output_size=output_size, **given)


class _Fractional(FromTable):
    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name, size, ratio = type(self).__name__, arguments["output_size"], arguments["output_ratio"]
        if size is None and ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if size is not None and ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if ratio is not None and not all(0 < r < 1 for r in _tuple(ratio, int(name[-2]))):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {ratio})")
        return arguments


def _tuple(value: Any, rank: int) -> tuple:
    return (value,) * rank if isinstance(value, int | float) else tuple(value)


_RANKS = (1, 2, 3)
_SHOWN = ("kernel_size=", "stride=", "padding=")
__all__ = [
    *make_layers(
        globals(),
        {f"MaxPool{n}d": Row(f"max_pool{n}d", _MAX, (*_SHOWN, "dilation=", "ceil_mode=")) for n in _RANKS},
        _MaxPoolNd,
    ),
    *make_layers(globals(), {"AvgPool1d": Row("avg_pool1d", _AVERAGE, _SHOWN)}, _AvgPoolNd),
    *make_layers(
        globals(),
        {f"AvgPool{n}d": Row(f"avg_pool{n}d", {**_AVERAGE, "divisor_override": None}, _SHOWN) for n in (2, 3)},
        _AvgPoolNd,
    ),
    *make_layers(
        globals(),
        {
            f"AdaptiveAvgPool{n}d": Row(f"adaptive_avg_pool{n}d", {"output_size": REQUIRED}, ("output_size=",))
            for n in _RANKS
        },
        _AdaptiveAvgPoolNd,
    ),
    *make_layers(
        globals(),
        {
            f"AdaptiveMaxPool{n}d": Row(
                f"adaptive_max_pool{n}d", {"output_size": REQUIRED, "return_indices": False}, ("output_size=",)
            )
            for n in _RANKS
        },
        _AdaptiveMaxPoolNd,
    ),
    *make_layers(
        globals(),
        {
            f"LPPool{n}d": Row(f"lp_pool{n}d", _POWER, ("norm_type=", "kernel_size=", "stride=", "ceil_mode="))
            for n in _RANKS
        },
    ),
    *make_layers(
        globals(),
        {
            f"MaxUnpool{n}d": Row(
                f"max_unpool{n}d", {"kernel_size": REQUIRED, "stride": None, "padding": 0}, _SHOWN
            )
            for n in _RANKS
        },
        _MaxUnpoolNd,
    ),
    *make_layers(
        globals(),
        {f"FractionalMaxPool{n}d": Row(f"fractional_max_pool{n}d", _FRACTIONAL) for n in (2, 3)},
        _Fractional,
    ),
]  # fmt: skip
