"""PyTorch's operator database run against us: how many operators agree, and that none is wrong."""

import json

import pytest
from click.testing import CliRunner

from jitcore_tools.main import main

PASSING = 605
"""float32 operators whose values and gradients agree; may only rise."""

READS_VALUES = {
    "allclose", "argwhere", "broadcast_shapes", "equal", "histogram", "histogramdd", "masked_select", "narrow",
    "nonzero", "tensor_split", "unique", "unique_consecutive", "item", "linalg_lstsq", "linalg_lstsq_grad_oriented",
    "nn_functional_batch_norm", "nn_functional_instance_norm",
}  # fmt: skip
"""An archive refuses them, by saying so: the result's size or Python's path depends on values, or they write state."""


def verdicts(path, *options):
    result = CliRunner().invoke(main, ["operators", "-n", "2", "--json", str(path), *options])
    assert path.exists(), result.output
    found = json.loads(path.read_text())
    by_status = {}
    for name, row in found.items():
        by_status.setdefault(row["status"], {})[name.split()[0]] = row["detail"]
    return by_status


@pytest.mark.slow
def test_no_operator_is_wrong_and_most_agree(tmp_path):
    found = verdicts(tmp_path / "found.json")
    assert not found.get("wrong"), found["wrong"]
    assert len(found["pass"]) >= PASSING, found.get("error")


@pytest.mark.slow
def test_compiled_and_exported_agree_too(tmp_path):
    found = verdicts(tmp_path / "found.json", "--no-methods", "--jit", "--export", "--samples", "1")
    assert not found.get("wrong"), found["wrong"]
    assert set(found.get("refused", ())) <= READS_VALUES, found["refused"]
    assert len(found["pass"]) + len(found.get("refused", ())) >= PASSING, found.get("error")


def test_an_unknown_name_is_an_error():
    result = CliRunner().invoke(main, ["operators", "--match", "no such operator"])
    assert result.exit_code == 2 and "no operator of PyTorch's database matches" in result.output


def test_a_wrong_answer_is_called_wrong(tmp_path, monkeypatch):
    """The command can fail: an operator made wrong in the worker processes is reported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import jitcore\nright = jitcore.sin\njitcore.sin = lambda x, **k: right(x, **k) + 1e-3\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    found = verdicts(tmp_path / "found.json", "--match", "^(sin|cos)$")
    assert set(found["wrong"]) == {"sin"} and set(found["pass"]) == {"cos"}
