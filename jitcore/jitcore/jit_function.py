"""`jit`: record a function on its first call, compile the recording, run the program on later calls.

What decides whether a recording may be replayed: the structure, dtypes and shapes of the arguments, grad mode, which
arguments share memory (the key); Python state it read and numbers it depends on (checks); values of tensors that Python
looked at (guards). Sizes that changed between calls are symbols: a recording with symbols serves every size that fits
its pattern and guards. Where any of this differs, the function is recorded anew beside the old recordings, in a tree
that shares what they begin alike; where a run cannot be replayed safely, it runs eagerly and says why once.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import types
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jitcore_runtime.errors import DivisionError, OperationFailed, PositionError
from jitcore_runtime.kernels.floating import fix_order
from jitcore_runtime.program import Program

from .forking import no_fork
from .log import log
from .nn.module import Module
from .source import user_location, warn_user
from .state import state
from .trace.background import Job
from .trace.capture import Recording, capture
from .trace.containers import Flattening, nested_leaves
from .trace.failed_runs import NOT_PLAIN, needs_plain_numbers
from .trace.keys import key_of, kind_of, named_modes, of_form
from .trace.kinds import Kind, Pattern, marks_of, sizes_at
from .trace.latest_call import LatestCall
from .trace.numbers import settled
from .trace.recorder import Recorder
from .trace.recordings import MOST_KINDS, Entry, Recordings
from .trace.retrace import NOTICED, Retrace, advice, cause_of, describe, other_kind
from .trace.sizes import Sizes
from .trace.tree import MISSED, TraceTree
from .trace.variant import CannotReplay, Variant
from .undo import undone_on_error

MOST_ATTEMPTS = 3
"""Recordings of one key that may fail because the function changes state, before it stays eager."""


class JitWarning(UserWarning):
    """Said once per cause: a call runs eagerly, and why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a function is compiled. native: to machine code, else its graph is interpreted; exact: to the bit of what it
    gives eagerly; background: in another process, while calls run eagerly; dynamic: whether sizes of arguments are
    symbols, None where they change."""

    native: bool = True
    exact: bool = False
    background: bool = False
    dynamic: bool | None = None


class JitFunction:
    """A function or Module that is recorded, compiled and replayed. Made by `jit`."""

    def __init__(self, function: Callable, options: Options | None = None) -> None:
        self._function = function
        self._options = options or Options()
        if self._options.exact:
            fix_order()
        self._recordings = Recordings(lambda: TraceTree(self._compile_graph, self._options.native))
        self._warned: set[Any] = set()
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._eager_calls = 0
        self._eager_reasons: Counter[str] = Counter()
        self._retraces: list[Retrace] = []
        self._last: LatestCall | None = None
        self._latest: Any = None
        self._notes: list[str] = []
        _functions.add(self)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if state.recorder is not None:
            return self._as_a_part(arguments, keywords)
        if state.eager_only:
            return self._eagerly(arguments, keywords)
        last = self._last
        if last is not None:
            result = last.replay(arguments, keywords)
            if result is not MISSED:
                return result
        found, structure = self._recordings.flatten(arguments, keywords)
        leaves, form = found.leaves, self._recordings.form(structure, found)
        key = key_of(leaves, form)
        entries = self._recordings.for_key(key, leaves, form)
        for entry in entries:
            if entry.reason is not None:
                continue
            if entry.job is not None and self._waits_for(entry) and not entry.tree.roots:
                return self._eagerly(arguments, keywords)
            try:
                result = entry.tree.run(leaves, arguments, keywords)
            except CannotReplay as reason:
                self._eager_reasons[str(reason)] += 1
                return self._eagerly(arguments, keywords)
            except (OperationFailed, PositionError, DivisionError):  # which its code may be ready for
                return self._eagerly(arguments, keywords)
            if result is not MISSED:
                if len(entries) == 1 and key == self._latest and form is structure:
                    self._remember(entry, leaves, structure, found.apart)
                self._latest = key
                return result
        if any(entry.reason is not None for entry in entries):
            return self._eagerly(arguments, keywords)
        if self._recordings.learn(found):
            return self(*arguments, **keywords)
        with undone_on_error():
            return self._record(key, form, structure, entries, found, arguments, keywords)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_function":
            raise AttributeError(name)
        return getattr(self._function, name)

    def __reduce__(self) -> Any:
        """Copies and pickles hold the function, and start without recordings."""
        return type(self), (self._function, self._options)

    def __repr__(self) -> str:
        return f"<jitcore.jit {self._name}>"

    def explain(self) -> str:
        """In plain words: what was recorded and compiled, for which arguments, and what runs eagerly and why."""
        from .trace.explain import explain

        notes = [*(f"{self._name} was {note}." for note in dict.fromkeys(self._notes)), *self._eager_words()]
        return explain(self._name, self._recordings.entries, self._retraces, notes)

    def _eager_words(self) -> list[str]:
        if not self._eager_calls:
            return []
        reasons = [f"  {count} of them because {reason}." for reason, count in self._eager_reasons.items()]
        return [f"{self._eager_calls} calls ran eagerly.", *reasons]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being compiled in the background, or for so many seconds; whether nothing is."""
        until = None if timeout is None else time.monotonic() + timeout
        jobs = [entry.job for entry in list(self._recordings.entries.values()) if entry.job is not None]
        for job in jobs:
            job.wait(None if until is None else max(0.0, until - time.monotonic()))
        return not any(job.is_running() for job in jobs)

    def warm_up(self, *specs: Any) -> None:
        """Compile ahead for calls like these: each a tuple of arguments, a dict of named ones, or one argument alone,
        with `TensorSpec`s or example tensors for tensors.

        The function runs once for each, on tensors of zeros or copies of the examples. What it does to tensors is
        undone: parameters, buffers, gradients, optimizers and random numbers are as before. What it does besides
        (appending to a list, printing) is not. Raises what the function raises.
        """
        from .trace.warmup import made_up_call

        if state.recorder is not None:  # inside another recording: part of it
            return
        for spec in specs:
            self._ahead(*made_up_call(spec))

    def _ahead(self, arguments: tuple, keywords: dict) -> None:
        """Record and compile a call unless that has been done, and leave tensors as they were."""
        from .trace.warmup import unchanged_optimizers

        found, structure = self._recordings.flatten(arguments, keywords)
        leaves, form = found.leaves, self._recordings.form(structure, found)
        key = key_of(leaves, form)
        if not self._recordings.for_key(key, leaves, form):
            with unchanged_optimizers(), undone_on_error() as undo:
                self._record(key, form, structure, (), found, arguments, keywords, ahead=True)
                undo.put_back()

    def _eagerly(self, arguments: tuple, keywords: dict) -> Any:
        self._eager_calls += 1
        with undone_on_error():
            return self._function(*arguments, **keywords)

    def _as_a_part(self, arguments: tuple, keywords: dict) -> Any:
        """Run inside another recording (or vmap), which records it too. Where it fails, tensors are put back behind the
        recording's back."""
        recorder = state.recorder
        with undone_on_error() as undo:
            try:
                return self._function(*arguments, **keywords)
            except BaseException:
                refuse = getattr(recorder, "refuse", None)
                if undo and refuse is not None:
                    refuse(f"{self._name}, a jitted function, has failed and undone what it wrote", user_location())
                raise

    def _remember(self, entry: Entry, leaves: Sequence[Any], structure: Any, apart: Any) -> None:
        """Let the next call be compared with this one first, where there is one way to go. That takes a while to write
        down, and so is done when a second call in a row has the same key."""
        roots = entry.tree.roots
        if len(roots) == 1 and roots[0].whole:
            self._last = LatestCall.of(roots[0], leaves, structure, self._recordings.containers, apart)

    def _record(
        self,
        key: Any,
        form: Any,
        structure: Any,
        entries: tuple[Entry, ...],
        found: Flattening,
        arguments: tuple,
        keywords: dict,
        ahead: bool = False,
    ) -> Any:
        """Run the call eagerly and keep a recording of it; `ahead`: which alone is wanted."""
        if any(self._waits_for(entry) for entry in entries):
            return self._eagerly(arguments, keywords)
        leaves = found.leaves
        kind_key = kind_of(leaves, form, key)
        retrace = _cause(entries, leaves)
        words = describe(leaves, named_modes())
        if not entries and self._recordings.entries:
            retrace = other_kind(words, [other.words for other in self._recordings.entries.values()])
        if not (self._recordings.make_room(entries[0]) if entries else self._recordings.make_place()):
            if ahead:
                return None
            if not entries or retrace is None:
                retrace = Retrace("kind", f"{MOST_KINDS} kinds of arguments (shapes, dtypes, structure)")
            text = f"{len(self._recordings.variants())} recordings were not enough: {retrace.cause}{retrace.advice()}"
            self._warn(f" runs eagerly: {text}", ("eager", *retrace.about))
            return self._eagerly(arguments, keywords)
        if entries and retrace is not None and not ahead and self._recordings.in_vain(entries[0]):
            count, seconds = len(entries[0].unused), sum(entries[0].unused)
            text = (
                f"{count} recordings took {seconds:.0f} s and served no other call: {retrace.cause}{retrace.advice()}"
            )
            self._warn(f" runs eagerly: {text}", ("in vain", *retrace.about))
            return self._eagerly(arguments, keywords)
        if retrace is not None:
            self._retraces.append(retrace)
            del self._retraces[:-MOST_KINDS]
            self._count(retrace)
        with self._recordings.lock:
            kind = self._recordings.kinds.setdefault(kind_key, Kind())
            pattern, sizes = kind.pattern(leaves, self._options.dynamic, nested_leaves(structure))
        start = time.perf_counter()
        result, recording = self._capture(arguments, keywords, found, pattern, sizes)
        if recording is None:
            with self._recordings.lock:
                if pattern.is_symbolic:  # sizes as they are may do
                    kind.static = True
                    return result
                entry = self._recordings.enter(kind_key, Pattern(sizes_at(leaves)), leaves, words)
                self._recordings.know(key, (entry, *entries))
            self._stay_eager(entry, NOT_PLAIN)
            return result
        recorder = recording.recorder
        assert recorder is not None
        variant = None
        try:
            if recording.problem is None:
                variant = self._variant(recording)
        finally:
            result = settled(result, recorder)
        with self._recordings.lock:
            if self._recordings.apart.note(recording.looked, found.containers):
                return result
            if variant is None and recorder.disagrees:  # sizes as they are will do
                kind.static = True
                return result
            if variant is not None:
                self._recordings.watch(recording.containers)
                form = self._recordings.form(structure, found)
                key, kind_key = of_form(key, form), of_form(kind_key, form)
                assert recording.pattern is not None
                kind.learn(pattern, recording.pattern, sizes.specializations)
                self._say_fixed(leaves, pattern, recording.pattern, sizes)
                pattern = recording.pattern
            entry = self._recordings.enter(kind_key, pattern, leaves, words)
            self._recordings.know(key, (entry, *(other for other in entries if other is not entry)))
            if variant is not None and not self._options.background:
                self._keep(entry, variant)
                entry.unused.append(time.perf_counter() - start)
        if variant is None:
            assert recording.problem is not None
            entry.failures += 1
            if "changes Python state" not in recording.problem or entry.failures >= MOST_ATTEMPTS:
                self._stay_eager(entry, recording.problem)
        elif self._options.background and not self._waits_for(entry):  # else it is recorded again, if need be
            entry.job = Job(functools.partial(self._keep, entry, variant))
        return result

    def _keep(self, entry: Entry, variant: Variant) -> None:
        """Compile a recording, for calls to come."""
        start = time.perf_counter()
        if variant.backward is not None:
            variant.backward.compile(self._function, self._compile_graph, self._options.native)
        entry.tree.add(variant)
        variant.seconds = time.perf_counter() - start
        self._last = None

    def _waits_for(self, entry: Entry) -> bool:
        """Whether a recording is being compiled in the background. Where that failed, calls stay eager."""
        job = entry.job
        if job is None:
            return False
        if job.is_running():
            return True
        entry.job = None
        if job.error is not None:
            self._stay_eager(entry, f"it could not be compiled: {type(job.error).__name__}: {job.error}")
        return job.error is not None

    def _say_fixed(self, leaves: Sequence[Any], before: Pattern, after: Pattern, sizes: Sizes) -> None:
        """Warn where a dimension that the user marked has become a number."""
        for number, (leaf, dims, left) in enumerate(zip(leaves, before.leaves, after.leaves, strict=True)):
            for axis in marks_of(leaf):
                if dims is not None and left is not None and left[axis] != dims[axis] and isinstance(left[axis], int):
                    found = next(f for f in sizes.specializations if str(f.expr) == str(dims[axis]))
                    self._warn(
                        f": dimension {axis} of argument {number} was marked dynamic, but {found.location} uses it as "
                        f"the number {left[axis]}, so that other sizes are recorded anew",
                        ("dynamic", number, axis),
                    )

    def _variant(self, recording: Recording) -> Variant:
        with no_fork:
            from .trace.differentiate import differentiate
            from .trace.failures import needed_to_fail

        ends = [*recording.values, *(recording.roots[n].current for n in recording.written)]
        failing = needed_to_fail(recording.graph, [*ends, *(read.value for read in recording.reads)])
        backward = differentiate(recording) if recording.differentiable else None
        recording.values += [value for value in failing if value not in recording.values]
        log("trace", lambda: f"{self._name} recorded:\n{recording.graph}")
        return Variant(recording, backward)

    def _capture(
        self, arguments: tuple, keywords: dict, found: Flattening, pattern: Pattern, sizes: Sizes
    ) -> tuple[Any, Recording | None]:
        """The result of a recorded run, and the recording; None where the function gives numbers to code that does not
        take recorded ones, and was run again without."""
        name = _identifier(self._name)
        recorder = Recorder(name, sizes=sizes, exact=self._options.exact)
        try:
            return capture(self._function, arguments, keywords, found.leaves, name, pattern, recorder, found.apart)
        except Exception as error:
            if not needs_plain_numbers(error, recorder):
                raise
        return self._function(*arguments, **keywords), None

    def _compile_graph(self, graph: Any, **what: Any) -> Any:
        with no_fork:
            from .compiler import compile_graph, workers
            from .compiler.passes import optimize

        if not self._options.native:  # interpreted: no code is made
            updates, guards = (tuple(what.get(name, ())) for name in ("updates", "guards"))
            return Program(graph.name, optimize(graph), None, None, updates, guards)
        if self._options.background:
            what["build"] = functools.partial(workers.build, notes=self._notes.append)
        return compile_graph(graph, exact=self._options.exact, timers=True, **what)

    def _stay_eager(self, entry: Entry, reason: str) -> None:
        entry.reason = reason
        self._warn(f" runs eagerly: {reason}{advice(reason)}", reason)

    def _count(self, retrace: Retrace) -> None:
        """Tell the user, once, of a cause for which the function was recorded again and again."""
        again = sum(other.about == retrace.about for other in self._retraces)
        if again == NOTICED:
            text = f" was recorded {again} times more, each time compiling, because of {retrace.cause}"
            self._warn(f"{text}{retrace.advice()}", ("retraces", *retrace.about))

    def _warn(self, text: str, cause: Any) -> None:
        """Say something once for each cause."""
        if cause not in self._warned:
            self._warned.add(cause)
            warn_user(f"jitcore.jit: {self._name}{text}", JitWarning)


_functions: weakref.WeakSet[JitFunction] = weakref.WeakSet()


def _after_fork() -> None:
    """Who held a lock may not be there any more."""
    for function in _functions:
        function._recordings.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def jit(
    function: Callable | None = None,
    *,
    native: bool = True,
    exact: bool = False,
    background: bool = False,
    warmup: Sequence[Any] = (),
    dynamic: bool | None = None,
) -> Any:
    """Compile a function, method or Module by recording it: `@jitcore.jit`, or `fast = jitcore.jit(model)`.

    The first call runs eagerly and is recorded; later calls with arguments of the same structure, dtypes and shapes run
    the compiled program. Tensors may be nested in tuples, lists, dicts, dataclasses and other objects. A float argument
    is a value of the program, as a tensor is; other leaves are constants of the recording, by value. `native=False`
    interprets the recorded graph instead of compiling it. `exact=True`: results have the bits that the function gives
    eagerly; what native code would round otherwise (sums, products of matrices, exp and its like) is then run by NumPy.

    `background=True`: recordings are compiled in another process, and calls run eagerly until that is done
    (`function.wait()` waits for it). `warmup=[(TensorSpec((8, 784)),)]` compiles ahead for calls like these; see
    `JitFunction.warm_up`.

    A size of an argument that is another at a second call becomes a symbol of the second recording, which then serves
    all sizes that the function treats alike; so does an integer argument. `dynamic=True`: sizes are symbols from the
    first recording on; `dynamic=False`: never. `mark_dynamic` chooses single dimensions.

    Raises TypeError where `function` is not callable. A run that cannot be replayed safely stays eager, with one
    `JitWarning` that says why. A call that ends in an exception leaves tensors as they were (memory, gradients, flags,
    random state), but not Python objects, nor what NumPy code wrote to memory that it shares with a tensor.
    """
    if function is None:
        return functools.partial(jit, native=native, exact=exact, background=background, warmup=warmup, dynamic=dynamic)
    options = Options(native, exact, background, dynamic)
    if isinstance(function, type) and issubclass(function, Module):
        if warmup:
            raise TypeError("jit: warmup is for functions and Modules; a class has no parameters to run with yet")
        function.forward = JitFunction(function.forward, options)  # type: ignore[method-assign]
        return function
    if not callable(function):
        raise TypeError(f"jit: expected a function or Module, got {type(function).__name__}")
    made = JitFunction(function, options)
    made.warm_up(*warmup)
    return made


def explain(function: Callable, *arguments: Any, **keywords: Any) -> str:
    """What `jit` makes of a call of `function`, in plain words; see `JitFunction.explain`.

    The function, jitted or not, runs once on copies of the tensors, and what it does to other tensors is undone.
    """
    from .trace.warmup import made_up_call

    jitted = function if isinstance(function, JitFunction) else JitFunction(function)
    jitted._ahead(made_up_call(arguments)[0], made_up_call(keywords)[1])
    return jitted.explain()


def _cause(entries: Sequence[Entry], leaves: Sequence[Any]) -> Retrace | None:
    """Why the call fits no recording of those for its sizes; None where there are none."""
    tree = next((entry.tree for entry in entries if entry.tree.roots), None)
    return None if tree is None else cause_of(tree, leaves)


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name.replace("<locals>", "").replace("..", "."))
