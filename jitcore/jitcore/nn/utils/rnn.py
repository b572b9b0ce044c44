"""Batches of sequences of different lengths: padded, and packed without their padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitcore_ir.dtypes import int64

from ... import ops
from ...tensor import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences without padding, ordered by time: data [sum of lengths, *], batch_sizes[t] sequences longer than t.

    sorted_indices says which sequence of the user's is the first, the second, ... by falling length. Made by
    `pack_padded_sequence` and `pack_sequence`.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *arguments: Any, **keywords: Any) -> PackedSequence:
        """With data moved or cast as `Tensor.to` does."""
        data = self.data.to(*arguments, **keywords)
        return self if data is self.data else type(self)(data, *self[1:])

    def cpu(self) -> PackedSequence:
        return self

    def pin_memory(self) -> PackedSequence:
        return self

    def double(self) -> PackedSequence:
        return self.to(_dtype("float64"))

    def float(self) -> PackedSequence:
        return self.to(_dtype("float32"))

    def half(self) -> PackedSequence:
        return self.to(_dtype("float16"))

    def long(self) -> PackedSequence:
        return self.to(_dtype("int64"))

    def int(self) -> PackedSequence:
        return self.to(_dtype("int32"))

    is_cuda = False

    def is_pinned(self) -> bool:
        return False


def _dtype(name: str) -> Any:
    from jitcore_ir import dtypes

    return dtypes.dtype_named(name)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """q with q[permutation[i]] = i."""
    if permutation is None:
        return None
    places = ops.arange(permutation.numel(), dtype=permutation.dtype)
    return ops.zeros_like(permutation).scatter(0, permutation, places)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack input [T, B, *] (or [B, T, *]) whose sequence b is `lengths[b]` long.

    Lengths fall unless `enforce_sorted=False`, which sorts them. They decide shapes: given as a list they are constants
    of a compiled program; a tensor of them is read, and the function that packs stays eager.
    """
    numbers = [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    if batch_first:
        input = input.transpose(0, 1)
    time, batch, *rest = input.shape
    if len(numbers) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(numbers)} (batch_size={batch})"
        )
    if not numbers or min(numbers) <= 0:
        raise RuntimeError(f"Length of all samples has to be greater than 0, but found one of {numbers}")
    order = np.argsort([-n for n in numbers], kind="stable")
    if enforce_sorted and numbers != sorted(numbers, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement"
        )
    if max(numbers) > time:
        raise RuntimeError(f"a length of {max(numbers)} was given for input of {time} time steps")
    sizes = _batch_sizes(numbers)
    places = np.concatenate([t * int(batch) + order[:size] for t, size in enumerate(sizes)])
    data = input.reshape(-1, *rest).index_select(0, ops.tensor(places, dtype=int64))
    sorted_indices = None if enforce_sorted else ops.tensor(order, dtype=int64)
    return PackedSequence(data, ops.tensor(sizes, dtype=int64), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(padded [T, B, *] or [B, T, *], lengths) in the user's order; T is the longest length or `total_length`."""
    sizes = batch_sizes_of(sequence)
    time, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < time:
            raise ValueError(
                f"Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {time}"
            )
        time = total_length
    lengths = np.array([sum(size > b for size in sizes) for b in range(batch)])
    starts = np.concatenate([[0], np.cumsum(sizes)])[: len(sizes)]
    starts = np.concatenate([starts, np.zeros(time - len(sizes), np.int64)])
    alive = np.arange(time)[:, None] < lengths
    places = np.where(alive, starts[:, None] + np.arange(batch), 0)
    rest = tuple(sequence.data.shape[1:])
    padded = sequence.data.index_select(0, ops.tensor(places.reshape(-1), dtype=int64)).reshape(time, batch, *rest)
    dead = ops.tensor(~alive).reshape(time, batch, *(1,) * len(rest))
    padded = padded.masked_fill(dead, padding_value)
    found = ops.tensor(lengths, dtype=int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        found = found.index_select(0, sequence.unsorted_indices)
    return padded.transpose(0, 1) if batch_first else padded, found


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences [length, *] stacked to [T, B, *] (or [B, T, *]), filled up to the longest."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {sequences!r}")
    parts = list(sequences)
    if not parts:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side should be left or right, but got {padding_side}")
    rest, longest = tuple(parts[0].shape[1:]), max(part.shape[0] for part in parts)
    filled = []
    for part in parts:
        if tuple(part.shape[1:]) != rest:
            raise RuntimeError(f"pad_sequence: sequences have sizes {list(parts[0].shape)} and {list(part.shape)}")
        if part.shape[0] != longest:
            more = ops.full((longest - part.shape[0], *rest), padding_value, dtype=part.dtype)
            part = ops.cat([part, more] if padding_side == "right" else [more, part])
        filled.append(part)
    return ops.stack(filled, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each cut to its length."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(rows.unbind(0), lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences [length, *]."""
    lengths = [int(sequence.shape[0]) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed, in the user's order."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)


def batch_sizes_of(sequence: PackedSequence) -> list[int]:
    """The batch sizes as numbers; each is a guard of a compiled program."""
    return [int(n) for n in sequence.batch_sizes.unbind(0)]


def _batch_sizes(lengths: Sequence[int]) -> list[int]:
    return [sum(n > t for n in lengths) for t in range(max(lengths))]


__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip
