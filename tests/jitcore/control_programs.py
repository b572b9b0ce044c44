"""Random programs of nested branches and loops, as trees that `run` computes with: a program is a tuple of statements,
each of which adds a vector of 3 to what is known."""

import numpy as np

import jitcore as jc

PLAIN, COND, SCAN, COUNTING, MAP = range(5)


def program(seed, depth=2):
    """A random program."""
    random = np.random.default_rng(seed)
    budget = [5]

    def body(depth):
        return tuple(statement(depth) for _ in range(random.integers(1, 4)))

    def statement(depth):
        a, b = (int(n) for n in random.integers(0, 100, 2))
        if not depth or not budget[0] or random.random() < 0.5:
            return PLAIN, a, b, int(random.integers(7))
        budget[0] -= 1
        kind = (COND, COND, SCAN, COUNTING, MAP)[random.integers(5)]
        return kind, a, b, bool(random.integers(2)), body(depth - 1), body(depth - 1)

    return body(depth)


def run(statements, known, parameter):
    """The last vector of a program that knows the vectors `known` at first; bodies also read `parameter`."""
    for kind, a, b, *rest in statements:
        known = (*known, _KINDS[kind](known[a % len(known)], known[b % len(known)], rest, known, parameter))
    return known[-1]


def _plain(a, b, rest, known, parameter):
    (number,) = rest
    if number == 0:
        return (a * b).sin()
    if number == 1:
        return (a + b).tanh()
    if number == 2:
        return a * b.sum() * 0.5
    if number == 3:
        return (a - b) ** 2 * 0.3
    if number == 4:
        return jc.where(a > b, a * 0.7, b.sigmoid())
    if number == 5:
        return (parameter * a).cos()
    return a.cumsum(0) * 0.4


def _cond(a, b, rest, known, parameter):
    all_known, first, second = rest
    more = known if all_known else (a,)
    return jc.cond(
        a.sum() > b.mean() * 0.5, lambda u: run(first, (u, *more), parameter), lambda u: run(second, (u, b), parameter),
        (b,),
    )  # fmt: skip


def _scan(a, b, rest, known, parameter):
    reverse, first, _ = rest

    def step(carry, element):
        following = run(first, (carry, element * carry, a), parameter)
        return following.tanh(), following * 0.5

    carry, ys = jc.scan(step, a, b, reverse=reverse)
    return carry + ys.sum(0)


def _counting(a, b, rest, known, parameter):
    _, first, _ = rest

    def step(carry, element):
        vector, count = carry
        following = run(first, (vector, element), parameter)
        return (following.tanh(), count + (element.sum() > 0)), following.sum()

    (vector, count), sums = jc.scan(step, (a, jc.tensor(0)), jc.stack([a, b, a * b, b]))
    return vector * count + sums[:3]


def _map(a, b, rest, known, parameter):
    _, first, _ = rest
    return jc.map(lambda element, x: run(first, (element * x, b), parameter).sum(), b, a)


_KINDS = {PLAIN: _plain, COND: _cond, SCAN: _scan, COUNTING: _counting, MAP: _map}
