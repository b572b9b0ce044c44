"""The examples run and do what they say."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_train_and_export_fits_the_curve(tmp_path):
    main = runpy.run_path(str(EXAMPLES / "train_and_export.py"))["main"]
    assert main(tmp_path) < 0.1
    assert (tmp_path / "sine.jca").exists()
