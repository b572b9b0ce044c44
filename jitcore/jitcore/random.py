"""`Generator`: the state of counter-based random numbers, and the process's default one.

The state is a tensor, int64 [2] = (seed, offset): random operations read it and write the advanced offset back, so a
recorded program draws the same numbers as eager execution and goes on where eager stopped.
"""

from __future__ import annotations

import contextlib
import secrets
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from jitcore_ir import ops

from .device import CPU, Device, check_device
from .dispatch import apply, write
from .source import user_location
from .state import state
from .storage import Storage
from .tensor import Tensor, wrap

_INT64 = np.dtype(np.int64)
_states: weakref.WeakSet[Storage] = weakref.WeakSet()


class Generator:
    """A stream of Philox random bits under one seed."""

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self._state = _constant(np.array([67280421310721, 0], np.int64))
        _states.add(self._state._storage)

    @property
    def device(self) -> Device:
        return CPU

    def manual_seed(self, seed: int) -> Generator:
        """Start again under `seed`, an integer of up to 64 bits. Returns the generator."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"Overflow when unpacking long: seed {seed} does not fit in 64 bits")
        value = np.array([seed - 2**64 if seed >= 2**63 else seed, 0], np.int64)
        self.set_state(_constant(value))
        return self

    def seed(self) -> int:
        """Start again under a seed from the operating system, which is returned."""
        refuse = getattr(state.recorder, "refuse", None)
        if refuse is not None:
            refuse("a seed from the operating system, which is another one each time", user_location())
        value = secrets.randbits(62)
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed in use."""
        return _part(self._state, 0).item()

    def get_state(self) -> Tensor:
        """A copy of the state, for set_state."""
        return self._state.clone()

    def set_state(self, new_state: Tensor) -> None:
        """Continue from a state that get_state gave. Raises RuntimeError for anything else."""
        if not isinstance(new_state, Tensor) or new_state._array.shape != (2,) or new_state._array.dtype != _INT64:
            raise RuntimeError("a generator's state is an int64 tensor of 2 elements, as get_state() returns")
        write(self._state, new_state)

    def bits(self, shape: tuple) -> Tensor:
        """int32 random bits of `shape`; advances the offset by one for every four elements."""
        if any(type(n) is int and n < 0 for n in shape):
            raise RuntimeError(f"Trying to create tensor with negative dimension: {list(shape)}")
        if state.batching is not None:
            return state.batching.bits(self, shape)
        seed, offset = _part(self._state, 0), _part(self._state, 1)
        made = apply(ops.RANDOM_BITS, (seed, offset), {"shape": shape})
        count: Any = 1
        for n in shape:
            count = count * n
        used = (count + 3) // 4
        advanced = offset + used
        write(_part(self._state, 1), advanced)
        return made

    def clone_state(self) -> Generator:
        """Another generator that will draw the same numbers."""
        other = Generator()
        other.set_state(self._state)
        return other

    def __reduce__(self) -> tuple:
        return (_restore, (self._state.tolist(),))


def _part(state_tensor: Tensor, index: int) -> Tensor:
    cut = apply(ops.SLICE, (state_tensor,), {"starts": (index,), "sizes": (1,), "steps": (1,)})
    return apply(ops.RESHAPE, (cut,), {"shape": ()})


def _constant(array: np.ndarray) -> Tensor:
    made = wrap(array)
    if state.recorder is not None:
        state.recorder.create(made)
    return made


def _restore(values: list[int]) -> Generator:
    made = Generator()
    made._state._array[...] = values
    return made


def is_generator_state(storage: Storage) -> bool:
    """Whether the memory is the state of a generator."""
    return storage in _states


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator from a state that get_rng_state gave."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cpu",
) -> Iterator[None]:
    """A `with` block whose draws from the default generator do not show afterwards."""
    before = default_generator.get_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            default_generator.set_state(before)


__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]
