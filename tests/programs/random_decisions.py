"""Random programs that decide by data, called so often that the tree of their recordings is made one program, and with
rare values afterwards, which take ways that nothing was recorded for.

`program(choices)` gives a source as `random_programs.program` does; `program_check` runs it.
"""

from __future__ import annotations

from random_programs import PRELUDE, TAIL

_CONDITIONS = (
    "x.max() > {c}", "x[0] > {c}", "s0.sum() > {c}", "x.sum().item() > {c}", "(x > {c}).any()",
    "not jitcore.isfinite(x).all()", "x[1] < {c} and x[0] > 0", "int(s1.item()) == {i}", "x.abs().sum() > {p}",
    "x.argmax().item() == {i}", "s0[0].item() + x[0].item() > {c}", "n > {i}", "s1 > {i}", "config['scale'] > 2",
)  # fmt: skip
_ACTIONS = (
    "x = x * {q}", "s0.add_(x)", "s0.copy_(x * {q})", "s1.add_(1)", "s1.fill_({i})", "y = y + x.sum()", "s0.mul_(0.5)",
    "n += 1", "x = x - s0", "y = y * 2 + s1", "x = x + jitcore.rand(2)", "y = y + n", "x = x[:]",
    "w.grad = None; (w * x).sum().backward(); y = y + w.grad.sum()", "y = y + x.sum().item()",
    "x = F.dropout(x, 0.5)", "y = y + jitcore.where(x > {c}, x, -x).sum()", "y = y + config['scale']",
    "x = jitcore.cat([x, x])[1:3]", "h = w * x; h.retain_grad(); h.sum().backward(); x = h.grad",
)  # fmt: skip
_RESULTS = (
    "return y", "return x, y", "return x * 100", "return s0 * 1", "return n", "return x.sum().item()", "return None",
    "return s0", "raise ValueError('no')", "continue",
)  # fmt: skip
_CALLS, _USUAL = 60, 40


class Writer:
    """Writes the function of one program."""

    def __init__(self, choices: object) -> None:
        self.number = choices.number
        self.lines: list[str] = []

    def pick(self, options):
        return options[self.number(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent

    def text(self, options) -> str:
        c, p, q = self.number(-6, 8) / 4 + 0.1, self.number(2, 12) / 4 + 0.1, self.pick([0.5, 2.0, -1.0, 1.5])
        return self.pick(options).format(c=c, p=p, q=q, i=self.number(0, 3))

    def block(self, depth: int, in_loop: bool = False) -> None:
        pad = "    " * (depth + 1)
        for _ in range(self.number(1, 3)):
            kind = self.number(0, 99)
            if kind < 50 or depth > 2:
                self.lines.append(pad + self.text(_ACTIONS))
            elif kind < 86:
                self.lines.append(f"{pad}if {self.text(_CONDITIONS)}:")
                self.block(depth + 1, in_loop)
                if self.chance(35):
                    self.lines.append(f"{pad}    {self.text(_RESULTS if in_loop else _RESULTS[:-1])}")
                if self.chance(40):
                    self.lines.append(f"{pad}else:")
                    self.block(depth + 1, in_loop)
            elif kind < 94:
                self.lines.append(f"{pad}for _ in range({self.number(1, 2)}):")
                self.block(depth + 1, True)
            else:
                most = self.number(2, 6) / 4 + 0.1
                self.lines += [f"{pad}turn = 0", f"{pad}while x.abs().max() > {most} and turn < 3:"]
                self.lines += [f"{pad}    x = x * 0.5", f"{pad}    turn += 1"]


def program(choices: object) -> str:
    """The source of a random program."""
    w = Writer(choices)
    w.lines += ["def f(x):", "    y, n = jitcore.zeros(()), 0"]
    for _ in range(w.number(1, 3)):
        w.block(0)
    w.lines.append("    " + w.text(_RESULTS[:4]))
    usual = [f"v({w.number(0, 10)}, 2)" for _ in range(w.pick([2, 3, 4, 1]))]
    rare = [f"v({w.number(0, 10)}, 2) * 3", f"v({w.number(0, 10)}, 2)", "jitcore.tensor([math.nan, 1.0])"]
    calls = ["def calls():"]
    for turn in range(_CALLS):
        if turn % 4 == 0:
            calls += ["    s0.zero_()", "    s1.zero_()"]
        if turn == 50:
            calls.append('    config["scale"] = 3.0')
        calls.append(f"    yield ({w.pick(rare if turn >= _USUAL and w.chance(40) else usual)},)")
    world = ["import jitcore.nn.functional as F", "s0 = jitcore.zeros(2)", "s1 = jitcore.zeros(())"]
    world += ["w = jitcore.ones(2, requires_grad=True)", "table = [w, w]", 'names = {"w": w}']
    return "\n".join([PRELUDE.rstrip(), *world, "", "", *w.lines, "", "", *calls]) + "\n" + TAIL
