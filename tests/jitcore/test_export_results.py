"""What an exported program gives back: the structure that the function returned, with None, and with one tensor, list
or dict in several places, as they were.
"""

import collections

import numpy as np
import pytest

import jitcore
import jitcore_runtime

Pair = collections.namedtuple("Pair", "out state")


def with_none(x):
    return x * 2, None, {"loss": None, "logits": x + 1}


def one_twice(x):
    y = x * 2
    return y, [y, x], y


def one_list_twice(x):
    parts, table = [x + 1, None], {"x": x - 1}
    return parts, (parts, table), {"again": table}


def of_names(x):
    return Pair(x * 2, None)


def equal(given, expected):
    if isinstance(expected, jitcore.Tensor):
        np.testing.assert_array_equal(given, expected.numpy())
    elif isinstance(expected, dict):
        assert type(given) is dict and list(given) == list(expected)
        assert all(equal(given[key], expected[key]) for key in expected)
    elif isinstance(expected, tuple | list):
        assert isinstance(given, list if isinstance(expected, list) else tuple) and len(given) == len(expected)
        assert all(equal(a, b) for a, b in zip(given, expected, strict=True))
    else:
        assert given is None and expected is None
    return True


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("f", [with_none, one_twice, one_list_twice, of_names])
def test_results_have_their_structure(f, native, tmp_path):
    x = jitcore.arange(4.0)
    jitcore.export(f, tmp_path / "f.jca", {"x": x}, targets=None if native else ())
    model = jitcore_runtime.load(tmp_path / "f.jca", native=native)
    assert equal(model(x.numpy()), f(x))


def holds_itself(x):
    parts = [x * 2]
    parts.append(parts)
    return parts


@pytest.mark.parametrize(
    "f, words",
    [
        (lambda x: None, "returns no tensor"),
        (lambda x: (None, [None]), "returns no tensor"),
        (lambda x: (x, 3), "returns 3, which no tensor of this run is"),
        (lambda x: (x, "text"), "returns 'text'"),
        (lambda x: {x}, "returns"),
        (holds_itself, "a list or dict that holds itself"),
    ],
)
def test_results_that_an_archive_cannot_give(f, words, tmp_path):
    path = tmp_path / "f.jca"
    path.write_bytes(b"old")
    with pytest.raises(jitcore.ExportError, match=words):
        jitcore.export(f, path, {"x": jitcore.ones(3)}, targets=())
    assert path.read_bytes() == b"old"
