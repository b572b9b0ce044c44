"""What a jitted function prints, logs and writes, and profilers that look on."""

import cProfile
import logging
import math
import os
import subprocess
import warnings

import pytest
from recorded import recordings, vector

import jitcore


def test_printing_happens_in_every_call_with_the_values_of_that_call(capsys):
    def f(x, rate):
        loss = (x * rate).sum()
        print("loss", loss.item(), "rate", rate)
        print(f"step: loss {loss.item():.3f} at {rate:g}, half {loss.item() / 2:8.2f}", end="!\n")
        print("{:.1f} of {}".format(loss.item(), [1, loss.item()]), x * 2, None)  # noqa: UP032
        print("done")
        return x * 2

    jitted = jitcore.jit(f)
    for v, rate in ((1, 0.5), (2, 0.25), (3, 8.0), (0, 1.0)):
        f(vector(v, 1), rate)
        expected = capsys.readouterr().out
        jitted(vector(v, 1), rate)
        assert capsys.readouterr().out == expected
    assert recordings(jitted) == 1 and jitted._eager_calls == 0


def test_text_that_is_more_than_printed_is_never_stale(capsys):
    def f(x):
        text = f"{x.sum().item():.1f}"
        print(text)
        return x, text

    def ambiguous(x):
        print(f"1.0 or {x.sum().item()}")
        return x * 2

    for function, most in ((f, 3), (ambiguous, 2)):
        jitted = jitcore.jit(function)
        for v in (1, 2, 1, 3):
            expected = function(vector(v))
            printed = capsys.readouterr().out
            given = jitted(vector(v))
            assert capsys.readouterr().out == printed
            assert given[1] == expected[1] if function is f else True
        assert recordings(jitted) == most


def test_printing_does_not_reach_other_threads_or_stay_replaced(capsys):
    before = print
    jitted = jitcore.jit(lambda x: x + 1)
    jitted(vector(1))
    assert print is before


def test_what_is_logged_or_written_is_not_lost(caplog, tmp_path):
    logger = logging.getLogger("test_jit_effects")

    def logs(x):
        logger.warning("sum %.1f", x.sum().item())
        logger.debug("not shown")
        return x * 2

    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("ignore", jitcore.JitWarning)
        jitted = jitcore.jit(logs)
        for v in (1, 2, 3):
            jitted(vector(v))
    assert [record.getMessage() for record in caplog.records] == ["sum 1.0", "sum 2.0", "sum 3.0"]

    with open(tmp_path / "log", "w") as file:

        def writes(x):
            file.write(f"{x.sum().item()}\n")
            return x * 2

        with pytest.warns(jitcore.JitWarning, match="to a file"):
            jitted = jitcore.jit(writes)
            for v in (1, 2, 3):
                jitted(vector(v))
    assert (tmp_path / "log").read_text() == "1.0\n2.0\n3.0\n"


def test_a_profiler_goes_on_after_a_recording():
    profile = cProfile.Profile()
    jitted = jitcore.jit(lambda x: x * 2)
    profile.enable()
    try:
        jitted(vector(1))
        math.factorial(3)
    finally:
        profile.disable()
    assert any("factorial" in str(entry.code) for entry in profile.getstats())


@pytest.mark.parametrize("filter", ["always", "default", "ignore", "error"])
def test_warnings_are_given_in_each_call(filter):
    def seen(wrap, name):
        def helper(x):
            warnings.warn(f"{name}: {x.shape[0]} rows", RuntimeWarning, stacklevel=2)
            if x.shape[0] == 3:
                warnings.warn(DeprecationWarning(f"{name}: three"))  # noqa: B028
            return x * 2

        f = wrap(lambda x: helper(x) + 1)
        found = []
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter(filter)
            for rows in (2, 2, 3, 3, 2, 3):
                try:
                    found.append(f(jitcore.ones(rows)).tolist())
                except Warning as warning:
                    found.append(repr(warning))
        mine = [w for w in given if name in str(w.message)]
        return found, [(str(w.message), w.category, w.filename, w.lineno) for w in mine]

    eager, jitted = seen(lambda f: f, "same"), seen(jitcore.jit, "same.")
    assert repr(jitted).replace("same.", "same") == repr(eager)


@pytest.mark.parametrize(
    "act", [lambda place: os.mkdir(place), lambda place: os.system(f"mkdir {place}"),
            lambda place: subprocess.run(["mkdir", place], check=True), lambda place: place.mkdir()],
    ids=["os.mkdir", "os.system", "subprocess", "pathlib"],
)  # fmt: skip
def test_what_changes_the_world_outside_is_done_in_each_call(act, tmp_path):
    def f(x):
        act(tmp_path / "made")
        return x * 2

    jitted = jitcore.jit(f)
    with pytest.warns(jitcore.JitWarning, match="outside the program"):
        for _ in range(4):
            jitted(vector(1))
            (tmp_path / "made").rmdir()


def test_environment_variables_are_set_in_each_call(monkeypatch):
    def f(x):
        os.environ["JITCORE_TEST_VARIABLE"] = "1"
        return x * 2

    monkeypatch.setenv("JITCORE_TEST_VARIABLE", "0")
    jitted = jitcore.jit(f)
    with pytest.warns(jitcore.JitWarning):
        for _ in range(4):
            jitted(vector(1))
            assert os.environ["JITCORE_TEST_VARIABLE"] == "1"
            os.environ["JITCORE_TEST_VARIABLE"] = "0"
