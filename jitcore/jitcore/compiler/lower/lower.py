"""`lower_graph`: a graph of tensor operations becomes a `LoopModule`.

lower_block     branches and loops; what stands between them is lowered stretch by stretch   lower.control
expand          dead operations dropped, a few operations written in simpler ones     lower.expand
choose_roots    which values get a nest of their own                                  fuse.roots
make_nodes      the axes and the reads of each                                        fuse.node
form_clusters   which of them share a kernel                                          fuse.cluster
emit            one kernel (sometimes two) per cluster                                lower.rows, columns, ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from jitcore_ir import Graph, Operation, OpSpec, Trait, Value, shapes
from jitcore_ir.printer import print_graph
from jitcore_runtime.plan import BufferKind

from ..fuse.cluster import Cluster, form_clusters
from ..fuse.node import Node, make_nodes
from ..fuse.roots import base, choose_roots, is_call_out, is_leaf
from ..fuse.siblings import join_siblings
from ..fuse.split import split_cluster
from ..loops.module import LoopBuffer, LoopModule
from .call_out import emit_call_out
from .columns import emit_reduction
from .contraction import emit_contraction
from .control import Lowering, Stretch, lower_block
from .expand import expand
from .index import Indices, variable_name
from .kernel import KernelBuilder, Memory, Places
from .rows import RowNest
from .table import LOWERINGS
from .writes import NESTS, copy_into


def lower_graph(graph: Graph, constant_inputs: Collection[int] = (), exact: bool = False) -> LoopModule:
    """Lower `graph`, which is left as it is.

    `constant_inputs` are numbers of inputs that hold the same values in every call (weights of an exported model): what
    a contraction reads of them is prepared once. Symbols in the inputs' shapes stay symbols. `exact`: the program gives
    the bits that the NumPy kernels give (`lower.exact`). Raises NotImplementedError for an operation that has no
    lowering.
    """
    operations = list(graph.walk())
    for operation in operations:
        if operation.spec not in LOWERINGS and not operation.spec.has(Trait.TERMINATOR | Trait.CLOSED):
            raise NotImplementedError(f"{operation.spec.name} at {operation.location} has no lowering to loops")
    module = LoopModule(graph.name, symbols=_symbols(graph), operations=tuple(o.spec.name for o in operations))
    places = Places(module, module.steps)
    inputs = [
        places.add(LoopBuffer(BufferKind.INPUT, value.type.dtype, value.type.shape, number, name=value.name))
        for number, value in enumerate(graph.inputs)
    ]
    outputs = [
        places.add(LoopBuffer(BufferKind.OUTPUT, value.type.dtype, value.type.shape, number))
        for number, value in enumerate(graph.outputs)
    ]
    lowering = Lowering(places, operations, set(constant_inputs), lower_stretch, exact)
    lower_block(graph.block, inputs, outputs, lowering)
    _share_equal_kernels(module)
    return module


def lower_stretch(stretch: Stretch, lowering: Lowering) -> None:
    """Append the kernels of a graph without branches or loops."""
    _Stretch(stretch, lowering).run()


class _Stretch:
    def __init__(self, stretch: Stretch, lowering: Lowering) -> None:
        self.stretch = stretch
        self.lowering = lowering
        self.graph, numbers = expand(stretch.graph, lowering.exact)
        self.numbers = {operation: stretch.numbers[n] for operation, n in numbers.items()}
        self.memory = Memory(lowering.places, self.numbers)
        self.constants = lowering.constants
        self.roots = choose_roots(self.graph)

    def run(self) -> None:
        clusters = form_clusters(make_nodes(self.roots, self.numbers), self.roots, self.numbers)
        join_siblings(clusters)
        self._place_inputs_and_outputs()
        order = clusters.dependence.order()
        read_elsewhere = _read_by_other_kernels(order)
        for cluster in order:
            for node in cluster.nodes:
                if node.value in read_elsewhere or _has_buffer(node):
                    self.memory.temporary(node.value)
        for cluster in order:
            self._emit(cluster)
        self._copy_outputs()

    # --- memory ---

    def _place_inputs_and_outputs(self) -> None:
        memory, places = self.memory, self.lowering.places
        memory.of.update(zip(self.graph.inputs, self.stretch.inputs, strict=True))
        called = [o for o in self.graph.operations if is_call_out(o)]
        taken = dict.fromkeys(base(v) for operation in called for v in operation.operands)
        for value in taken:
            if memory.of.get(value, 0) < 0:  # a call-out takes whole buffers
                part = places.buffer(memory.of[value])
                whole = places.add(LoopBuffer(BufferKind.TEMPORARY, part.dtype, part.shape))
                copy_into(self._kernel_maker(None), memory, value, whole, self.roots)
                memory.of[value] = whole
        self._copies: list[tuple[Value, int]] = []
        for output, place in zip(self.graph.outputs, self.stretch.outputs, strict=True):
            held = base(output)
            by_call = held in taken or (held.operation is not None and is_call_out(held.operation))
            if held in memory.of or is_leaf(held) or (place < 0 and by_call):
                self._copies.append((output, place))
            else:
                memory.of[held] = place
        for operation in self.graph.operations:
            for value in operation.results:
                if is_leaf(value):
                    data = operation.attributes["value"]
                    number = memory.add(LoopBuffer(BufferKind.CONSTANT, value.type.dtype, data.shape, data=data))
                    memory.of[value] = number
                    self.constants.add(number)

    def _copy_outputs(self) -> None:
        for value, buffer in self._copies:
            source = base(value)
            copy_into(self._kernel_maker(value.operation), self.memory, source, buffer, self.roots)

    # --- kernels ---

    def _kernel_maker(self, operation: Operation | None, also: Sequence[OpSpec] = ()) -> Callable[[str], KernelBuilder]:
        def make(label: str) -> KernelBuilder:
            return KernelBuilder(self.memory, "+".join([label, *(s.name for s in also)]), operation)

        return make

    def _emit(self, cluster: Cluster) -> None:
        kept = {n.value for n in cluster.nodes if n.value in self.memory.of}
        nodes = [n for n in cluster.nodes if n.elements != 0]
        last = cluster.nodes[-1].operation
        first = cluster.nodes[0].operation
        if not nodes or not kept:
            return
        if is_call_out(first):
            called = self.lowering.operations[self.numbers[first]]
            emit_call_out(self._kernel_maker(first), self.memory, cluster.nodes[0], called)
        elif cluster.kind == "alone":
            NESTS[first.spec](self._kernel_maker(first), self.memory, cluster.nodes[0], self.roots)
        elif cluster.kind == "anchored":
            maker = self._kernel_maker(first, [n.operation.spec for n in nodes if n not in cluster.anchors])
            self._emit_anchored(cluster, maker, kept)
        else:
            cluster.nodes = nodes
            maker = self._kernel_maker(last)
            parts = split_cluster(cluster, self.roots, self.numbers) if cluster.kind == "flat" else [cluster]
            for part in parts:
                kernel = maker("+".join(n.operation.spec.name for n in nodes))
                RowNest(kernel, part, kept, self.roots.costs).emit()
                kernel.finish()

    def _emit_anchored(self, cluster: Cluster, maker: Callable[[str], KernelBuilder], kept: set[Value]) -> None:
        def finish(kernel: KernelBuilder, anchor: Node, place: Indices) -> None:
            kernel.members = {n.value for n in cluster.nodes}
            given = {variable_name(v): i for v, i in zip(anchor.place, place, strict=True) if v not in (0, i)}
            for node in cluster.nodes:
                if node.value in kept and cluster.anchor_of[node] is anchor:
                    where = cluster.places[node]  # as fusion tried it: substituting would simplify, and find no match
                    if given:
                        where = tuple(shapes.substitute(i, given) for i in where)
                    kernel.store_value(node.value, where)

        if cluster.shape is None:
            emit_contraction(maker(cluster.anchor.operation.spec.name), self.memory, cluster, self.constants, finish)
        else:
            emit_reduction(maker, self.memory, cluster, finish)


def _has_buffer(node: Node) -> bool:
    """True for what is written as a whole buffer, by a nest of its own or a call-out."""
    return node.kind == "alone" and (node.operation.spec in NESTS or is_call_out(node.operation))


def _read_by_other_kernels(clusters: Sequence[Cluster]) -> set[Value]:
    """Values that a kernel reads from memory: those of other kernels, and those that whole buffers are taken of."""
    found: set[Value] = set()
    for cluster in clusters:
        own = {n.value for n in cluster.nodes}
        for node in cluster.nodes:
            found.update(v for v, _ in node.reads if v not in own or node.kind == "alone")
    return found


def _symbols(graph: Graph) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in graph.inputs:
        for dim in value.type.shape:
            found.update(dict.fromkeys(shapes.symbols_of(dim)))
    return tuple(found)


def _share_equal_kernels(module: LoopModule) -> None:
    """Give kernels of equal text one graph, and number the distinct ones."""
    distinct: dict[str, Graph] = {}
    for number, call in enumerate(module.kernels):
        text = print_graph(call.kernel, locations=False)
        if text not in distinct:
            distinct[text] = call.kernel
        module.kernels[number] = replace(call, kernel=distinct[text])
    for number, kernel in enumerate(distinct.values()):
        kernel.name = f"kernel{number}"
