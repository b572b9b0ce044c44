"""Random programs as Python source: a function with branches, views, in-place writes and state, and a run of calls.

`program(choices)` gives the source of a module with `f` (what is jitted) and `calls()`, a generator that yields the
arguments of each call, is sent its result, and changes the world in between. `program_check` runs such a source under
eager execution and under jit and compares everything that can be seen. A source stands alone: `python program.py`
prints the eager answers, `python program.py jit` those of jit.

`choices` has one method, `number(low, high)`; 0 is the simplest choice everywhere, so that Hypothesis can shrink.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PRELUDE = '''"""A random program: `python FILE` prints the eager answers, with `jit` or `interpreted` those of jit."""

import math
import sys

import jitcore
from jitcore import nn


def v(seed, *shape, dtype=jitcore.float32):
    """Small numbers: quarters, integers or truth values."""
    x = (jitcore.arange(math.prod(shape)) * 7 + seed * 5) % 11 - 5
    x = x / 4 if dtype.is_floating_point else x > 0 if dtype == jitcore.bool else x
    return x.to(dtype).reshape(shape)


def backward(result):
    """Gradients of everything in the result that has history."""
    parts = [t.double().sum() for t in result if isinstance(t, jitcore.Tensor) and t.requires_grad]
    if parts:
        sum(parts).backward()


class Net(nn.Module):
    gain = 2

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(v(3, 3))
        self.register_buffer("count", jitcore.zeros(()))
        self.drop = nn.Dropout(0.5)
        self.scale = 2.0
        self.parts = [v(4, 3), v(5, 3)]

    def forward(self, x):
        if self.training:
            self.count += 1
        return self.drop(x * self.scale + self.gain)


class Settings:
    bias = 0.5

    def __init__(self):
        self.level = 1.0
        self.steps = [1.0, 2.0]
        self.nested = {"a": {"b": 0.5}}
        self.pair = (1, 2.0)

    @property
    def doubled(self):
        return self.level * 2


net = Net()
settings = Settings()
optimizer = jitcore.optim.SGD(net.parameters(), lr=0.25, momentum=0.5)
table = [v(1, 3), v(2, 3)]
names = {"p": v(6, 3), "q": v(7)}
config = {"scale": 2.0, "flag": True, "power": 2}
s0 = v(8, 3)
s1 = v(9)
factor = 3
jitcore.manual_seed(5)
'''

TAIL = """

if __name__ == "__main__":
    g = jitcore.jit(f, native=sys.argv[1] != "interpreted") if len(sys.argv) > 1 else f
    run = calls()
    arguments = next(run)
    try:
        while True:
            try:
                result = g(*arguments)
            except Exception as error:
                result = error
            print(arguments, "gives", result, s0, s1, table, names, net.count, net.weight, sep="\\n    ")
            arguments = run.send(result)
    except StopIteration:
        pass
"""


class RandomChoices:
    """Choices of a seeded generator, for long runs without Hypothesis."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


@dataclass(frozen=True)
class Var:
    """A tensor in scope: its name, "f", "i" or "b", and its sizes as text ("N" differs from call to call)."""

    name: str
    kind: str
    dims: tuple[str, ...]
    writable: bool = True


@dataclass
class Writer:
    """Writes one program; `scope` holds the tensors that the code at this place can name."""

    choices: object
    pure: bool = False
    lines: list[str] = field(default_factory=list)
    scope: list[Var] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    indent: int = 1
    count: int = 0

    # Choosing

    def number(self, low: int, high: int) -> int:
        return self.choices.number(low, high)

    def pick(self, options):
        return options[self.number(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent

    def var(self, kinds: str = "fib", rank: int = 0, writable: bool = False) -> Var | None:
        found = [v for v in self.scope if v.kind in kinds and len(v.dims) >= rank and (v.writable or not writable)]
        return self.pick(found[::-1]) if found else None

    def like(self, x: Var, kinds: str = "fib", onto: bool = False) -> Var | None:
        """A tensor that broadcasts with x; `onto` x."""
        found = [v for v in self.scope if v.kind in kinds and broadcasts(x.dims, v.dims, onto)]
        if self.chance(2):
            found = self.scope  # most likely an error, which must be the same
        return self.pick(found) if found else None

    def scalar(self) -> str:
        options = ["2", "0.5", "-1", "1.25", *self.scalars, "n", "n"]
        if not self.pure:
            options += ["factor", 'config["scale"]', "net.scale", "net.gain", 'config["power"]']
            options += [self.pick(_SETTINGS)]
        return self.pick(options)

    # Writing

    def write(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def define(self, text: str, kind: str, dims: tuple[str, ...], writable: bool = True) -> Var:
        self.count += 1
        made = Var(f"t{self.count}", kind, dims, writable)
        self.write(f"{made.name} = {text}")
        self.scope.append(made)
        return made

    def block(self, length: int) -> None:
        """Statements one level in; what they define is not seen outside."""
        self.indent += 1
        before, scalars = len(self.scope), len(self.scalars)
        lines = len(self.lines)
        for _ in range(length):
            self.statement(depth=self.indent)
        if len(self.lines) == lines:
            self.write("pass")
        del self.scope[before:], self.scalars[scalars:]
        self.indent -= 1

    def statement(self, depth: int = 1) -> None:
        options = [elementwise, binary, with_scalar, view, view, reduce, cast, in_place, in_place, in_place, make, take]
        options += [write_view, write_view, joined, library, function]
        if not self.pure:
            options += [branch, branch, read_number, outside_state, outside_state, randomness, gradients]
            if depth <= 2:
                options += [branch, loop, attempt]
        self.pick(options)(self)


def broadcasts(x: tuple[str, ...], y: tuple[str, ...], onto: bool) -> bool:
    if onto and len(y) > len(x):
        return False
    pairs = zip(x[::-1], y[::-1], strict=False)
    return all(a == b or b == "1" or (a == "1" and not onto) for a, b in pairs)


def joined_dims(x: tuple[str, ...], y: tuple[str, ...]) -> tuple[str, ...]:
    longer, shorter = (x, y) if len(x) >= len(y) else (y, x)
    tail = longer[len(longer) - len(shorter) :]
    return longer[: len(longer) - len(shorter)] + tuple(
        b if a == "1" else a for a, b in zip(tail, shorter, strict=True)
    )


def higher(a: str, b: str) -> str:
    return next(kind for kind in "fib" if kind in (a, b))


_SETTINGS = (
    "settings.level", "settings.bias", "settings.doubled", 'getattr(settings, "le" + "vel")',
    'getattr(settings, "extra", 1.5)', 'sum(vars(settings)["steps"])', 'settings.nested["a"]["b"]', "settings.pair[1]",
    "settings.steps[-1]", "max(settings.pair)", "sum(d['b'] for d in settings.nested.values())",
)  # fmt: skip


# Statements


def elementwise(w: Writer) -> None:
    x = w.var()
    if x.kind == "f":
        w.define(w.pick(["{} * 2", "{}.relu()", "{}.abs()", "-{}", "{}.tanh()", "{}.sigmoid()", "{}.clamp(-1, 1.5)",
                         "{}.square() * 0.25", "nn.functional.gelu({})", "({}.abs() + 1).sqrt()"]).format(x.name),
                 "f", x.dims)  # fmt: skip
    elif x.kind == "i":
        w.define(w.pick(["{} + 1", "-{}", "{} % 3", "{} // 2", "{}.abs()"]).format(x.name), "i", x.dims)
    else:
        w.define(w.pick(["~{}", "{}.logical_not()"]).format(x.name), "b", x.dims)


def binary(w: Writer) -> None:
    x = w.var()
    y = w.like(x)
    if y is None:
        return
    dims = joined_dims(x.dims, y.dims) if broadcasts(x.dims, y.dims, False) else x.dims
    if w.chance(25):
        w.define(f"{x.name} {w.pick(['>', '<=', '==', '!='])} {y.name}", "b", dims)
    elif x.kind == y.kind == "b":
        w.define(f"{x.name} {w.pick(['|', '&', '^'])} {y.name}", "b", dims)
    elif "b" in (x.kind, y.kind):
        w.define(f"{x.name} {w.pick(['+', '*'])} {y.name}", higher(x.kind, y.kind), dims)
    else:
        form = w.pick(["{} + {}", "{} - {}", "{} * {}", "jitcore.maximum({}, {})", "jitcore.where({0} > 0.4, {0}, {1})",
                       "{}.add({}, alpha=2)"])  # fmt: skip
        w.define(form.format(x.name, y.name), higher(x.kind, y.kind), dims)


def with_scalar(w: Writer) -> None:
    x = w.var("fi")
    if x is not None:
        form = w.pick(["{} * {}", "{} + {}", "{1} - {0}", "{} / ({} + 8)", "jitcore.where({0} > {1}, {0}, {1})"])
        w.define(form.format(x.name, w.scalar()), "f", x.dims)


def view_of(w: Writer, x: Var) -> tuple[str, tuple[str, ...], bool]:
    """The text of a view of x, its sizes, whether it may be written."""
    d, rest = x.dims[0] if x.dims else "", x.dims[1:]
    options = [
        (f"{x.name}.unsqueeze(0)", ("1", *x.dims), x.writable),
        (f"{x.name}.expand(2, {', '.join('-1' for _ in x.dims)})" if x.dims else f"{x.name}.expand(2)",
         ("2", *x.dims), False),
        (f"{x.name}.view({', '.join(x.dims) if 'N' not in ''.join(x.dims) and x.dims else '-1'})",
         x.dims if "N" not in "".join(x.dims) and x.dims else (("*".join(x.dims) or "1"),), x.writable),
    ]  # fmt: skip
    if x.dims:
        options += [
            (f"{x.name}[1:]", (f"{d}-1", *rest), x.writable),
            (f"{x.name}[:-1]", (f"{d}-1", *rest), x.writable),
            (f"{x.name}[::2]", (f"{d}//2", *rest), x.writable),
            (f"{x.name}[0]", rest, x.writable),
            (f"{x.name}[-1]", rest, x.writable),
            (f"{x.name}.select(0, 0)", rest, x.writable),
            (f"{x.name}.reshape(-1)", ("*".join(x.dims),), x.writable),
            (f"{x.name}.flatten()", ("*".join(x.dims),), x.writable),
            (f"{x.name}[..., None]", (*x.dims, "1"), x.writable),
            (f"{x.name}.narrow(0, 0, 1)", ("1", *rest), x.writable),
            (f"{x.name}[:]", x.dims, x.writable),
            (f"{x.name}.detach()", x.dims, x.writable),
        ]
    if len(x.dims) >= 2:
        options += [
            (f"{x.name}.transpose(0, 1)", (x.dims[1], x.dims[0], *x.dims[2:]), x.writable),
            (f"{x.name}.movedim(0, -1)", (*rest, d), x.writable),
            (f"{x.name}[:, 1:]", (d, f"{x.dims[1]}-1", *x.dims[2:]), x.writable),
            (f"{x.name}[:, 0]", (d, *x.dims[2:]), x.writable),
            (f"{x.name}.diagonal()", ("diagonal", *x.dims[2:]), x.writable),
            (f"{x.name}.unbind(1)[-1]", (d, *x.dims[2:]), x.writable),
        ]
    return w.pick(options)


def view(w: Writer) -> None:
    x = w.var()
    text, dims, writable = view_of(w, x)
    w.define(text, x.kind, dims, writable)


def reduce(w: Writer) -> None:
    x = w.var(rank=1)
    if x is None:
        return
    if x.kind == "b":
        w.define(f"{x.name}.{w.pick(['any', 'all'])}()", "b", ())
    elif w.chance(40):
        w.define(f"{x.name}.{w.pick(['sum', 'cumsum', 'amax', 'prod'])}(0)", x.kind, x.dims[1:])
        if ".cumsum(" in w.lines[-1]:
            w.scope[-1] = Var(w.scope[-1].name, x.kind, x.dims)
    elif w.chance(20):
        w.define(f"{x.name}.argmax()", "i", ())
    elif x.kind == "f" and w.chance(30):
        w.define(f"{x.name}.{w.pick(['mean(-1, keepdim=True)', 'softmax(-1).sum(-1, keepdim=True)'])}",
                 "f", (*x.dims[:-1], "1"))  # fmt: skip
    else:
        w.define(f"{x.name}.sum()", x.kind, ())


def cast(w: Writer) -> None:
    x = w.var()
    to, kind = w.pick([("float()", "f"), ("double()", "f"), ("long()", "i"), ("bool()", "b"), ("int()", "i")])
    text = f"{x.name}.{to}"
    w.define(text, kind, x.dims, x.writable)  # may be x itself


def joined(w: Writer) -> None:
    x, y = w.var(rank=1), w.var(rank=1)
    if x is not None and x.dims[1:] == y.dims[1:] and x.kind == y.kind:
        w.define(f"jitcore.cat([{x.name}, {y.name}])", x.kind, (f"{x.dims[0]}+{y.dims[0]}", *x.dims[1:]))
    elif x is not None and x.kind == "f":
        y = w.like(x, "f", onto=True)
        if y is not None and len(y.dims) == 1 == len(x.dims):
            w.define(f"{x.name} @ {y.name}", "f", ())


def in_place(w: Writer) -> None:
    x = w.var("fi", writable=True)
    if w.pure and not (x and x.name.startswith("t")):
        return
    if x is None:
        return
    y = w.like(x, "f" if x.kind == "f" else "i", onto=True)
    other = y.name if y is not None and w.chance(60) else w.pick(["1", "2", w.scalar() if x.kind == "f" else "3"])
    forms = ["{}.add_({})", "{}.mul_({})", "{} += {}", "{} *= {}", "{}.sub_({})", "{0}.copy_({0} * {1})"]
    if x.kind == "f":
        forms += ["{}.fill_(0.5)", "{}.relu_()", "{}.clamp_(-1, 1)", "{}.zero_()", "{0}.masked_fill_({0} > 0.4, 0.25)"]
        forms += ["jitcore.add({0}, {1}, out={0})"]
    w.write(w.pick(forms).format(x.name, other))


def write_view(w: Writer) -> None:
    x = w.var("fib", rank=1, writable=True)
    if x is None or (w.pure and not x.name.startswith("t")):
        return
    text, dims, writable = view_of(w, x)
    if not writable:
        return
    inner = Var(text, x.kind, dims)
    if w.chance(40):
        text, dims, writable = view_of(w, inner)
        if not writable:
            return
    y = w.like(Var("", x.kind, dims), x.kind, onto=True)
    other = y.name if y is not None and w.chance(50) else w.pick(["1", "0.5"]) if x.kind == "f" else "1"
    if x.kind == "b":
        w.write(f"{text}.fill_(True)")
    elif text.endswith("]") and w.chance(50):
        w.write(f"{text} {w.pick(['=', '+=', '*='])} {other}")
    elif y is not None and other == y.name:
        w.write(f"{text}.{w.pick(['add_', 'mul_', 'copy_'])}({other})")
    else:
        w.write(f"{text}.{w.pick(['add_', 'mul_', 'fill_'])}({other})")


def library(w: Writer) -> None:
    """A function of several elements of x, which has none of its own kind above."""
    x = w.var("f", rank=1)
    if x is None:
        return
    last, rest = x.dims[-1], x.dims[:-1]
    text, dims = w.pick([
        ("jitcore.softmax({}, -1)", x.dims),
        ("nn.functional.layer_norm({0}, {0}.shape[-1:])", x.dims),
        ("{}.logsumexp(0)", x.dims[1:]),
        ("jitcore.stack([{0}, {0} * 2])", ("2", *x.dims)),
        ("jitcore.stack([t * 0.5 for t in {}])", x.dims),
        ("{}.topk(1, -1)[0]", (*rest, "1")),
        ("{}.sort(-1, descending=True)[1] % 2", x.dims),
        ("{0}.gather(0, {0}.argsort(0) // 2)", x.dims),
        ("jitcore.zeros_like({0}).scatter_add(0, {0}.argsort(0), {0})", x.dims),
        ("jitcore.einsum('...i,...i->...', {0}, {0})", rest),
        ("jitcore.cumsum({}, -1).roll(1, -1)", x.dims),
        ("nn.functional.pad({}, (1, 0))", (*rest, f"{last}+1")),
        ("{}.std(0, correction=0)", x.dims[1:]),
        ("{}.half().float()", x.dims),
    ])  # fmt: skip
    w.define(text.format(x.name), "i" if "% 2" in text else "f", dims)


def function(w: Writer) -> None:
    """A function or a list of the call's own."""
    x, y = w.var("f"), w.var("f")
    if x is None:
        return
    w.count += 1
    name = f"g{w.count}"
    kind = w.number(0, 2)
    if kind == 0:
        w.write(f"def {name}(t, k={w.scalar()}):")
        w.write(f"    return t * k + {y.name}.sum()")
        w.define(f"{name}({x.name})", "f", x.dims)
    elif kind == 1:
        w.write(f"{name} = []")
        w.write(f"for part in ({x.name}, {y.name}):")
        w.write(f"    {name}.append(part.sum() * {w.scalar()})")
        w.define(f"{name}[0] + {name}[-1]", "f", ())
    else:
        w.write(f"{name} = {{'x': {x.name}, 'y': [{y.name}]}}")
        w.write(f"{name}['x'] = {name}['x'] * len({name})")
        w.define(f"{name}['x'] + {name}['y'][0].sum()", "f", x.dims)


def make(w: Writer) -> None:
    x = w.var()
    n = f"{x.name}.shape[0]" if x.dims else "3"
    text, kind, dims = w.pick([
        (f"{x.name}.clone()", x.kind, x.dims),
        (f"jitcore.zeros_like({x.name})", x.kind, x.dims),
        (f"jitcore.ones({n})", "f", x.dims[:1] or ("3",)),
        (f"jitcore.arange({n})", "i", x.dims[:1] or ("3",)),
        (f"jitcore.full_like({x.name}, 1)", x.kind, x.dims),
        ("jitcore.tensor([1.0, 2.0, 3.0])", "f", ("3",)),
        (f"{x.name}.new_zeros({n})", x.kind, x.dims[:1] or ("3",)),
        (f"jitcore.tensor({n})", "i", ()),
        (f"{x.name} * {x.name}.numel()", "f" if x.kind == "f" else "i", x.dims),
    ])  # fmt: skip
    w.define(text, kind, dims)


def take(w: Writer) -> None:
    x = w.var(rank=1)
    if x is None:
        return
    index = w.var("i", rank=1)
    options = [(f"{x.name}[[0, 0]]", ("2", *x.dims[1:]))]
    options += [(f"{x.name}.flip(0)", x.dims), (f"{x.name}.sort(0)[0]", x.dims)]
    if index is not None and len(index.dims) == 1:
        options.append((f"{x.name}[{index.name} % 2]", (*index.dims, *x.dims[1:])))
        options.append((f"{x.name}[{index.name}]", (*index.dims, *x.dims[1:])))
    if not w.pure:
        options.append((f"{x.name}[{x.name} > 0]", ("chosen",)))
    w.define(*(lambda text, dims: (text, x.kind, dims))(*w.pick(options)))


def condition(w: Writer) -> str:
    x = w.var()
    total = f"{x.name}.sum()"
    options = [
        f"{total} > 0.37", f"{total}.item() > 0.37", f"bool(({x.name} > 0).any())", f"({x.name} <= 1).all()",
        f"int({total} + 0.11) % 2", "n > 1", 'config["flag"]', "net.training", f"{x.name}.numel() > 2",
        f"{x.name}.requires_grad", "a is b", f"float({total}) < -0.37", f"isinstance({x.name}, jitcore.Tensor)",
        f"{x.name}.dtype == jitcore.float32", f"{x.name}.is_contiguous()", "s1 > 0.37", "len(table) > 2", "n",
        "jitcore.is_grad_enabled()", 'hasattr(settings, "extra")', '"extra" in vars(settings)', "settings.level > 1",
        "1.5 in settings.steps", "settings.pair == (1, 2.0)", "a is s0", "b is net.weight.grad", "a is table[0]",
        "net.weight.grad is None", "b.is_leaf",
    ]  # fmt: skip
    return w.pick(options)


def branch(w: Writer) -> None:
    w.write(f"if {condition(w)}:")
    w.block(w.number(1, 2))
    if w.chance(15):
        w.write("    return " + returned(w))
    if w.chance(60):
        w.write("else:")
        w.block(w.number(1, 2))


def loop(w: Writer) -> None:
    x = w.var("fi")
    if x is None:
        return
    w.write(w.pick([
        f"for _ in range(int({x.name}.abs().sum() + 0.11) % 3):", f"for row in {x.name}.reshape(-1)[:3]:",
        "for item in table:", "for name, item in names.items():", "for _ in range(2):",
        f"while 2.37 < {x.name}.sum() < 999.0 and {x.name}.numel() < 9:",  # infinity never gets small
    ]))  # fmt: skip
    head = w.lines[-1]
    if "while" in head:
        w.write(f"    {x.name} = {x.name} * 0.25" if x.kind == "f" else f"    {x.name} = {x.name} - 3")
        return
    added = "row" in head or "item" in head
    if added:
        w.scope.append(Var("row" if "row" in head else "item", x.kind if "row" in head else "f",
                           () if "row" in head else ("3",), writable=False))  # fmt: skip
    start = len(w.lines)
    w.block(w.number(1, 2))
    if any("table.append" in line for line in w.lines[start:]):  # a loop over what it makes longer has no end
        w.lines[start - 1] = head.replace("in table:", "in table[:]:")
    if added:
        w.scope = [v for v in w.scope if v.name not in ("row", "item")]


def attempt(w: Writer) -> None:
    x = w.var(rank=1)
    if x is None:
        return
    w.write("try:")
    w.indent += 1
    w.write(f"{x.name} = {x.name} + {x.name}[{w.pick(['3', '1', '0'])}]")
    w.indent -= 1
    w.write("except IndexError:")
    w.block(1)


def read_number(w: Writer) -> None:
    x = w.var()
    w.count += 1
    name = f"v{w.count}"
    forms = ["{}.sum().item()", "float({}.sum())", "int({}.sum() + 0.11)", "{}.sum().tolist()", "len({}.shape)"]
    w.write(f"{name} = {w.pick(forms).format(x.name)}")
    w.scalars.append(name)


def outside_state(w: Writer) -> None:
    x = w.var("fi")
    total = f"{x.name}.sum()" if x is not None else "1"
    if w.chance(50):
        of_three = ["s0", "table[0]", 'names["p"]', "net.weight", "net.parts[1]", "table[-1]"]
        name = w.pick([*of_three, "s1", "net.count"])
        w.define(name, "f", ("3",) if name in of_three else ())
        return
    w.write(w.pick([
        f"s0.add_({total})", f"s1.copy_({total})", "net.count.add_(1)",
        "table[0].mul_(0.5)", "s0[1:] += s0[:-1]", 'names["p"][0] = 1.25', "net.parts[0].add_(net.weight.detach())",
        "table.append(table[0] * 2)" if w.chance(10) else "s0[0] = s1",
        'config["power"] = n' if w.chance(10) else "pass",
        "names.setdefault('r', s0)" if w.chance(20) else "s0.view(3, 1).t().mul_(0.5)",
    ]))  # fmt: skip


def randomness(w: Writer) -> None:
    x = w.var("f")
    if x is None:
        return
    text = w.pick([
        "nn.functional.dropout({}, 0.5)", "jitcore.rand_like({})", "{} + jitcore.rand(1)", "net({})",
        "{} * jitcore.bernoulli(jitcore.full((), 0.5))", "nn.functional.dropout({}, 0.5, net.training)",
        "{} + jitcore.randn(())", "{} + jitcore.randint(0, 3, (1,))",
    ])  # fmt: skip
    if w.chance(5):
        w.write("jitcore.manual_seed(3)")
    w.define(text.format(x.name), "f", x.dims)


def gradients(w: Writer) -> None:
    x = w.var("f")
    if x is None:
        return
    kind = w.number(0, 5)
    if kind == 0:
        w.write(f"({x.name}.sum() * net.weight).sum().backward()")
    elif kind == 1:
        w.write(f"({x.name}.sum() * net.weight).square().sum().backward()")
        w.write("optimizer.step()")
        w.write(w.pick(["optimizer.zero_grad()", "net.weight.grad = None", "net.weight.grad.zero_()"]))
    elif kind == 2:
        w.write("with jitcore.no_grad():")
        w.block(2)
    elif kind == 3:
        made = w.define(f"{x.name}.detach().clone().requires_grad_()", "f", x.dims)
        w.define(f"jitcore.autograd.grad(({made.name} * {made.name}.abs()).sum(), [{made.name}])[0]", "f", x.dims)
    elif kind == 4:
        w.define("net.weight.grad if net.weight.grad is not None else jitcore.zeros(3)", "f", ("3",))
    else:
        w.define(f"{x.name} * net.weight.sum()", "f", x.dims)


def returned(w: Writer) -> str:
    names = [v.name for v in w.scope if v.name not in ("row", "item")]
    parts = [w.pick(names[::-1]) for _ in range(w.number(1, 3))]
    if w.chance(30):
        text, _, _ = view_of(w, w.pick(w.scope))
        parts.append(text)
    if w.scalars and w.chance(60):
        parts.append(w.pick(w.scalars))
    if w.chance(10):
        parts.append("n")
    return "(" + ", ".join(parts) + ",)"


# The calls

_SHAPES = (("N",), ("N", "3"), ("3",), (), ("3", "3"))


def program(choices: object, pure: bool | None = None) -> str:
    """The source of a random program. A pure one only computes with its arguments, so that it can be exported."""
    w = Writer(choices)
    w.pure = w.chance(20) if pure is None else pure
    shapes = [w.pick(_SHAPES) for _ in range(2)]
    kinds = [w.pick("fffffib") for _ in range(2)]
    w.scope = [Var(name, kind, dims) for name, kind, dims in zip("ab", kinds, shapes, strict=True)]
    for _ in range(w.number(1, 8)):
        w.statement()
    body = [*w.lines, f"    return {returned(w)}"]
    function = ["", "", "def f(a, b, n=1):", *body]
    return "\n".join([PRELUDE.rstrip(), *function, "", "", *calls(w, shapes, kinds)]) + "\n" + TAIL


_DTYPES = {"f": ["float32", "float32", "float32", "float64"], "i": ["int64", "int64", "int32"], "b": ["bool"]}
_CHANGES = (
    'config["scale"] = 0.5', "net.scale = 3", "net.train(not net.training)", "factor = 5", "table[0] = v(11, 3)",
    "table.append(v(12, 3))", "net.weight = nn.Parameter(v(13, 3))", "net.count.add_(1)", "s0 = v(14, 3)",
    "Net.gain = 3",
    's1.fill_(1.5)', 'config["flag"] = not config["flag"]', "table[0], table[1] = table[1], table[0]",
    'names["p"] = s0', "net.parts[1] = net.parts[0]", "jitcore.manual_seed(9)", "net.weight.grad = None",
    "net.weight.requires_grad_(not net.weight.requires_grad)", "s0.data = v(15, 3)", "factor = 3.0",
    "net.scale = True",
    'optimizer.param_groups[0]["lr"] = 0.125', 'names["z"] = v(16, 3)', "del table[2:]", "net.weight.data.mul_(0.5)",
    "net.drop.p = 0.25", "net.parts.reverse()", "table[1] = s0[:]", "Net.forward = lambda self, x: x + self.count",
    "settings.level = 2.5", "settings.extra = 3.0", "vars(settings).pop('extra', None)", "Settings.bias = 1.5",
    "settings.steps.append(0.5)", "settings.steps[0] = 1.5", 'settings.nested["a"]["b"] = 0.25',
    'settings.nested["c"] = {"b": 2.0}', "settings.pair = (2, 0.5)", "settings.pair = (1, 2.0)",
    "Settings.doubled = property(lambda self: self.level * 3)", "Settings.extra = 0.75",
)  # fmt: skip


_HELD = (
    "s0", "table[0]", "net.weight", "s0[1:]", "net.parts[0]", "s0[:2]", "s0[:]", "s0.detach()", "s1", "table[1][:2]",
    "net.count", "net.weight.detach()", "s0.view(3, 1)[1:].t()[0]", 'names["p"]', "net.parts[1][::2]",
    "s0 if net.weight.grad is None else net.weight.grad", "s1 if net.weight.grad is None else net.weight.grad[1:]",
)  # fmt: skip
"""Tensors of the program's own, and parts of them, which arguments may be."""


def calls(w: Writer, shapes, kinds) -> list[str]:
    """The text of `calls()`."""
    lines = ["def calls():", "    global factor, s0"]
    size = w.number(1, 4)
    for turn in range(w.number(3, 6)):
        pad = "    "
        if turn and w.chance(20):
            size = w.number(0, 5)
        if turn and not w.pure and w.chance(35):
            lines.append(pad + w.pick(_CHANGES))
        if not turn or w.chance(60):
            for name, dims, kind in zip("ab", shapes, kinds, strict=True):
                lines.append(f"{pad}{name} = {argument(w, dims, kind, size, turn)}")
            if kinds[0] == kinds[1]:
                lines += [pad + line for line in aliased(w, shapes, kinds, size)]
            if not w.pure and w.chance(15) and "f" in kinds:
                lines.append(f"{pad}{'ab'[kinds.index('f')]}.requires_grad_()")
            if not w.pure and turn and w.chance(10):
                lines.append(f"{pad}{w.pick('ab')} = next((t for t in result if isinstance(t, jitcore.Tensor)), a)")
        if not w.pure and w.chance(20):
            lines.append(f"{pad}{w.pick('ab')} = {w.pick(_HELD)}")
        if not turn or w.chance(30):
            n = w.pick(["1", "2", "3", "0", "2.0", "True", "-0.5", "0.0", "-0.0", "1.0"])
        if not w.pure and w.chance(10):
            lines.append(f"{pad}with {w.pick(['jitcore.no_grad()', 'jitcore.inference_mode()'])}:")
            pad += "    "
        if w.chance(50):
            lines.append(f"{pad}for _ in range(2):")
            pad += "    "
        if w.chance(3):  # so often that the tree of recordings is made one program
            lines.append(f"{pad}for turn in range(20):")
            pad += "    "
            lines += [f"{pad}if turn % 2:", f"{pad}    a = a + 1 if a.dtype != jitcore.bool else ~a"]
        lines.append(f"{pad}result = yield a, b, {n}")
        if not w.pure and w.chance(25):
            lines.append(pad + "if isinstance(result, tuple):")
            lines.append(pad + "    " + w.pick(["backward(result)", "backward(result)", "result[0].detach().add_(1)"]))
    return lines


def argument(w: Writer, dims: tuple[str, ...], kind: str, size: int, turn: int) -> str:
    sizes = "".join(f", {size if d == 'N' else d}" for d in dims)
    dtype = w.pick(_DTYPES[kind]) if w.chance(20) or kind != "f" else "float32"
    suffix = "" if dtype == "float32" else f", dtype=jitcore.{dtype}"
    if len(dims) == 2 and w.chance(10):
        return f"v({w.number(0, 9)}, {dims[1]}, {size if dims[0] == 'N' else dims[0]}{suffix}).t()"
    return f"v({w.number(0, 9)}{sizes}{suffix})"


def aliased(w: Writer, shapes, kinds, size: int) -> list[str]:
    """Lines that make the arguments share memory, sometimes."""
    if w.pure or not w.chance(30):
        return []
    if shapes[0] == shapes[1] and w.chance(50):
        return [w.pick(["b = a", "b = a.view(a.shape)", "b = a.detach()"])]
    if shapes[0] and shapes[0] == shapes[1]:
        d = size if shapes[0][0] == "N" else int(shapes[0][0])
        rest = "".join(f", {x}" for x in shapes[0][1:])
        start = w.number(0, 1)
        other = 1 - start
        return [
            f"base = v({w.number(0, 9)}, {d + 1}{rest})",
            f"a, b = base[{start}:{start + d}], base[{other}:{other + d}]",
        ]
    if len(shapes[0]) > len(shapes[1]) and shapes[0][1:] == shapes[1]:
        return ["b = a[0] if len(a) else b"]
    if len(shapes[1]) > len(shapes[0]) and shapes[1][1:] == shapes[0]:
        return ["a = b[-1] if len(b) else a"]
    return []
