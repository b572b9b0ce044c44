"""IR text in, pass, IR text out. One file of cases per pass; `--update` rewrites what is expected.

A case is `== its name`, the graph before, `--`, and the graph after (or `unchanged`).
"""

import re
from pathlib import Path

import pytest

import jitcore.compiler.loops.ops  # noqa: F401  (some cases have loops)
from jitcore_ir import parse_graph, print_graph
from jitcore_ir.passes import (
    ConstantFold,
    PassManager,
    algebra,
    canonicalize,
    casts,
    drop_unused,
    merge_equal,
    regions,
    standard_passes,
    views,
)
from jitcore_ir.verifier import verify
from jitcore_runtime.kernels import KERNELS

FOLDER = Path(__file__).parent / "cases"
PASSES = {
    "algebra": algebra,
    "canonicalize": canonicalize,
    "casts": casts,
    "drop_unused": drop_unused,
    "fold": ConstantFold(KERNELS, result_bytes=64, operand_bytes=256),
    "merge_equal": merge_equal,
    "regions": regions,
    "standard": PassManager(standard_passes(KERNELS), verify=True),
    "views": views,
}


def cases_of(name):
    """(title, before, after) of each case in a file."""
    text = (FOLDER / f"{name}.txt").read_text()
    for part in re.split(r"^== ", text, flags=re.M)[1:]:
        title, body = part.split("\n", 1)
        before, _, after = body.partition("\n--\n")
        yield title, before.strip() + "\n", after.strip() + "\n"


ALL_CASES = [(name, title) for name in PASSES for title, _, _ in cases_of(name)]


@pytest.mark.parametrize("name, title", ALL_CASES)
def test_pass_gives_the_expected_text(name, title, update):
    before, expected = next((b, a) for t, b, a in cases_of(name) if t == title)
    graph = parse_graph(before)
    verify(graph)
    changed = PASSES[name](graph)
    verify(graph)
    after = print_graph(graph) if changed else "unchanged\n"
    assert after != print_graph(parse_graph(before)), "a pass that changed nothing must say so"
    if update:
        write(name, title, after)
    else:
        assert after == expected


@pytest.mark.parametrize("name", PASSES)
def test_a_second_run_changes_nothing(name):
    for title, before, _ in cases_of(name):
        graph = parse_graph(before)
        PASSES[name](graph)
        assert not PASSES[name](graph), title


def test_titles_are_unique():
    assert len(set(ALL_CASES)) == len(ALL_CASES)
    assert {path.stem for path in FOLDER.iterdir()} == set(PASSES)


def write(name, title, after):
    """Put `after` in the place of what the case expects."""
    parts = [f"== {t}\n{b}--\n{after if t == title else a}" for t, b, a in cases_of(name)]
    (FOLDER / f"{name}.txt").write_text("\n".join(parts))
