"""Archives of every released format version load forever, and answer as they did."""

from pathlib import Path

import numpy as np
import pytest

from jitcore_runtime import load
from jitcore_serialize.layout import FORMAT_VERSION
from jitcore_serialize.reader import read_archive

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_an_archive_of_every_format_version_answers_as_it_did(version):
    path = GOLDEN / f"format-{version}.jca"
    known = np.load(path.with_suffix(".npz"))
    model = load(path)
    result = model(known["x"])
    assert read_archive(path).format_version == version
    np.testing.assert_allclose(result["flat"], known["flat"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result["others"][0], known["best"])
    assert result["others"][1] == (known["rows"], None)
    np.testing.assert_allclose(model.run("step", known["delta"], True), known["total"], rtol=1e-5)


def test_the_golden_archive_has_every_part():
    archive = read_archive(GOLDEN / f"format-{FORMAT_VERSION}.jca")
    assert list(archive.entries) == ["forward", "step"] and archive.pools
    forward, step = archive.entries.values()
    assert forward.code and forward.device_code and forward.ranges and forward.structure
    assert step.updates and step.guards
    assert {s.kind for s in archive.segments} == {"elements", "image", "module"}
    assert archive.operators["dot"] == 1
