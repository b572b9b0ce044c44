"""Running a function once, eagerly, while everything needed to replay it is written down.

`capture` gives the eager result at once, and a `Recording`: the graph, where each graph input comes from, what each
part of the result is made of, and the checks on Python state. `Recording.problem` says why there is nothing to replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jitcore_ir import UNKNOWN, Graph, Location, Value

from ..state import state
from ..tensor import Tensor
from ..undo import Undo, undone_on_error
from .checks import Checks
from .containers import Apart, Flattening, count_leaves, flatten, paths_to
from .contents import alike
from .effects import Effect, shows_address, watched_effects
from .history import outside_leaf
from .keys import named_modes
from .kinds import Pattern, sizes_at
from .links import Links, asked_of_tape, held_tensors, joined
from .numbers import is_of_the_run
from .pieces import Again, FromRoot, Piece, Pieces
from .recorder import Recorder, hooks_on
from .roots import GradientSlot, Read, Root
from .sources import Argument, MemoryOf, StateOf
from .views import same_chain, whole_memory
from .watch import Watcher


@dataclass(eq=False, slots=True)
class Recording:
    """One recorded run. Graph outputs: `values` first, then one per written root, then one per read. `pieces` are the
    leaves of the result, then the gradients set."""

    graph: Graph
    roots: list[Root]
    pieces: list[Piece]
    structure: Any
    gradients: list[tuple[GradientSlot, Piece]]
    written: list[int]
    reads: list[Read]
    checks: Checks
    pins: dict[int, tuple[float, Location]]
    effects: list[Effect]
    values: list[Value] = field(default_factory=list)
    problem: str | None = None
    recorder: Recorder | None = None
    differentiable: list[tuple[Any, int]] = field(default_factory=list)
    """Result tensors that carry gradient history, with their output numbers."""
    generators: list[int] = field(default_factory=list)
    """Inputs that are the state of a captured generator."""
    layouts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Outputs that are not row by row in memory, with their axes in the order in which they lie there."""
    pattern: Pattern | None = None
    """The sizes of arguments, which may be symbols; None for an export."""
    links: Links = field(default_factory=Links)
    """What arguments have to do with what the function reaches otherwise."""
    containers: frozenset[int] = frozenset()
    """Ids of the lists, dicts and objects that it reaches otherwise than as arguments."""
    looked: Mapping[type, frozenset[str]] = field(default_factory=dict)
    """By class, the names that code which has an object of it can look up."""


def capture(
    function: Callable,
    arguments: tuple,
    keywords: dict,
    leaves: Sequence[Any],
    name: str,
    pattern: Pattern | None = None,
    recorder: Recorder | None = None,
    apart: Apart | None = None,
) -> tuple[Any, Recording]:
    """Run `function(*arguments, **keywords)` eagerly and record it, with the symbols of `pattern`. The result may hold
    numbers of the recording, which `settled` makes plain. `apart`: how the arguments were taken apart to `leaves`.

    The function's own exceptions pass through, after what it did to memory from outside has been undone.
    """
    recorder = recorder or Recorder(name)
    pattern = pattern or Pattern(sizes_at(leaves))
    enter_tensors(recorder, leaves, pattern)
    recorder.pins |= {position: (leaf, UNKNOWN) for position, leaf in enumerate(leaves) if type(leaf) is float}
    found = Flattening(apart=apart)
    before = found.leaves, found.of((arguments, keywords))
    given, named = _with_numbers(recorder, arguments, keywords, before[1], pattern)
    recorder.containers = paths_to((arguments, keywords), found)
    result, recording = record(recorder, function, given, named, leaves, found.containers)
    recording.pattern = pattern
    if not _same_tree(before, flatten((arguments, keywords), once=True, apart=apart)):
        recording.problem = recording.problem or "a list, dict or object that is an argument is changed by the function"
    given.clear()
    named.clear()
    return result, recording


def enter_tensors(recorder: Recorder, leaves: Sequence[Any], pattern: Pattern) -> None:
    """Declare the tensors among the arguments as graph inputs. Those that share memory are one input: the tensor itself
    where all are the same view, else the whole memory, so that a write through one is seen by the others. (Where one of
    them requires grad they stay apart, and a write is refused.)"""
    from ..random import Generator

    given, leaves = leaves, [leaf._state if type(leaf) is Generator else leaf for leaf in leaves]
    groups: dict[int, list[int]] = {}
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            groups.setdefault(id(leaf._storage), []).append(position)
    for positions in groups.values():
        first, *others = (leaves[position] for position in positions)
        apart = any(not same_chain(other._view, first._view) for other in others)
        if apart and not any(leaf.requires_grad for leaf in (first, *others)):
            whole = whole_memory(first)
            recorder.add_root(whole, f"memory{positions[0]}", MemoryOf(positions[0]))
            recorder.aliases |= {id(leaves[position]): position for position in positions}
        elif apart:
            for position in positions:
                recorder.add_root(leaves[position], f"arg{position}", Argument(position), pattern.leaves[position])
        else:
            source = (StateOf if type(given[positions[0]]) is Generator else Argument)(positions[0])
            recorder.add_root(first, f"arg{positions[0]}", source, pattern.leaves[positions[0]])
            recorder.aliases |= {id(leaves[p]): p for p in positions[1:] if leaves[p] is not first}


def _with_numbers(
    recorder: Recorder, arguments: tuple, keywords: dict, structure: Any, pattern: Pattern
) -> tuple[list, dict]:
    """The arguments with recorded numbers in the places of floats, which stay pinned inside containers, and of integers
    that are symbols."""
    count = 0
    (_, positional), (*_, by_name) = structure[1]

    def replaced(argument: Any, part: Any) -> Any:
        nonlocal count
        position = count
        count += count_leaves(part)
        if type(argument) is int:
            shape = pattern.leaves[position]
            assert shape is not None
            return argument if isinstance(shape[0], int) else recorder.integer(position, shape[0], argument)
        if type(argument) is not float:
            return argument
        del recorder.pins[position]
        return recorder.number(position, argument)

    named = zip(keywords.items(), by_name, strict=True)
    given = [replaced(argument, part) for argument, part in zip(arguments, positional, strict=True)]
    return given, {name: replaced(argument, part) for (name, argument), part in named}


def record(
    recorder: Recorder,
    function: Callable,
    arguments: Sequence[Any],
    keywords: dict,
    leaves: Sequence[Any],
    containers: Sequence[Any] = (),
) -> tuple[Any, Recording]:
    """As `capture`, with a recorder whose argument roots are already declared. `containers`: those among the
    arguments, which hold `leaves`."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    before = [x._requires_grad for x in tensors]
    modes_before = named_modes()
    watcher = Watcher(function, leaves, containers)
    recorder.on_hooks = watcher.hooks_start
    with undone_on_error(recorder.is_inside) as undo:
        state.recorder = recorder
        try:
            with watcher, watched_effects():
                results = [function(*arguments, **keywords)]
            watcher.forget_own(results)
            result = results.pop()
            recording = _finish(recorder, watcher, result, undo)
        finally:
            state.recorder = None
            recorder.open = False
            del recorder.on_hooks  # with the watcher, which holds whatever it has seen
        if recorder.made_up:
            undo.put_back()
    if before != [x._requires_grad for x in tensors]:
        recording.problem = recording.problem or "requires_grad of an argument is changed inside the function"
    for mode, was in modes_before.items():
        if named_modes()[mode] != was:
            recording.problem = recording.problem or f"{mode} is another when the function has ended"
    return result, recording


def _finish(recorder: Recorder, watcher: Watcher, result: Any, undo: Undo) -> Recording:
    for leaf in recorder.hooked.values():
        if not _is_own(leaf, recorder, watcher):
            watcher.checks.same_hooks(leaf, "a leaf had other hooks on its gradient")
    leafness = asked_of_tape(recorder, watcher)
    slots = [slot for slot in recorder.gradients.values() if not _is_own(slot.leaf, recorder, watcher)]
    recorder.gradients = {id(slot.leaf): slot for slot in slots}
    leaves, structure = flatten(result, is_of_the_run, _returned_whole(recorder, watcher), once=True)
    recorder.settle_layouts({id(leaf._storage) for leaf in leaves if isinstance(leaf, Tensor)})
    for text in recorder.texts:
        recorder.pin(text.number)
    if shows_address(recorder, leaves):
        recorder.refuse("a text says where an argument lies in memory, another place in each call", UNKNOWN)
    found = Pieces(recorder, watcher)
    values = found.values
    differentiable: list[tuple[Any, int]] = []
    pieces: list[Piece] = []
    positions: dict[int, int] = {}

    def add(leaf: Any, differentiable: list) -> None:
        earlier = positions.setdefault(id(leaf), len(pieces)) if isinstance(leaf, Tensor) else len(pieces)
        is_new = earlier == len(pieces)
        pieces.append(found.piece(leaf, differentiable) if is_new else Again(earlier))

    for leaf in leaves:
        add(leaf, differentiable)
    assigned = [slot for slot in slots if slot.assigned]
    for slot in assigned:
        add(slot.after, [])
    gradients = list(zip(assigned, pieces[len(leaves) :], strict=True))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    if any(t.is_leaf and recorder.is_inside(t) for t in tensors) and not all(t.is_leaf for t in tensors):
        recorder.refuse("a new tensor that requires grad is returned with what was computed from it", UNKNOWN)
    for value in (value for effect in recorder.effects for value in effect.values()):
        values.setdefault(value, len(values))
    for tensor, before in recorder.hooks_put.values():
        now = hooks_on(tensor)
        is_result = any(tensor is leaf for leaf in leaves)  # replays keep the gradient of one, if told to
        if (now[0] != before[0] and is_result) or (now != before and not _is_own(tensor, recorder, watcher)):
            recorder.refuse("a hook is put on a tensor that outlives the call", UNKNOWN)
    for slot, piece in gradients:
        if isinstance(piece, FromRoot) and slot.after is not slot.before:
            recorder.refuse("`.grad` is set to a tensor from outside the function", recorder.roots[piece.root].location)
    written = [number for number, root in enumerate(recorder.roots) if root.written]
    for number in written:
        if recorder.roots[number].tensor._node is not None or undo.gave_history(recorder.roots[number].tensor):
            recorder.refuse(
                "a tensor from outside is written with a value that has gradient history",
                recorder.roots[number].location,
            )
    broken = watcher.checks.first_broken()
    problem = recorder.problem or recorder.aliasing_problem() or watcher.problem or _unaccounted(recorder, watcher)
    if problem is None and outside_leaf(recorder, [tensor for tensor, _ in differentiable]) is not None:
        problem = "gradients flow to a tensor that shares its memory with another input"
    if problem is None and broken is not None:
        problem = f"the function itself changes Python state: {broken}"
    captured = [(n, root) for n, root in enumerate(recorder.roots) if root.source is None]
    generators = [n for n, root in captured if id(root.tensor._storage) in watcher.generators]
    links = Links(joined(recorder, watcher), leafness, held_tensors(watcher))
    looked = watcher.looked
    if watcher.looks_at_all:
        looked = {cls: names | {"__dict__"} for cls, names in looked.items()}
    return Recording(
        recorder.graph, recorder.roots, pieces, structure, gradients, written, recorder.reads, watcher.checks,
        recorder.pins, recorder.effects, list(values), problem, recorder, differentiable, generators,
        found.layouts, links=links, containers=watcher.held_containers(), looked=looked,
    )  # fmt: skip


def _returned_whole(recorder: Recorder, watcher: Watcher) -> Callable[[Any], bool]:
    """Whether a list, dict or object in a result is one from outside, which the caller has in common with others."""

    def whole(tree: Any) -> bool:
        if recorder.containers is None or issubclass(type(tree), tuple):
            return False
        return id(tree) in recorder.containers or (id(tree) in watcher.held and id(tree) in watcher.outside)

    return whole


def _is_own(leaf: Tensor, recorder: Recorder, watcher: Watcher) -> bool:
    """Whether the run made the leaf, perhaps on memory from outside (`x.detach().requires_grad_()`): what becomes of
    its gradient is then the run's own business."""
    if recorder.is_inside(leaf):
        return True
    return recorder.root_of(leaf) is not None and all(t is not leaf for t in watcher.seen.get(id(leaf._storage), ()))


def _same_tree(before: tuple[list[Any], Any], after: tuple[list[Any], Any]) -> bool:
    """Whether the arguments have the structure and the objects that they had."""
    return before[1] == after[1] and all(a is b for a, b in zip(before[0], after[0], strict=True))


def _unaccounted(recorder: Recorder, watcher: Watcher) -> str | None:
    """Captured tensors must be reachable by a check, or a replay would not notice that they were replaced.

    A root first met through another handle on the same memory (`detach()`, a saved operand) is rebound to the tensor
    that is checked.
    """
    from ..random import default_generator

    watcher.see_generator(default_generator)
    for optimizer in watcher.optimizers.values():
        if _watch_optimizer(optimizer, watcher, recorder):
            return "the function itself changes Python state: it makes or counts state of an optimizer"
    for root in recorder.roots:
        if root.source is not None:
            continue
        owners = watcher.seen.get(id(root.tensor._storage), [])
        if not owners:
            where = _first_use(root)
            return f"a tensor used at {where} is reached in a way that jitcore cannot watch; pass it as an argument"
        root.tensor = next((t for t in owners if t._view == root.chain), root.tensor)
        held = [t for t in owners if id(t) in watcher.held]
        for t in held or [root.tensor]:  # the root may be a memory of which they are parts
            watcher.checks.same_flag(t, f"a tensor used at {_first_use(root)} had another requires_grad")
        if any(t is not root.tensor for t in held):  # a lone one takes exchanged `data` along
            for t in held:
                watcher.checks.same_memory(t, f"the data of a tensor used at {_first_use(root)} was another memory")
    return None


def _first_use(root: Any) -> Any:
    return root.value.uses[0][0].location if root.value.uses else "an unknown line"


def _watch_optimizer(optimizer: Any, watcher: Watcher, recorder: Recorder) -> bool:
    """Optimizer state is made lazily, so it is looked at after the run: its tensors by identity.

    Returns whether the run itself made a tensor of it, which a replay would make anew instead of going on with it, or
    changed a number.
    """
    checks = watcher.checks
    made = False
    for parameter, entries in optimizer.state.items():
        table = checks.bind(optimizer.state)
        checks.same_object(f"{table}.get({checks.bind(parameter)}, missing)", entries, "optimizer state was replaced")
        bound = checks.bind(entries)
        for name, value in entries.items():
            fetch = f"{bound}.get({name!r}, missing)"
            if isinstance(value, Tensor):
                watcher.see(value)
                made = made or recorder.is_inside(value)
                checks.same_object(fetch, value, f"optimizer state {name!r} was another tensor")
            else:
                before = watcher.numbers_of_optimizers.get((id(entries), name), checks)
                made = made or not (before is value or alike(before, value))
                checks.same_value(fetch, value, f"optimizer state {name!r} was {value!r}")
    return made
