"""Layers that move elements: padding, shuffling, folding, resampling."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .layers import REQUIRED, FromTable, Row, make_layers

_KERNEL = {"kernel_size": REQUIRED, "dilation": 1, "padding": 0, "stride": 1}
_SIZE = {"size": None, "scale_factor": None}
_MODES = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular", "Zero": "constant"}


class _Pad(FromTable):
    """The amount at both ends of each of the last dimensions, the last one first; or one number for all."""

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        rank, given = int(type(self).__name__[-2]), arguments["padding"]
        arguments["padding"] = (given,) * (2 * rank) if isinstance(given, int) else tuple(given)
        return arguments

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        return F.pad(input, self.padding, self._row.fixed["mode"], getattr(self, "value", None))


class _Upsample(FromTable):
    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        for key, kind in (("size", int), ("scale_factor", float)):
            value = arguments[key]
            if isinstance(value, list | tuple):
                arguments[key] = tuple(kind(v) for v in value)
            elif value is not None:
                arguments[key] = kind(value)
        return arguments

    def extra_repr(self) -> str:
        key = "size" if self.scale_factor is None else "scale_factor"
        mode = getattr(self, "mode", self._row.fixed.get("mode"))
        return f"{key}={getattr(self, key)!r}, mode={mode!r}"


_LAYERS = {
    "PixelShuffle": Row("pixel_shuffle", {"upscale_factor": REQUIRED}, ("upscale_factor=",)),
    "PixelUnshuffle": Row("pixel_unshuffle", {"downscale_factor": REQUIRED}, ("downscale_factor=",)),
    "ChannelShuffle": Row("channel_shuffle", {"groups": REQUIRED}, ("groups=",)),
    "Fold": Row(
        "fold",
        {"output_size": REQUIRED, **_KERNEL},
        ("output_size=", "kernel_size=", "dilation=", "padding=", "stride="),
    ),
    "Unfold": Row("unfold", _KERNEL, ("kernel_size=", "dilation=", "padding=", "stride=")),
}
_PADS = {
    f"{name}Pad{n}d": Row("pad", {"padding": REQUIRED}, ("padding",), {"mode": mode})
    for name, mode in _MODES.items()
    for n in (1, 2, 3)
} | {
    f"ConstantPad{n}d": Row(
        "pad", {"padding": REQUIRED, "value": REQUIRED}, ("padding=", "value="), {"mode": "constant"}
    )
    for n in (1, 2, 3)
}
_UPSAMPLING = {
    "Upsample": Row("interpolate", {**_SIZE, "mode": "nearest", "align_corners": None, "recompute_scale_factor": None}),
    "UpsamplingNearest2d": Row("interpolate", _SIZE, (), {"mode": "nearest"}),
    "UpsamplingBilinear2d": Row("interpolate", _SIZE, (), {"mode": "bilinear", "align_corners": True}),
}

__all__ = [
    *make_layers(globals(), _LAYERS),
    *make_layers(globals(), _PADS, _Pad),
    *make_layers(globals(), _UPSAMPLING, _Upsample),
]
