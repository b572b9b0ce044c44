"""Random graphs with branches and loops inside each other, and operands for them."""

import numpy as np

from jitcore_ir import Graph, Region, TensorType, ops, shapes
from jitcore_ir.builder import Builder
from jitcore_ir.dtypes import bool_, float32, int64

WIDTH = 6
VECTOR, NUMBER, COUNT = TensorType(float32, (WIDTH,)), TensorType(float32), TensorType(int64)
T = shapes.symbol("T")
UNARY = (ops.SIN, ops.TANH, ops.NEG, ops.ABS, ops.SIGMOID)
BINARY = (ops.ADD, ops.MUL, ops.SUB, ops.MAXIMUM)


class Maker:
    """Appends random operations to blocks."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.regions = 0

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, values):
        return values[self.random.integers(len(values))]

    def of(self, block, known, type):
        """A known value of the type, or a new one."""
        fitting = [v for v in known if v.type == type]
        if fitting and self.chance(0.9):
            return self.pick(fitting)
        build = Builder(block)
        array = self.random.normal(size=type.shape).astype(np.float32) if type.dtype is float32 else self.small()
        return build.value(ops.CONSTANT, value=np.asarray(array, type.dtype.numpy))

    def small(self):
        return self.random.integers(0, 4)

    def some(self, block, known, count):
        return [self.of(block, known, self.pick((VECTOR, VECTOR, NUMBER))) for _ in range(count)]

    def graph(self):
        graph = Graph("random")
        known = [graph.block.add_argument(t, n) for n, t in (("x", VECTOR), ("y", VECTOR), ("s", NUMBER))]
        stacks = [graph.block.add_argument(TensorType(float32, (T, WIDTH)), "xs")]
        stacks.append(graph.block.add_argument(TensorType(float32, (3, WIDTH)), "zs"))
        self.fill(graph.block, known, stacks, 2)
        results = [self.pick(known) for _ in range(3)] + known[-2:] + stacks[-1:]
        graph.block.append(ops.RETURN, results)
        return graph

    def fill(self, block, known, stacks, depth):
        """Operations in a block; `known` and `stacks` grow by their results."""
        build = Builder(block)
        for _ in range(self.random.integers(2, 6)):
            if depth and self.chance(0.4) and self.regions < 6:
                self.regions += 1
                self.pick((self.cond, self.scan, self.loop))(block, known, stacks, depth)
                continue
            x, y = (self.of(block, known, VECTOR) for _ in range(2))
            kind = self.random.integers(6)
            if kind == 0:
                known.append(build.value(self.pick(UNARY), x))
            elif kind == 1:
                known.append(build.value(ops.SUM, x, axes=(0,), keepdims=False))
            elif kind == 2:
                known.append(build.value(ops.TANH, build.value(ops.CUMSUM, x, axis=0)))
            elif kind == 3:
                half = build.value(ops.SLICE, x, starts=(0,), sizes=(WIDTH // 2,), steps=(2,))
                known.append(build.create(ops.CONCAT, [half, half], {"axis": 0}).result)
            elif kind == 4:
                rows = build.value(ops.RESHAPE, x, shape=(2, WIDTH // 2))
                other = build.value(ops.RESHAPE, y, shape=(WIDTH // 2, 2))
                square = build.value(ops.TANH, build.value(ops.DOT, rows, other))
                known.append(build.value(ops.SUM, square, axes=(0, 1), keepdims=False))
            else:
                number = self.of(block, known, NUMBER)
                known.append(build.value(ops.SIGMOID, build.value(self.pick(BINARY), x, self.pick((y, number)))))

    def body(self, types, gives, depth, stacks=()):
        """A region that takes and gives values of these types."""
        region = Region()
        arguments = [region.block.add_argument(t) for t in types]
        known = [a for a in arguments if a.type in (VECTOR, NUMBER)]
        inner = [a for a in arguments if a.type not in (VECTOR, NUMBER, COUNT, TensorType(bool_))]
        self.fill(region.block, known, inner, depth - 1)
        return region, arguments, known, [self.of(region.block, known, t) for t in gives]

    def cond(self, block, known, stacks, depth):
        build = Builder(block)
        total = build.value(ops.SUM, self.of(block, known, VECTOR), axes=(0,), keepdims=False)
        predicate = build.value(ops.GT, total, build.constant(0, float32))
        operands = [*self.some(block, known, self.random.integers(1, 4)), *stacks[: self.random.integers(0, 2)]]
        gives = [self.pick((VECTOR, NUMBER)) for _ in range(self.random.integers(1, 4))]
        regions = []
        for _ in range(2):
            region, _, _, results = self.body([v.type for v in operands], gives, depth)
            region.block.append(ops.YIELD, results)
            regions.append(region)
        known += build.create(ops.COND, [predicate, *operands], {}, regions).results

    def scan(self, block, known, stacks, depth):
        build = Builder(block)
        carried = self.some(block, known, self.random.integers(0, 3))
        scanned = [self.pick(stacks)] if stacks and self.chance(0.8) else []
        length = scanned[0].type.shape[0] if scanned else int(self.small())
        constant = self.some(block, known, self.random.integers(0, 3))
        types = [*(v.type for v in carried), *(TensorType(v.type.dtype, v.type.shape[1:]) for v in scanned),
                 *(v.type for v in constant)]  # fmt: skip
        gives = [*(v.type for v in carried), *([VECTOR] if self.chance(0.7) else [])]
        region, _, _, results = self.body(types, gives, depth)
        region.block.append(ops.YIELD, results)
        attributes = {"length": length, "carried": len(carried), "scanned": len(scanned), "reverse": self.chance(0.5)}
        made = build.create(ops.SCAN, [*carried, *scanned, *constant], attributes, [region]).results
        known += made[: len(carried)]
        stacks += made[len(carried) :]

    def loop(self, block, known, stacks, depth):
        build = Builder(block)
        count = build.constant(self.small(), int64)
        carried = self.some(block, known, self.random.integers(1, 3))
        constant = self.some(block, known, self.random.integers(0, 2))
        types = [COUNT, *(v.type for v in (*carried, *constant))]
        test = Region()
        left, *_ = [test.block.add_argument(t) for t in types]
        inside = Builder(test.block)
        test.block.append(ops.YIELD, [inside.value(ops.GT, left, inside.constant(0, int64))])
        region, arguments, _, results = self.body(types, [v.type for v in carried], depth)
        inside = Builder(region.block)
        fewer = inside.value(ops.SUB, arguments[0], inside.constant(1, int64))
        region.block.append(ops.YIELD, [fewer, *results])
        made = build.create(
            ops.WHILE, [count, *carried, *constant], {"carried": 1 + len(carried)}, [test, region]
        ).results  # fmt: skip
        known += made[1:]


def operands(seed, length):
    random = np.random.default_rng(seed)
    shapes_of = ((WIDTH,), (WIDTH,), (), (length, WIDTH), (3, WIDTH))
    return [np.asarray(random.normal(size=shape), np.float32) for shape in shapes_of]
