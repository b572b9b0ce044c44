"""Random programs give the same under jit as eagerly, call by call; a failing one is printed as a program of its own.

`JITCORE_PROGRAMS=20000 pytest tests/programs/test_random_programs.py -k long -s` runs that many; JITCORE_SEED chooses
which.
"""

import importlib
import os
import random
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_check import check_export, differences, minimized, observe
from random_decisions import program as decisions
from random_programs import RandomChoices, program

import jitcore

PROGRAMS = int(os.environ.get("JITCORE_PROGRAMS", "0"))
SEED = int(os.environ.get("JITCORE_SEED", "1"))
options = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


class Drawn:
    """Choices that Hypothesis makes."""

    def __init__(self, data):
        self._data = data

    def number(self, low, high):
        return self._data.draw(st.integers(low, high))


def wrong(source, native):
    return differences(observe(source, lambda f: f), observe(source, lambda f: jitcore.jit(f, native=native)))


def is_decided_by_rounding(source, native):
    """Whether what differs is what compiled code rounds otherwise: `argmax` of numbers that are equal but for rounding.
    Then interpreted code, and compiled code that is exact, give what eager execution gives."""
    eager = observe(source, lambda f: f)
    others = [{"native": False}, {"exact": True}]
    return native and not any(
        differences(eager, observe(source, lambda f, how=how: jitcore.jit(f, **how))) for how in others
    )


def check(source, native):
    found = wrong(source, native)
    if found and not is_decided_by_rounding(source, native):
        smaller = minimized(source, lambda text: bool(wrong(text, native)))
        pytest.fail("\n".join([*found, "", smaller, *wrong(smaller, native)]), pytrace=False)


@settings(options, max_examples=450)
@given(st.data())
def test_interpreted_programs_equal_eager(data):
    check(program(Drawn(data)), native=False)


@settings(options, max_examples=50)
@given(st.data())
def test_native_programs_equal_eager(data):
    check(program(Drawn(data)), native=True)


@settings(options, max_examples=40)
@given(st.data())
def test_programs_that_decide_equal_eager(data):
    check(decisions(Drawn(data)), native=False)


@settings(options, max_examples=60)
@given(st.data(), st.integers(0, 9).map(lambda n: n == 9))
def test_exported_programs_equal_eager(data, native):
    check_export(program(Drawn(data), pure=True), native)


def test_pure_programs_can_be_exported_and_most_calls_are_replayed():
    """That the two tests above test something."""
    exported = [check_export(program(RandomChoices(seed), pure=True), False) for seed in range(30)]
    assert exported.count("equal") >= 10, exported
    functions = []
    for seed in range(30):
        source = program(RandomChoices(seed))
        observe(source, lambda f: functions.append(jitcore.jit(f, native=False)) or functions[-1])
    replayed = sum(v.hits for f in functions for e in f._recordings.entries.values() for v in e.variants)
    assert replayed > 60


def test_trees_of_programs_that_decide_are_made_one_program(monkeypatch):
    """That the test of them tests something."""
    module = importlib.import_module("jitcore.trace.merge")
    made, merge = [], module.merge
    monkeypatch.setattr(module, "merge", lambda *given: made.append(merge(*given)) or made[-1])
    for seed in range(100, 124):
        observe(decisions(RandomChoices(seed)), lambda f: jitcore.jit(f, native=False))
    assert sum(program is not None for program in made) >= 3


@pytest.mark.skipif(not PROGRAMS, reason="set JITCORE_PROGRAMS to a number of programs")
@pytest.mark.slow
def test_long_run():
    failed = 0
    for number in range(SEED * 10**6, SEED * 10**6 + PROGRAMS):
        native = random.Random(number).random() < 0.1
        source = (decisions if number % 20 == 3 else program)(RandomChoices(number))
        try:
            found = wrong(source, native)
            if number % 7 == 0:
                check_export(program(RandomChoices(number), pure=True), native)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        if found:
            by_rounding = is_decided_by_rounding(source, native)
            failed += not by_rounding
            words = "is decided by rounding" if by_rounding else "native" if native else "interpreted"
            print(f"program {number} {words}: {found[0]}", file=sys.stderr)
        if (number + 1) % 1000 == 0:
            print(f"{(number + 1) % 10**6} programs, {failed} wrong", file=sys.stderr)
    assert not failed, f"{failed} of {PROGRAMS} programs"
