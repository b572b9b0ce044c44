"""Recurrent layers: RNN, LSTM, GRU and one step of each (RNNCell, LSTMCell, GRUCell)."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import ops
from ..ops.recurrent import gru_step, lstm_step, recurrence
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, batch_sizes_of

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What the layers share: weights `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then `.._l0_reverse`
    where bidirectional, and so for each layer; `weight_hr_l0` where an LSTM has a proj_size."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        _check_sizes(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        out = proj_size or hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            wide = input_size if layer == 0 else out * directions
            for suffix in ("", "_reverse")[:directions]:
                gates = _GATES[mode] * hidden_size
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, wide), "weight_hh": (gates, out)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, Parameter(ops.empty(*shape, device=device, dtype=dtype)))
                self._all_weights.append(list(names))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: weights need no special memory here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        for name, default in {**defaults, "bidirectional": False}.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text

    def _run(self, input: Any, given: tuple[Tensor, ...] | None) -> tuple[Any, tuple[Tensor, ...]]:
        """All layers: (the output, the last states, each [layers * directions, B, size])."""
        packed = input if isinstance(input, PackedSequence) else None
        x: Tensor = input if packed is None else packed.data
        sizes = None if packed is None else batch_sizes_of(packed)
        batched = self._check_input(x, given, packed is not None)
        if packed is None:
            if not batched:
                x = x.unsqueeze(0 if self.batch_first else 1)
                given = None if given is None else tuple(part.unsqueeze(1) for part in given)
            if self.batch_first:
                x = x.transpose(0, 1)
        batch = x.shape[1] if sizes is None else sizes[0]
        states = self._initial(x, batch, given, None if packed is None else packed.sorted_indices)
        x, last = self._layers(x, states, sizes)
        if packed is not None:
            if packed.unsorted_indices is not None:
                last = tuple(part.index_select(1, packed.unsorted_indices) for part in last)
            return PackedSequence(x, *packed[1:]), last
        if self.batch_first:
            x = x.transpose(0, 1)
        if not batched:
            x, last = x.squeeze(0 if self.batch_first else 1), tuple(part.squeeze(1) for part in last)
        return x, last

    def _layers(
        self, x: Tensor, states: tuple[Tensor, ...], sizes: list[int] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        directions = 2 if self.bidirectional else 1
        finals = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                number = layer * directions + direction
                state = tuple(part[number] for part in states)
                output, last = recurrence(self.mode, x, state, self._weights_of(number), sizes, direction == 1)
                outputs.append(output)
                finals.append(last)
            x = outputs[0] if directions == 1 else ops.cat(outputs, -1)
            if self.dropout and self.training and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, True)
        return x, tuple(ops.stack(parts) for parts in zip(*finals, strict=True))

    def _weights_of(self, number: int) -> list[Tensor | None]:
        names = iter(self._all_weights[number])
        found: list[Tensor | None] = [getattr(self, next(names)), getattr(self, next(names))]
        found += [getattr(self, next(names)), getattr(self, next(names))] if self.bias else [None, None]
        return [*found, getattr(self, next(names)) if self.proj_size else None]

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def _initial(
        self, x: Tensor, batch: Any, given: tuple[Tensor, ...] | None, order: Tensor | None
    ) -> tuple[Tensor, ...]:
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = self._state_sizes()
        if given is None:
            return tuple(ops.zeros(count, batch, size, dtype=x.dtype) for size in sizes)
        for number, (part, size) in enumerate(zip(given, sizes, strict=True)):
            if tuple(part.shape) != (count, batch, size):
                name = "hidden" if len(sizes) == 1 else f"hidden[{number}]"
                raise RuntimeError(f"Expected {name} size {(count, batch, size)}, got {list(part.shape)}")
        return given if order is None else tuple(part.index_select(1, order) for part in given)

    def _check_input(self, x: Tensor, given: tuple[Tensor, ...] | None, packed: bool) -> bool:
        """Whether the input has a batch dimension. Raises ValueError or RuntimeError where it does not fit."""
        name, rank = type(self).__name__, x.ndim
        if not packed and rank not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {rank}D instead")
        if packed and rank != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {rank}")
        for part in given or ():
            expected = 3 if packed else rank
            if part.ndim != expected:
                kind = "unbatched" if expected == 2 else "batched"
                raise RuntimeError(
                    f"For {kind} {expected}-D input, hx should also be {expected}-D but got {part.ndim}-D tensor"
                )
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        weight = getattr(self, self._all_weights[0][0])
        if x.dtype is not weight.dtype:
            raise ValueError(f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype})")
        return packed or rank == 3


def _check_sizes(
    input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int
) -> None:
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError("dropout should be a number in range [0, 1], the probability of an element being zeroed")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value, kind in (("bias", bias, bool), ("batch_first", batch_first, bool)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: input [T, B, F] -> (all h [T, B, H], last h [layers, B, H])."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if "proj_size" in keywords:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(arguments) > 3:
            nonlinearity, arguments = arguments[3], arguments[:3] + arguments[4:]
        else:
            nonlinearity = keywords.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *arguments, **keywords)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, last = self._run(input, None if hx is None else (hx,))
        return output, last[0]


class LSTM(RNNBase):
    """Long short-term memory: input [T, B, F] -> (all h, (last h, last c)); proj_size projects h."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__("LSTM", *arguments, **keywords)

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, (h, c) = self._run(input, None if hx is None else tuple(hx))
        return output, (h, c)


class GRU(RNNBase):
    """Gated recurrent unit: input [T, B, F] -> (all h, last h)."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if "proj_size" in keywords:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *arguments, **keywords)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, last = self._run(input, None if hx is None else (hx,))
        return output, last[0]


class RNNCellBase(Module):
    """What the cells share: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(ops.empty(gates, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(ops.empty(gates, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(ops.empty(gates, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def _batch(self, input: Tensor, *hidden: Tensor | None) -> tuple[bool, Tensor, list[Tensor]]:
        """(whether there is a batch, the input and the states with one)."""
        name = type(self).__name__
        for what, x in (("input", input), *(("hidden", h) for h in hidden if h is not None)):
            if x.ndim not in (1, 2):
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {x.ndim}D instead")
        batched = input.ndim == 2
        x = input if batched else input.unsqueeze(0)
        zeros = ops.zeros(x.shape[0], self.hidden_size, dtype=x.dtype) if None in hidden else None
        states = [zeros if h is None else h if batched else h.unsqueeze(0) for h in hidden]
        if x.shape[-1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {x.shape[-1]} expected {self.input_size}")
        for h in states:
            assert h is not None
            if h.shape[-1] != self.hidden_size or h.shape[0] != x.shape[0]:
                raise RuntimeError(
                    f"hidden is {list(h.shape)}, expected {[x.shape[0], self.hidden_size]} for input {list(x.shape)}"
                )
        return batched, x, states  # type: ignore[return-value]


class RNNCell(RNNCellBase):
    """One step of an RNN: (input [B, F], h [B, H]) -> h."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        batched, x, (h,) = self._batch(input, hx)
        total = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        h = total.tanh() if self.nonlinearity == "tanh" else total.relu()
        return h if batched else h.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (input [B, F], (h, c)) -> (h, c)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        batched, x, (h, c) = self._batch(input, *((None, None) if hx is None else hx))
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        h, c = lstm_step(gates, c)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a GRU: (input [B, F], h [B, H]) -> h."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        batched, x, (h,) = self._batch(input, hx)
        x = F.linear(x, self.weight_ih, self.bias_ih)
        h = gru_step(x, F.linear(h, self.weight_hh, self.bias_hh), h)
        return h if batched else h.squeeze(0)
