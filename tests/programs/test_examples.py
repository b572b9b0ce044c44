"""The examples run and do what they say."""

import re
import runpy
from pathlib import Path

import pytest

import jitcore

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGES = ["control_flow.md", "debugging.md", "dynamic_shapes.md"]
"""Pages of docs/ whose Python blocks are whole programs."""


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jitcore.manual_seed(0)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"block{number}.py"  # functions know their lines, as those of a user's file do
        path.write_text(block)
        runpy.run_path(str(path))


def test_train_and_export_fits_the_curve(tmp_path):
    main = runpy.run_path(str(EXAMPLES / "train_and_export.py"))["main"]
    assert main(tmp_path) < 0.1
    assert (tmp_path / "sine.jca").exists()


def code_blocks(page):
    """The Python of a page of docs, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("page", ["custom_ops.md", "jit.md"])
def test_the_code_of_a_page_prints_what_its_comments_say(page, capsys):
    text = code_blocks(page)
    exec(compile(text, page, "exec"), {"__name__": page})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE)
    assert expected and capsys.readouterr().out.splitlines() == expected
