"""IR text in, loops out: which kernels a graph becomes and what is in them.

A case of `cases/lowering.txt` is `== its name`, the graph, `--`, and the module. Running this file as a script rewrites
what is expected; read what changed before committing it. Input `w` is constant where it is second.
"""

import re
from pathlib import Path

import pytest

from jitcore.compiler.lower.lower import lower_graph
from jitcore_ir import parse_graph, print_graph
from jitcore_ir.verifier import verify

FILE = Path(__file__).parent / "cases" / "lowering.txt"


def cases():
    """(title, graph, module) of each case."""
    for part in re.split(r"^== ", FILE.read_text(), flags=re.M)[1:]:
        title, body = part.split("\n", 1)
        graph, _, module = body.partition("--\n")
        yield title, graph, module.strip() + "\n"


def lowered(text):
    graph = parse_graph(text)
    constants = [n for n, v in enumerate(graph.inputs) if n == 1 and v.name == "w"]
    return lower_graph(graph, constants)


@pytest.mark.parametrize("title", [title for title, _, _ in cases()])
def test_graph_becomes_these_loops(title):
    text, expected = next((g, m) for t, g, m in cases() if t == title)
    module = lowered(text)
    for call in module.kernels:
        verify(call.kernel)
        assert print_graph(parse_graph(print_graph(call.kernel))) == print_graph(call.kernel)
    assert str(module).strip() + "\n" == expected


def test_the_graph_is_left_as_it_was():
    for _, text, _ in cases():
        graph = parse_graph(text)
        before = print_graph(graph)
        lower_graph(graph)
        assert print_graph(graph) == before


if __name__ == "__main__":
    FILE.write_text("\n".join(f"== {t}\n{g}--\n{str(lowered(g)).strip()}\n" for t, g, _ in cases()))
