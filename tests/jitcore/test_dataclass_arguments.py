"""Objects of dataclasses as arguments: what they hold is part of the call, as with lists and dicts; what else is read
of them is watched."""

import dataclasses
import gc
import weakref
from dataclasses import dataclass, field

import pytest

import jitcore


@dataclass
class Batch:
    x: jitcore.Tensor
    mask: jitcore.Tensor | None = None
    scale: float = 1.0
    tags: list = field(default_factory=list)
    factor = 2.0

    def scaled(self):
        return self.x * self.scale * self.factor

    @property
    def size(self):
        return self.x.shape[0]


@dataclass(frozen=True)
class Frozen:
    x: jitcore.Tensor


@dataclass(slots=True)
class Slotted:
    x: jitcore.Tensor


@dataclass
class Nested:
    first: Batch
    others: list
    named: dict


def vector(seed):
    return jitcore.arange(4.0) + seed


def of_nested(n):
    return n.first.scaled() + sum(b.x for b in n.others) * n.named["k"].x


PROGRAMS = {
    "method": (lambda b: b.scaled(), lambda s: Batch(vector(s))),
    "property": (lambda b: b.x * b.size, lambda s: Batch(vector(s))),
    "absent": (lambda b: b.x if b.mask is None else b.x * b.mask, lambda s: Batch(vector(s))),
    "present": (lambda b: b.x if b.mask is None else b.x * b.mask, lambda s: Batch(vector(s), vector(s + 1) > 2)),
    "list inside": (lambda b: sum(b.tags) + b.x, lambda s: Batch(vector(s), tags=[vector(s), vector(2)])),
    "frozen": (lambda b: b.x * 2, lambda s: Frozen(vector(s))),
    "slots": (lambda b: b.x * 2, lambda s: Slotted(vector(s))),
    "nested": (
        of_nested,
        lambda s: Nested(Batch(vector(s)), [Batch(vector(1)), Frozen(vector(s))], {"k": Slotted(vector(s))}),
    ),
    "in a list": (lambda bs: bs[0].x + bs[1].x, lambda s: [Batch(vector(s)), Batch(vector(s + 2))]),
    "written": (lambda b: b.x.add_(1.0) * 2, lambda s: Batch(vector(s))),
    "looked for": (lambda b: b.x if hasattr(b, "mask") and not hasattr(b, "no") else b, lambda s: Batch(vector(s))),
    "by name": (lambda b: getattr(b, "".join(["x"])) * b.scale, lambda s: Batch(vector(s))),
    "slot by name": (lambda b: getattr(b, "".join(["x"])) * 2, lambda s: Slotted(vector(s))),
    "all": (lambda b: vars(b)["x"] * len(vars(b)), lambda s: Batch(vector(s))),
    "replaced": (lambda b: dataclasses.replace(b, scale=2.0).scaled(), lambda s: Batch(vector(s))),
    "as a dict": (lambda b: sum(getattr(b, f.name) for f in dataclasses.fields(b)), lambda s: Frozen(vector(s))),
    "given back": (lambda b: Batch(b.x * 2, b.mask).x, lambda s: Batch(vector(s))),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_call_has_objects_of_its_own(name):
    function, make = PROGRAMS[name]
    jitted = jitcore.jit(function)
    for seed in range(5):
        assert jitcore.equal(jitted(make(seed)), function(make(seed)))
    assert len(jitted._recordings.variants()) == 1 and not jitted._eager_calls


def test_other_contents_are_seen():
    function = PROGRAMS["present"][0]
    jitted = jitcore.jit(function)
    batch = Batch(vector(1))
    for change in (lambda: None, lambda: setattr(batch, "x", vector(3)), lambda: setattr(batch, "mask", vector(0) > 1)):
        change()
        for _ in range(3):
            assert jitcore.equal(jitted(batch), function(batch))
    jitted = jitcore.jit(lambda b: b.scaled())
    for scale in (1.0, 2.0, 2.0, 3.0, 0.0):
        assert jitcore.equal(jitted(Batch(vector(1), scale=scale)), Batch(vector(1), scale=scale).scaled())


def test_what_the_class_holds_is_watched():
    jitted = jitcore.jit(lambda b: b.scaled())
    for _ in range(3):
        jitted(Batch(vector(1)))
    Batch.factor = 5.0
    try:
        assert jitcore.equal(jitted(Batch(vector(1))), vector(1) * 5)
    finally:
        Batch.factor = 2.0
    assert jitcore.equal(jitted(Batch(vector(1))), vector(1) * 2)


def test_an_object_that_is_held_elsewhere_too():
    held = Batch(vector(1))
    jitted = jitcore.jit(lambda b: b.x + held.x)
    for batch in (held, held, Batch(vector(2)), Batch(vector(3)), held):
        assert jitcore.equal(jitted(batch), batch.x + held.x)
    held.x = vector(7)
    for batch in (Batch(vector(3)), held):
        assert jitcore.equal(jitted(batch), batch.x + held.x)


def test_an_attribute_that_is_set_stays_eager():
    def function(b):
        b.x = b.x * 2
        return b.x + 1

    jitted = jitcore.jit(function)
    with pytest.warns(jitcore.JitWarning, match="changed by the function"):
        for seed in range(5):
            ours, theirs = Batch(vector(seed)), Batch(vector(seed))
            assert jitcore.equal(jitted(ours), function(theirs)) and jitcore.equal(ours.x, theirs.x)


@pytest.mark.parametrize("make", [Batch, lambda x: [Batch(x)], lambda x: Nested(Batch(x), [x], {"k": Frozen(x + 1)})])
def test_no_call_keeps_its_objects_alive(make):
    def function(given):
        while not isinstance(given, Batch):
            given = given.first if isinstance(given, Nested) else given[0]
        return given.x * 2 if hasattr(given, "x") and not hasattr(given, "nothing") else given.scaled()

    jitted = jitcore.jit(function)
    kept = []
    for seed in range(4):
        x = vector(seed)
        kept.append(weakref.ref(x))
        assert jitcore.equal(jitted(make(x)), x * 2)
        del x
    gc.collect()
    assert [reference() for reference in kept] == [None] * 4 and not jitted._eager_calls


def test_an_attribute_that_only_some_objects_have():
    def function(b):
        return b.x * getattr(b, "extra", 1.0)

    jitted = jitcore.jit(function)
    for extra in (None, None, 3.0, 3.0, None, 4.0):
        batch = Batch(vector(1))
        if extra is not None:
            batch.extra = extra
        assert jitcore.equal(jitted(batch), function(batch))


def test_numbers_inside_are_named_as_the_cause():
    jitted = jitcore.jit(lambda b: b.scaled())
    with pytest.warns(jitcore.JitWarning, match="argument 2, a number inside a list, dict or object, was 3.0"):
        for scale in (1.0, 2.0, 3.0, 4.0, 5.0):
            jitted(Batch(vector(1), scale=scale))
