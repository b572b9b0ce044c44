"""Which code a processor runs: levels from its features, and the choice among images."""

import platform

import pytest

from jitcore_runtime import cpu_features
from jitcore_runtime.cpu_features import LEVELS, choose_image, features_of, host_features, host_targets, targets_of
from jitcore_runtime.serial import serial_image

V2, V3, V4 = (frozenset(flags.split()) for _, flags in LEVELS)


@pytest.mark.parametrize(
    "features, targets",
    [
        (frozenset(), ()),
        (V2, ("x86-64-v2",)),
        (V2 | V3, ("x86-64-v3", "x86-64-v2")),
        (V2 | V3 | V4 | {"more"}, ("x86-64-v4", "x86-64-v3", "x86-64-v2")),
        (V3 | V4, ()),
        (V2 | V4, ("x86-64-v2",)),
        (V2 | V3 - {"fma"}, ("x86-64-v2",)),
        (V2 | V3 | V4 - {"avx512vl"}, ("x86-64-v3", "x86-64-v2")),
    ],
)
def test_a_level_needs_all_its_features_and_the_levels_before(features, targets):
    assert targets_of("x86_64", features) == targets


def test_other_processors():
    assert targets_of("aarch64", frozenset()) == ("aarch64",)
    assert targets_of("riscv64", V2 | V3) == ()


def test_features_are_those_that_all_processors_have():
    text = "processor : 0\nflags\t\t: fpu sse avx\n\nprocessor : 1\nflags\t\t: fpu sse\nbugs : avx\n"
    assert features_of(text) == {"fpu", "sse"}
    assert features_of("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert features_of("") == frozenset()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with LLVM's view of an x86-64 processor")
def test_levels_agree_with_llvms_view_of_this_processor():
    import llvmlite.binding as llvm

    seen = llvm.get_host_cpu_features()
    expected = {"x86-64-v2": "sse4.2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}
    assert set(host_targets()) == {target for target, feature in expected.items() if seen.get(feature)}


@pytest.mark.skipif(not host_targets(), reason="jitcore has no native code for this machine")
def test_the_best_image_that_fits_is_chosen(monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(cpu_features, "host_targets", lambda: ("x86-64-v3", "x86-64-v2"))
    v2, v3, v4, arm = (serial_image(name) for name in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"))
    assert choose_image([arm, v2, v4, v3]) is v3
    assert choose_image([v2, v4]) is v2
    assert choose_image([v2, replace(v3, features=("teleport",))]) is v2
    assert choose_image([arm, v4]) is None
    assert choose_image([]) is None
    assert isinstance(host_features(), frozenset)
