"""`load`: a .jca archive as a `Model` to call with NumPy arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jitcore_ir.custom_call import read_arguments
from jitcore_ir.shapes import Expr
from jitcore_ir.types import TensorType

from .arguments import bind_arguments
from .cpu_features import host_targets
from .custom import MissingCustomOp, registered
from .errors import InputError, NativeError
from .executor import Executor
from .memory import memory_limit, peak_bytes
from .program import Program
from .signature import InputSpec, Signature

if TYPE_CHECKING:  # serialize stands on this package's plan, so it is imported when a file is loaded
    from jitcore_serialize.archive import Archive, Entry, Range


RANDOM_STATE = "random state"
"""Names of weights that begin so are states of generators: int64 [2], seed and offset. The bare name is the default
generator's."""

_SHAPES = 1024
"""Shapes of arguments remembered as fitting before forgetting them all."""


def load(
    path: str | os.PathLike | bytes,
    native: bool = False,
    *,
    entry: str | None = None,
    max_bytes: int | None = None,
    check_weights: bool = True,
) -> Model:
    """The archive at `path` (or in these bytes), ready to be called.

    By default its graphs are interpreted, which is safe for any file. `native=True` runs the machine code in it, which
    can do whatever this process can: say so only for a file you trust. Where it holds no code for this machine, it is
    interpreted after all, and one warning says why; the answers are the same.

    entry: the entry point that calling the model runs; default: the archive's first.
    max_bytes: the most memory that values computed by interpreting may take at a time, estimated from their shapes;
        default: what the machine (or container) has.
    check_weights: whether to compare the weights' checksums, which reads the whole file once.

    Raises ArchiveError (a ValueError) for a damaged, hostile or incompatible file and for one that needs a custom
    operation which is not registered here, OSError where it cannot be opened, LookupError for an entry that is not
    there.
    """
    from jitcore_serialize.reader import read_archive

    archive = read_archive(path, code=native, check_weights=check_weights)
    name = "the given bytes" if isinstance(path, bytes) else os.fspath(path)
    _check_custom_ops(archive, name)
    return Model(archive, name, native, entry, memory_limit() if max_bytes is None else max_bytes)


class Model:
    """A loaded archive. Calling it runs its default entry; `run` runs any.

    Arguments are positional or named: NumPy arrays, what turns into one by `__array__` or `__dlpack__`, and Python
    numbers for 0-d inputs. Results are NumPy arrays, in the structure that the exported function returned.
    An archive whose entries update their own weights keeps these in memory of its own, for as long as the model lives.
    """

    def __init__(self, archive: Archive, name: str, native: bool, entry: str | None, max_bytes: int) -> None:
        self.name = name
        self.provenance = archive.provenance
        self.weights = _with_own_copies(archive)
        self._entries: dict[str, _LoadedEntry] = {}
        reasons: dict[str, str] = {}
        for item in archive.entries.values():
            executor, reason = _native_executor(archive, item) if native else (None, None)
            if reason is not None:
                reasons[item.name] = reason
            self._entries[item.name] = _LoadedEntry(item, self.weights, executor, max_bytes, name)
        self._default = self._entries[_entry_name(self._entries, entry, name)]
        if reasons:
            which = ", ".join(map(repr, reasons))
            warnings.warn(
                f"{name}: {which} {'is' if len(reasons) == 1 else 'are'} interpreted, which is slower and gives the "
                f"same answers, because {next(iter(reasons.values()))}. Export with targets for this machine, or load "
                "without native=True",
                RuntimeWarning,
                stacklevel=3,
            )

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the entry points."""
        return tuple(self._entries)

    @property
    def signature(self) -> ModelSignature:
        """What the default entry takes and gives."""
        return self._default.signature

    @property
    def is_native(self) -> bool:
        """Whether the default entry runs machine code."""
        return self._default.executor.is_native

    def signature_of(self, entry: str) -> ModelSignature:
        """What an entry takes and gives. Raises LookupError."""
        return self._entries[_entry_name(self._entries, entry, self.name)].signature

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        """Run the default entry. Raises InputError for inputs that do not fit, IndexError and ZeroDivisionError as
        eager execution does."""
        return self._run(self._default, arguments, named)

    def run(self, entry: str | None = None, /, *arguments: Any, **named: Any) -> Any:
        """Run an entry by name; None is the default."""
        if entry is None:
            return self._run(self._default, arguments, named)
        return self._run(self._entries[_entry_name(self._entries, entry, self.name)], arguments, named)

    def manual_seed(self, seed: int) -> None:
        """Start the random numbers that entries draw again under `seed`, as `jitcore.manual_seed` does for those drawn
        eagerly. Raises ValueError for a model that draws none, OverflowError for a seed of more than 64 bits."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise OverflowError(f"seed {seed} does not fit in 64 bits")
        self.set_rng_state(np.array([seed - 2**64 if seed >= 2**63 else seed, 0], np.int64))

    def get_rng_state(self) -> np.ndarray:
        """A copy of the state (seed, offset) of the random numbers that entries draw, for `set_rng_state`, there or in
        `jitcore.set_rng_state`. Raises ValueError for a model that draws none."""
        return self._random_state().copy()

    def set_rng_state(self, state: np.ndarray) -> None:
        """Go on from a state that `get_rng_state` gave. Raises ValueError for anything else."""
        state = np.asarray(state)
        if state.shape != (2,) or state.dtype != np.int64:
            raise ValueError("a generator's state is an int64 array of 2 elements, as get_rng_state() returns")
        self._random_state()[...] = state

    def _random_state(self) -> np.ndarray:
        state = self.weights.get(RANDOM_STATE)
        if state is None:
            raise ValueError(f"{self.name} draws no random numbers")
        return state

    def _run(self, entry: _LoadedEntry, arguments: tuple, named: Mapping[str, Any]) -> Any:
        result = entry(arguments, named)
        if entry.updates_weights:
            for other in self._entries.values():
                other.executor.invalidate_prepared()
        return result

    def __repr__(self) -> str:
        return f"<Model {self.name}: {', '.join(f'{n}{e.signature}' for n, e in self._entries.items())}>"


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """Inputs and outputs in order, and the sizes that symbols may take."""

    inputs: tuple[InputSpec, ...]
    outputs: tuple[InputSpec, ...]
    ranges: Mapping[str, Range]

    def __str__(self) -> str:
        limits = "".join(
            f", {r.minimum} <= {symbol}" + (f" <= {r.maximum}" if r.maximum is not None else "")
            for symbol, r in self.ranges.items()
        )
        return f"({', '.join(map(str, self.inputs))}) -> ({', '.join(map(str, self.outputs))}){limits}"


class _LoadedEntry:
    def __init__(
        self, entry: Entry, weights: Mapping[str, np.ndarray], executor: Executor | None, max_bytes: int, file: str
    ) -> None:
        self.name = entry.name
        self.executor = executor or Executor(_program(entry), native=False)
        self.signature = _signature(entry)
        self.updates_weights = any(input in entry.weights for _, input in entry.updates)
        self._arguments = Signature(self.signature.inputs)
        self._graph = entry.graph
        self._weights = {number: weights[name] for number, name in entry.weights.items()}
        self._structure = entry.structure if entry.structure is not None else _plain(len(entry.results))
        self._written = {input for _, input in entry.updates} - entry.weights.keys()
        self._places = entry.arguments
        self._max_bytes = max_bytes
        self._fits: set[tuple[tuple[int, ...], ...]] = set()
        self._must_bind = bool(entry.ranges or (self._arguments.symbols and not self.executor.is_native))
        if not self.executor.is_native and not self._arguments.symbols:
            self._check_memory_at_load(file)

    def __call__(self, arguments: tuple, named: Mapping[str, Any]) -> Any:
        specs = self._arguments.inputs
        if named or len(arguments) != len(specs) or not all(isinstance(a, np.ndarray) for a in arguments):
            self._check_updatable(arguments, named)
            arguments = tuple(bind_arguments(self.name, specs, arguments, named))
        arrays: list[Any] = [None] * (len(self._weights) + len(specs))
        for number, weight in self._weights.items():
            arrays[number] = weight
        for number, array in zip(self._places, arguments):
            arrays[number] = array
        if self._must_bind and (key := tuple([a.shape for a in arguments])) not in self._fits:
            self._check_symbols(self._arguments.bind(arguments))
            if len(self._fits) >= _SHAPES:
                self._fits.clear()
            self._fits.add(key)
        return _arranged(self._structure, self.executor.run(arrays))

    def _check_updatable(self, arguments: tuple, named: Mapping[str, Any]) -> None:
        for position, (number, spec) in enumerate(zip(self._places, self._arguments.inputs)):
            value = named.get(spec.name, arguments[position] if position < len(arguments) else None)
            if number in self._written and value is not None and not isinstance(value, np.ndarray):
                raise InputError(
                    f"input {spec.name!r} is a {type(value).__name__}, but {self.name} writes to it: pass a NumPy array"
                )

    def _check_symbols(self, symbols: Mapping[str, int]) -> None:
        for symbol, limits in self.signature.ranges.items():
            highest = limits.maximum
            if symbols[symbol] < limits.minimum or (highest is not None and symbols[symbol] > highest):
                outside = self._arguments.outside(symbol, symbols[symbol], limits.minimum, highest)
                raise InputError(f"{outside}; {self.signature}")
        if not self.executor.is_native:
            needed = peak_bytes(self._graph, symbols)
            if needed > self._max_bytes:
                sizes = ", ".join(f"{name} = {value}" for name, value in symbols.items())
                raise InputError(
                    f"{self.name} with {sizes} needs about {needed} bytes at a time, but {self._max_bytes} are "
                    "allowed; pass smaller inputs, or load with a larger max_bytes"
                )

    def _check_memory_at_load(self, file: str) -> None:
        from jitcore_serialize.errors import ArchiveError

        needed = peak_bytes(self._graph, {})
        if needed > self._max_bytes:
            raise ArchiveError(
                f"entry {self.name!r} needs about {needed} bytes at a time, but {self._max_bytes} are allowed",
                "load it with a larger max_bytes if you trust that it needs them",
                file,
            )


def _check_custom_ops(archive: Archive, file: str) -> None:
    from jitcore_serialize.errors import ArchiveError

    for call in archive.custom_calls:
        name, version = call["name"], call["version"]
        try:
            op = registered(name, version)
        except MissingCustomOp as error:
            problem, advice = str(error).split(": ", 1)
            raise ArchiveError(problem, advice + ", then load again", file) from None
        count = len(read_arguments(call["arguments"]))
        if not op.takes(count):
            raise ArchiveError(
                f"it calls {name!r} (version {version}) with {count} arguments, which the function registered here "
                "does not take",
                "register the function that it was made with, under this version",
                file,
            )


def _native_executor(archive: Archive, entry: Entry) -> tuple[Executor | None, str | None]:
    """An executor of the best code for this processor, or the reason why there is none."""
    targets = host_targets()
    for target in targets:
        if target not in entry.code:
            continue
        try:
            if target in archive.pools:
                from .threads import install_pool

                install_pool(archive.pools[target])
            return Executor(_program(entry, target), native=True), None
        except NativeError as error:
            return None, str(error)
    holds = f"code for {', '.join(entry.code)}" if entry.code else "no machine code"
    return None, f"it holds {holds} and this machine runs {', '.join(targets) or 'none that is known'}"


def _program(entry: Entry, target: str | None = None) -> Program:
    if target is None:
        return Program(entry.name, entry.graph, updates=entry.updates, guards=entry.guards, exact=entry.exact)
    code = entry.code[target]
    return Program(
        entry.name, entry.graph, code.plan, code.image, entry.updates, entry.guards, code.operations, entry.exact
    )


def _with_own_copies(archive: Archive) -> dict[str, np.ndarray]:
    """The weights, those that some entry updates copied out of the read-only file."""
    updated = {e.weights[i] for e in archive.entries.values() for _, i in e.updates if i in e.weights}
    return {name: np.array(array) if name in updated else array for name, array in archive.weights.items()}


def _entry_name(entries: Mapping[str, Any], entry: str | None, file: str) -> str:
    if entry is None:
        return next(iter(entries))
    if entry not in entries:
        raise LookupError(f"{file} has no entry {entry!r}; it has {', '.join(map(repr, entries))}")
    return entry


def _signature(entry: Entry) -> ModelSignature:
    every = Signature.of(entry.graph).inputs
    inputs = [every[i] for i in entry.arguments]
    names = entry.outputs or tuple(f"output{n}" for n in range(len(entry.results)))
    outputs = [_spec(name, entry.graph.outputs[number].type) for name, number in zip(names, entry.results)]
    return ModelSignature(tuple(inputs), tuple(outputs), entry.ranges)


def _spec(name: str, type: Any) -> InputSpec:
    assert isinstance(type, TensorType)
    shape: tuple[int | Expr, ...] = type.shape
    return InputSpec(name, type.dtype, shape)


def _plain(results: int) -> Any:
    return 0 if results == 1 else tuple(range(results))


def _arranged(structure: Any, results: list[np.ndarray]) -> Any:
    if isinstance(structure, int):
        return results[structure]
    if isinstance(structure, dict):
        return {key: _arranged(part, results) for key, part in structure.items()}
    if isinstance(structure, tuple | list):
        return type(structure)([_arranged(part, results) for part in structure])
    return None
