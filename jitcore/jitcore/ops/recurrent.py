"""Recurrences over time: the sequence through one layer, one direction, of an RNN, LSTM or GRU.

The inputs of all steps are multiplied by the weight at once; a step then costs one product with the state. A sequence
is [T, B, features], or packed: [sum of batch sizes, features] with the number of sequences alive at each step, which
never grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.function import Function
from ..state import state as thread
from ..symbolic import SymInt
from ..tensor import Tensor, shape_of
from .activation import relu
from .convolution import linear
from .elementwise import sigmoid, tanh
from .join import cat, stack
from .movement import select, slice_axis

LONG = 8
"""Sequences of at least so many steps are loops in recorded programs; shorter ones are unrolled. Measured for an LSTM
on 20 steps of [32, 128]: forward 2.4 ms as a loop, 2.3 unrolled; a training step 6.8 against 19, compiled in 2 s
against 9."""

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]


class _Pieces(Function):
    """x in pieces along an axis. Their gradients are joined at once, where those of plain slices are added one by one
    in arrays of x's size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: Sequence[Any], axis: int) -> tuple[Tensor, ...]:
        ctx.axis = axis
        return _slices(x, sizes, axis)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return cat(gradients, ctx.axis), None, None


class _Steps(Function):
    """x[0], x[1], ..., whose gradients are stacked at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        return _each(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return stack(gradients)


def _slices(x: Tensor, sizes: Sequence[Any], axis: int) -> tuple[Tensor, ...]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(slice_axis(x, axis, start, size))
        start = start + size
    return tuple(pieces)


def _each(x: Tensor) -> tuple[Tensor, ...]:
    return tuple(select(x, 0, t) for t in range(int(shape_of(x)[0])))


def in_pieces(x: Tensor, sizes: Sequence[Any], axis: int) -> tuple[Tensor, ...]:
    """Consecutive pieces of the given sizes."""
    return _Pieces.apply(x, sizes, axis) if x.requires_grad else _slices(x, sizes, axis)


def recurrence(
    kind: str, input: Tensor, state: State, weights: Sequence[Tensor | None], sizes: Sequence[int] | None, reverse: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: (the hidden state after each step, the last state).

    kind: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU". state: (h,), or (h, c) of an LSTM, each [B, H]. weights: w_ih, w_hh,
    b_ih, b_hh, and an LSTM's projection; b_ih, b_hh and the projection may be None. sizes: the batch sizes of a packed
    sequence.
    """
    w_ih, w_hh, b_ih, b_hh, projection = weights
    assert w_ih is not None and w_hh is not None
    step = _STEPS[kind](w_hh, b_hh, projection)
    bias = b_ih if kind == "GRU" or b_ih is None or b_hh is None else b_ih + b_hh
    projected = linear(input, w_ih, bias)
    if sizes is None:
        return _over_padded(step, projected, state, reverse)
    return _over_packed(step, projected, state, sizes, reverse)


def _over_padded(step: Step, projected: Tensor, state: State, reverse: bool) -> tuple[Tensor, State]:
    from ..control_flow import recorded_whole

    length = shape_of(projected)[0]
    if type(length) is SymInt or (length >= LONG and thread.batching is None and recorded_whole()):
        return _scanned(step, projected, state, reverse)
    steps = _Steps.apply(projected) if projected.requires_grad else _each(projected)
    outputs = []
    for x in reversed(steps) if reverse else steps:
        state = step(x, state)
        outputs.append(state[0])
    return stack(outputs[::-1] if reverse else outputs), state


def _scanned(step: Step, projected: Tensor, state: State, reverse: bool) -> tuple[Tensor, State]:
    from ..control_flow import scan

    def turn(state: State, x: Tensor) -> tuple[State, Tensor]:
        state = step(x, state)
        return state, state[0]

    last, outputs = scan(turn, state, projected, reverse=reverse)
    return outputs, last


def _over_packed(
    step: Step, projected: Tensor, initial: State, sizes: Sequence[int], reverse: bool
) -> tuple[Tensor, State]:
    outputs, ended = [], []
    steps = list(zip(in_pieces(projected, sizes, 0), sizes, strict=True))
    alive = sizes[-1 if reverse else 0]
    state = tuple(slice_axis(part, 0, 0, alive) for part in initial)
    for x, size in reversed(steps) if reverse else steps:
        if size < alive:  # forwards, sequences end: their last states are kept
            ended.append(tuple(slice_axis(part, 0, size, alive - size) for part in state))
            state = tuple(slice_axis(part, 0, 0, size) for part in state)
        elif size > alive:  # backwards, they begin
            begun = (slice_axis(part, 0, alive, size - alive) for part in initial)
            state = tuple(cat([part, more]) for part, more in zip(state, begun, strict=True))
        alive = size
        state = step(x, state)
        outputs.append(state[0])
    last = tuple(cat(parts) for parts in zip(state, *reversed(ended), strict=True)) if ended else state
    return cat(outputs[::-1] if reverse else outputs), last


def lstm_step(gates: Tensor, cell: Tensor) -> State:
    """(h, c) from the sums of the input, forget, cell and output gates [B, 4 * H]."""
    size = shape_of(cell)[1]
    enter, keep, new, leave = in_pieces(gates, (size,) * 4, 1)
    cell = sigmoid(keep) * cell + sigmoid(enter) * tanh(new)
    return sigmoid(leave) * tanh(cell), cell


def gru_step(x: Tensor, h: Tensor, hidden: Tensor) -> Tensor:
    """h from the reset, update and new parts of the input and of the hidden state, each [B, 3 * H]."""
    size = shape_of(hidden)[1]
    x_gates, x_new = in_pieces(x, (2 * size, size), 1)
    h_gates, h_new = in_pieces(h, (2 * size, size), 1)
    reset, update = in_pieces(sigmoid(x_gates + h_gates), (size, size), 1)
    new = tanh(x_new + reset * h_new)
    return new + update * (hidden - new)


def _lstm(w_hh: Tensor, b_hh: Tensor | None, projection: Tensor | None) -> Step:
    weight = w_hh.t()

    def step(x: Tensor, state: State) -> State:
        h, c = lstm_step(x + state[0] @ weight, state[1])
        return (h if projection is None else linear(h, projection)), c

    return step


def _gru(w_hh: Tensor, b_hh: Tensor | None, projection: Tensor | None) -> Step:
    return lambda x, state: (gru_step(x, linear(state[0], w_hh, b_hh), state[0]),)


def _plain(activation: Callable[[Tensor], Tensor]) -> Callable[..., Step]:
    def make(w_hh: Tensor, b_hh: Tensor | None, projection: Tensor | None) -> Step:
        weight = w_hh.t()
        return lambda x, state: (activation(x + state[0] @ weight),)

    return make


_STEPS: dict[str, Callable[..., Step]] = {
    "LSTM": _lstm, "GRU": _gru, "RNN_TANH": _plain(tanh), "RNN_RELU": _plain(relu),
}  # fmt: skip
