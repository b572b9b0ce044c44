"""Random bits as scalar arithmetic: Philox4x32-10, recomputed at whatever element is asked for.

The 32-bit words are carried in non-negative int64 scalars, so that a product of two keeps all its 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitcore_ir import Operation, Value, ops
from jitcore_ir.dtypes import int32, int64

from .emitter import Emitter
from .index import Indices, flatten
from .pointwise import rule

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_MASK = 0xFFFFFFFF


@rule(ops.RANDOM_BITS)
def _random_bits(e: Emitter, operation: Operation, indices: Indices) -> Value:
    seed, offset = (e.at(x, ()) for x in operation.operands)
    block, lane = e.space.split(flatten(indices, operation.attributes["shape"]), 4)
    words = philox(e, seed, e.scalar(ops.ADD, offset, e.index(block)))
    return e.cast(_choose(e, words, e.index(lane)) if lane != 0 else words[0], int32)


def philox(e: Emitter, seed: Value, counter: Value) -> list[Value]:
    """The four 32-bit words (as int64 scalars) of the block that `counter` names, under the key `seed`."""
    zero = e.constant(0, int64)
    words = [_low(e, counter), _high(e, counter), zero, zero]
    keys = [_low(e, seed), _high(e, seed)]
    for number in range(ROUNDS):
        if number:
            keys = [_low(e, e.scalar(ops.ADD, k, e.constant(s, int64))) for k, s in zip(keys, KEY_STEPS, strict=True)]
        first = e.scalar(ops.MUL, words[0], e.constant(MULTIPLIERS[0], int64))
        second = e.scalar(ops.MUL, words[2], e.constant(MULTIPLIERS[1], int64))
        words = [
            _xor(e, _high(e, second), words[1], keys[0]),
            _low(e, second),
            _xor(e, _high(e, first), words[3], keys[1]),
            _low(e, first),
        ]
    return words


def _choose(e: Emitter, words: Sequence[Value], lane: Value) -> Value:
    found = words[0]
    for number, word in enumerate(words[1:], 1):
        found = e.scalar(ops.WHERE, e.scalar(ops.EQ, lane, e.constant(number, int64)), word, found)
    return found


def _low(e: Emitter, value: Value) -> Value:
    return e.scalar(ops.BITWISE_AND, value, e.constant(_MASK, int64))


def _high(e: Emitter, value: Value) -> Value:
    return _low(e, e.scalar(ops.SHIFT_RIGHT, value, e.constant(32, int64)))


def _xor(e: Emitter, *values: Value) -> Value:
    found = values[0]
    for value in values[1:]:
        found = e.scalar(ops.BITWISE_XOR, found, value)
    return found
