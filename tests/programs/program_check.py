"""Runs the source of a random program under eager execution and otherwise, and says what differs.

What is seen after each call: the result or the class of the exception; dtype, shape, values, `requires_grad` and
gradient of every tensor that is an argument, a result of this or an earlier call, or the program's state; and which of
them are one object or share memory, and how. A call that raises may leave everything as eager execution does or as it
was before the call; then everything is put back and the program goes on.
"""

from __future__ import annotations

import linecache
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import jitcore
import jitcore_runtime
from jitcore.state import state
from jitcore_runtime.errors import PositionError

_STATE = ("s0", "s1", "table", "names")
_MOST_RETURNS = 80
_MOST_KEPT = 12
"""Results of earlier calls that are still looked at."""


@dataclass
class Seen:
    """What could be seen after one call. `tensors`: label -> (dtype, shape, requires_grad, values, gradient)."""

    outcome: str
    tensors: dict[str, tuple]
    before: dict[str, tuple]
    shared: set[tuple]
    numbers: list[Any]


def observe(source: str, wrap: Callable[[Callable], Callable]) -> list[Seen]:
    """Run a program in a fresh world with its function wrapped."""
    name = f"<random program {abs(hash(source)) % 10**6}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    world = {"__name__": "random_program", "__file__": name}
    grad_enabled, inference = state.grad_enabled, state.inference
    jitcore.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(source, name, "exec"), world)
            return list(_calls(world, wrap(world["f"])))
    finally:
        state.grad_enabled, state.inference = grad_enabled, inference
        linecache.cache.pop(name, None)


def _calls(world: dict, function: Callable) -> Iterator[Seen]:
    run = world["calls"]()
    kept: list[tuple[str, Any]] = []
    arguments = next(run)
    for turn in range(_MOST_RETURNS):
        del kept[:-_MOST_KEPT]
        named = _reachable(world, arguments, kept)
        before = _snapshot(named)
        tapes = {id(t): t for _, x in named for t in (x, x._base) if t is not None}.values()
        fields = ("_array", "_storage", "_view", "_node", "_requires_grad", "_seen", "_grad")
        histories = [(t, [getattr(t, name) for name in fields], t._storage.rebased) for t in tapes]
        generator = jitcore.get_rng_state()
        numbers: list[Any] = []
        try:
            result = function(*arguments)
            outcome = "returned " + _structure(result)
            for position, leaf in enumerate(result if isinstance(result, tuple) else [result]):
                if isinstance(leaf, jitcore.Tensor):
                    kept.append((f"call {turn + 1} result {position}", leaf))
                else:
                    numbers.append(leaf)
        except Exception as error:
            result, outcome = error, f"raised {_error_class(error)}"
        named = _reachable(world, arguments, kept)
        yield Seen(outcome, _snapshot(named), before, _sharing(named), numbers)
        if isinstance(result, Exception):
            for t, values, rebased in histories:
                for name, value in zip(fields, values, strict=True):
                    setattr(t, name, value)
                t._storage.rebased = rebased
            _put_back(named, before)
            if "optimizer" in world and not any(label.startswith("momentum") for label in before):
                world["optimizer"].state.clear()
            jitcore.set_rng_state(generator)
        try:
            arguments = run.send(result)
        except StopIteration:
            break
        except Exception as error:  # what the program itself does with the result
            yield Seen(f"then raised {type(error).__name__}", {}, {}, set(), [])
            return
    named = _reachable(world, (), kept)
    yield Seen("ended", _snapshot(named), {}, _sharing(named), [])


def _error_class(error: Exception) -> str:
    """PositionError is what IndexError is called where PyTorch raises now one, now RuntimeError."""
    return "IndexError" if isinstance(error, PositionError) else type(error).__name__


def _structure(result: Any) -> str:
    return str([type(leaf).__name__ for leaf in result] if isinstance(result, tuple) else type(result).__name__)


def _reachable(world: dict, arguments: tuple, kept: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found = list(kept)
    for position, value in enumerate(arguments):
        if isinstance(value, jitcore.Tensor):
            found.append((f"argument {position}", value))
    for name in _STATE:
        value = world.get(name)
        if isinstance(value, list):
            found += [(f"{name}[{n}]", item) for n, item in enumerate(value)]
        elif isinstance(value, dict):
            found += [(f"{name}[{key!r}]", item) for key, item in value.items()]
        elif value is not None:
            found.append((name, value))
    net = world.get("net")
    if net is not None:
        found += [("net.weight", net.weight), ("net.count", net.count)]
        found += [(f"net.parts[{n}]", item) for n, item in enumerate(net.parts)]
    for entries in world["optimizer"].state.values() if "optimizer" in world else ():
        found += [(f"momentum of {n}", t) for n, t in enumerate(entries.values()) if isinstance(t, jitcore.Tensor)]
    return found


def _snapshot(named: list[tuple[str, Any]]) -> dict[str, tuple]:
    result = {}
    for label, t in named:
        grad = t._grad
        result[label] = (
            str(t.dtype), t._array.shape, t.requires_grad, t._array.copy(),
            None if grad is None else grad._array.copy(),
        )  # fmt: skip
    return result


def _sharing(named: list[tuple[str, Any]]) -> set[tuple]:
    """Pairs of labels that are one object, or whose memory overlaps, and then which elements of both are one, counted
    in row-major order: the memory itself may be laid out another way."""
    found = set()
    spans = [(label, t, *np.lib.array_utils.byte_bounds(t._array)) for label, t in named]
    for number, (label, t, low, high) in enumerate(spans):
        for other, u, lower, upper in spans[:number]:
            if t is u:
                found.add(("same object", other, label))
            elif low < upper and lower < high and (common := _common_elements(u._array, t._array)):
                found.add(("shared memory", other, label, common))
    return found


def _common_elements(x: np.ndarray, y: np.ndarray) -> tuple[tuple[int, int], ...]:
    places: dict[int, list[int]] = {}
    for position, address in enumerate(_addresses(x)):
        places.setdefault(address, []).append(position)
    return tuple((first, second) for second, address in enumerate(_addresses(y)) for first in places.get(address, ()))


def _addresses(x: np.ndarray) -> list[int]:
    """Of the elements, in row-major order."""
    steps = sum(
        np.arange(n).reshape(-1, *[1] * (x.ndim - axis - 1)) * step
        for axis, (n, step) in enumerate(zip(x.shape, x.strides, strict=True))
    )
    return np.ravel(x.__array_interface__["data"][0] + steps).tolist()


def _put_back(named: list[tuple[str, Any]], before: dict[str, tuple]) -> None:
    for label, t in named:
        if label not in before:
            continue
        values, grad = before[label][3:]
        if t._array.shape == values.shape and t._array.dtype == values.dtype and t._array.flags.writeable:
            np.copyto(t._array, values)
        if grad is not None:
            np.copyto(t._grad._array, grad)


def differences(expected: list[Seen], given: list[Seen], rtol: float = 2e-5) -> list[str]:
    """What differs, one line each; empty where nothing does."""
    for turn, (want, got) in enumerate(zip(expected, given, strict=False), 1):
        found = _differences(want, got, rtol)
        if found:
            return [f"after call {turn}: {text}" for text in found]
    if len(expected) != len(given):
        return [f"{len(expected)} observations became {len(given)}"]
    return []


def _differences(want: Seen, got: Seen, rtol: float) -> list[str]:
    found = []
    if want.outcome != got.outcome:
        found.append(f"eager {want.outcome}, this {got.outcome}")
    found += _differing_tensors(want.tensors, got.tensors, rtol)
    if want.outcome.startswith("raised"):
        if not found:
            return []
        untouched = _differing_tensors(got.before, {k: v for k, v in got.tensors.items() if k in got.before}, 0)
        return found if want.outcome != got.outcome or untouched else []
    for number, (a, b) in enumerate(zip(want.numbers, got.numbers, strict=False)):
        if type(a) is not type(b) or not _close(np.asarray(a), np.asarray(b), rtol):
            found.append(f"number {number} in the result is {b!r}, should be {a!r}")
    for pair in sorted(want.shared - got.shared, key=str):
        found.append(f"not so: {pair}")
    for pair in sorted(got.shared - want.shared, key=str):
        found.append(f"should not be so: {pair}")
    return found


def _differing_tensors(want: dict[str, tuple], got: dict[str, tuple], rtol: float) -> list[str]:
    found = []
    if want.keys() != got.keys():
        return [f"tensors {sorted(want.keys() ^ got.keys())} are on one side only"]
    for label, (dtype, shape, requires_grad, values, grad) in want.items():
        other = got[label]
        if (dtype, shape, requires_grad) != other[:3]:
            found.append(f"{label} is {other[:3]}, should be {(dtype, shape, requires_grad)}")
        elif not _close(values, other[3], rtol):
            found.append(f"{label} is {other[3].tolist()}, should be {values.tolist()}")
        elif (grad is None) != (other[4] is None):
            found.append(f"{label}.grad is {'absent' if other[4] is None else 'there'}, unlike eager's")
        elif grad is not None and other[4] is not None and not _close(grad, other[4], rtol):
            found.append(f"{label}.grad is {other[4].tolist()}, should be {grad.tolist()}")
    return found


def _close(want: np.ndarray, got: np.ndarray, rtol: float) -> bool:
    if want.shape != got.shape:
        return False
    if want.dtype.kind not in "fc" or want.size == 0:
        return bool(np.array_equal(want, got))
    with np.errstate(all="ignore"):
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=1.0)
    return bool(np.allclose(got, want, rtol=rtol, atol=rtol * scale, equal_nan=True))


# Exported programs


def check_export(source: str, native: bool) -> str:
    """Export `f` for the arguments of the first call, load it, and compare it with eager execution. Gives "refused",
    "equal", or raises AssertionError."""
    world: dict[str, Any] = {"__name__": "random_program"}
    name = "<random program to export>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), world)
    a, b, n = next(world["calls"]())
    a, b = a.contiguous(), b.contiguous()  # as an archive takes them
    function = world["f"]

    def exported(a: Any, b: Any) -> Any:
        return function(a, b, n)

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder, jitcore.no_grad():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "program.jca")
        try:
            want = function(a.clone(), b.clone(), n)
        except Exception:
            return "raises"
        try:
            jitcore.export(exported, path, {"a": a, "b": b}, targets=None if native else ())
        except jitcore.ExportError:
            return "refused"
        model = jitcore_runtime.load(path, native=native)
        got = model(a.numpy(), b.numpy())
    got = list(got.values()) if isinstance(got, dict) else list(got) if isinstance(got, tuple | list) else [got]
    wanted = [t.numpy() for t in want]
    assert len(got) == len(wanted), f"{len(got)} results, should be {len(wanted)}"
    for number, (x, y) in enumerate(zip(got, wanted, strict=True)):
        x = np.asarray(x)
        assert x.dtype == y.dtype and _close(y, x, 2e-5), f"exported result {number} is {x!r}, should be {y!r}"
    return "equal"


def minimized(source: str, fails: Callable[[str], bool]) -> str:
    """The program without the lines that its failure does not need."""
    lines = source.splitlines()
    changed = True
    while changed:
        changed = False
        position = len(lines) - 1
        while position > 0:
            for count in (4, 2, 1):
                if "__main__" in "".join(lines[position : position + count]):
                    continue
                shorter = lines[:position] + lines[position + count :]
                text = "\n".join(shorter) + "\n"
                try:
                    compile(text, "x", "exec")
                    failed = fails(text)
                except Exception:
                    failed = False
                if failed:
                    lines, changed = shorter, True
                    break
            position -= 1
    return "\n".join(lines) + "\n"
