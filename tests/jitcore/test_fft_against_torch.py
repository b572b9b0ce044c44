"""`jitcore.fft`, stft and istft, windows and einsum's forms against PyTorch."""

import itertools

import numpy as np
import pytest
import torch
from torch_compare import assert_same, check

import jitcore
import jitcore_runtime


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def complexes(*shape, seed=0):
    return numbers(*shape, seed=seed) + 1j * numbers(*shape, seed=seed + 100)


NORMS = ("backward", "ortho", "forward")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn")


def real_part(lib, x):
    return lib.view_as_real(x.resolve_conj()) if x.is_complex() else x


@pytest.mark.parametrize("name", ONE)
def test_one_dimension(name):
    for n, norm in itertools.product((None, 4, 7, 9), NORMS):
        check(lambda lib, x, n=n, norm=norm: real_part(lib, getattr(lib.fft, name)(x, n, 0, norm)), numbers(6, 2))


@pytest.mark.parametrize("name", [n for n in ONE if n not in ("rfft", "ihfft")])
def test_one_dimension_of_complex_numbers(name):
    check(lambda lib, x, y: real_part(lib, getattr(lib.fft, name)(lib.complex(x, y), 9)), numbers(2, 6), numbers(2, 6))


@pytest.mark.parametrize("name", SEVERAL)
def test_several_dimensions(name):
    for s, dim in ((None, None), ((3, 8), None), ((3, -1), (0, 2)), (None, (2, 0)), ((2,), (-2,))):
        check(lambda lib, x, s=s, dim=dim: real_part(lib, getattr(lib.fft, name)(x, s, dim, "ortho")), numbers(4, 3, 5))
    plane = name.replace("n", "2")
    check(lambda lib, x: real_part(lib, getattr(lib.fft, plane)(x)), numbers(2, 4, 6))


def test_dtypes_and_empty_batches():
    for dtype in ("float32", "int64", "bool", "complex64"):
        x = np.arange(5) % 2 == 1
        ours, theirs = (lib.fft.fft(lib.tensor(x).to(getattr(lib, dtype))) for lib in (jitcore, torch))
        assert_same(ours, theirs, dtype)
    assert tuple(jitcore.fft.rfft(jitcore.ones(0, 6)).shape) == (0, 4)
    assert jitcore.fft.irfft(jitcore.ones(0, 4, dtype=jitcore.complex64)).dtype is jitcore.float32


def test_frequencies_and_shifts():
    x = np.arange(15.0).reshape(3, 5)
    for call in (
        lambda lib: lib.fft.fftfreq(5, 0.3),
        lambda lib: lib.fft.fftfreq(6, dtype=lib.float64),
        lambda lib: lib.fft.rfftfreq(7, 2.0),
        lambda lib: lib.fft.fftshift(lib.tensor(x)),
        lambda lib: lib.fft.ifftshift(lib.tensor(x)),
        lambda lib: lib.fft.fftshift(lib.tensor(x), dim=1),
    ):
        assert_same(call(jitcore), call(torch))


REFUSED = {
    "nothing": lambda lib: lib.fft.fft(lib.ones(0)),
    "no points": lambda lib: lib.fft.fft(lib.ones(3), 0),
    "norm": lambda lib: lib.fft.fft(lib.ones(3), norm="x"),
    "scalar": lambda lib: lib.fft.fft(lib.tensor(1.0)),
    "complex": lambda lib: lib.fft.rfft(lib.ones(3, dtype=lib.complex64)),
    "one point": lambda lib: lib.fft.irfft(lib.ones(1, dtype=lib.complex64)),
    "twice": lambda lib: lib.fft.fftn(lib.ones(3, 3), dim=(0, 0)),
    "dim": lambda lib: lib.fft.fft(lib.ones(3), dim=1),
    "half": lambda lib: lib.fft.fft(lib.ones(3, dtype=lib.float16)),
    "lengths": lambda lib: lib.fft.fftn(lib.ones(3, 3), s=(3, 3), dim=(0,)),
    "return_complex": lambda lib: lib.stft(lib.ones(20), 8),
    "short": lambda lib: lib.stft(lib.ones(5), 80, center=False, return_complex=True),
    "window": lambda lib: lib.stft(lib.ones(20), 8, window=lib.ones(5), return_complex=True),
    "uncovered": lambda lib: lib.istft(
        lib.ones(5, 4, dtype=lib.complex64), 8, hop_length=8, win_length=4, center=False, window=lib.ones(4)
    ),
    "integers": lambda lib: lib.hann_window(5, dtype=lib.int64),
    "negative": lambda lib: lib.hann_window(-5),
    "tau": lambda lib: lib.signal.windows.exponential(5, tau=-1.0),
    "operands": lambda lib: lib.einsum("ij,jk", lib.ones(2, 2)),
    "output twice": lambda lib: lib.einsum("ij->ii", lib.ones(2, 2)),
    "sizes": lambda lib: lib.einsum("ij,jk", lib.ones(2, 2), lib.ones(3, 2)),
    "unknown label": lambda lib: lib.einsum("ij->ik", lib.ones(2, 2)),
    "no operand": lambda lib: lib.einsum("ij"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    with pytest.raises((RuntimeError, ValueError, IndexError)) as theirs:
        REFUSED[name](torch)
    with pytest.raises(type(theirs.value)):
        REFUSED[name](jitcore)


STFT = {
    "plain": {"return_complex": True},
    "parts": {"return_complex": False},
    "hop": {"hop_length": 3, "return_complex": True},
    "window": {"win_length": 6, "return_complex": True, "normalized": True},
    "whole": {"onesided": False, "return_complex": True, "center": False},
    "constant": {"pad_mode": "constant", "return_complex": True},
}


@pytest.mark.parametrize("name", STFT)
def test_stft(name):
    options = STFT[name]

    def spectrum(lib, x, w):
        window = w if options.get("win_length", 8) == 8 else w[:6]
        return real_part(lib, lib.stft(x, 8, window=window, **options))

    check(spectrum, numbers(2, 30), numbers(8))


def test_istft_returns_the_signal():
    def there_and_back(lib, x, w):
        spectrum = lib.stft(x, 8, hop_length=2, window=w * w + 0.5, return_complex=True)
        return lib.istft(spectrum, 8, hop_length=2, window=w * w + 0.5, length=30), lib.istft(spectrum, 8, 2, 8)

    check(there_and_back, numbers(2, 30), numbers(8))
    x = jitcore.tensor(numbers(30))
    window = jitcore.hann_window(8, dtype=jitcore.float64)
    back = jitcore.istft(x.stft(8, 2, window=window, return_complex=True), 8, 2, window=window, length=30)
    np.testing.assert_allclose(back.numpy(), x.numpy(), atol=1e-12)


def test_windows():
    names = ("bartlett", "blackman", "cosine", "exponential", "gaussian", "hamming", "hann", "kaiser", "nuttall")
    for name, length, sym in itertools.product(names, (0, 1, 2, 7, 8), (True, False)):
        ours, theirs = (
            getattr(lib.signal.windows, name)(length, sym=sym, dtype=lib.float64) for lib in (jitcore, torch)
        )
        assert_same(ours, theirs, f"{name} {length} {sym}")
    for name, length in itertools.product(("bartlett", "blackman", "hamming", "hann", "kaiser"), (0, 1, 5, 6)):
        for options in ({}, {"periodic": False, "dtype": "float64"}):
            ours, theirs = (
                getattr(lib, f"{name}_window")(
                    length, **{k: getattr(lib, v) if k == "dtype" else v for k, v in options.items()}
                )
                for lib in (jitcore, torch)
            )
            assert_same(ours, theirs, f"{name}_window {length} {options}")


EINSUM = {
    "chain": (lambda lib, x, y, z: lib.einsum("ij,jk,kl->il", x, y, z), numbers(3, 4), numbers(4, 5), numbers(5, 2)),
    "ellipsis": (lambda lib, x, y: lib.einsum("...i,...j->...ij", x, y), numbers(2, 1, 3), numbers(4, 5)),
    "three with ellipsis": (
        lambda lib, x, y, z: lib.einsum("b...i,ij,j->b...", x, y, z), numbers(2, 4, 3), numbers(3, 5), numbers(5)
    ),
    "diagonal": (lambda lib, x, y: lib.einsum("ii,ij->j", x, y), numbers(3, 3), numbers(3, 2)),
    "one shared by all": (lambda lib, x, y, z: lib.einsum("i,i,i", x, y, z), numbers(4), numbers(4), numbers(4)),
    "outer": (lambda lib, x, y, z: lib.einsum("ab,cd,ef->ace", x, y, z), numbers(2, 3), numbers(1, 4), numbers(3, 2)),
    "sublists": (
        lambda lib, x, y: lib.einsum(x, [0, 1, 2], y, [0, 2, 30], [30, 1]), numbers(2, 3, 4), numbers(2, 4, 2),
    ),
    "sublists with ...": (
        lambda lib, x, y: lib.einsum(x, [..., 1, 2], y, [..., 2, 3]), numbers(2, 3, 4), numbers(4, 5),
    ),
    "a list": (lambda lib, x, y: lib.einsum("ij,jk", [x, y]), numbers(2, 3), numbers(3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", EINSUM)
def test_einsum(name):
    function, *arrays = EINSUM[name]
    check(function, *arrays)


def test_einsum_contracts_in_the_cheap_order():
    """From left to right the first product alone would hold 10**10 elements."""
    wide, column = jitcore.ones(1, 100_000), jitcore.ones(100_000, 1)
    assert jitcore.einsum("ij,jk,kl,lm->im", wide, column, wide, column).item() == 1e10


def program(x, w):
    spectrum = jitcore.fft.rfft(x * 2)
    filtered = spectrum * jitcore.complex(w, w * 0)
    power = jitcore.stft(x, 4, window=jitcore.hann_window(4), return_complex=True).abs()
    return jitcore.fft.irfft(filtered, 8) + 1, power, jitcore.fft.fft2(x).real


def test_jit_and_archives(tmp_path):
    compiled, path = jitcore.jit(program), tmp_path / "m.jca"
    jitcore.export(program, path, {"x": "float32[N,8]", "w": "float32[5]"})
    models = [jitcore_runtime.load(path, native=native) for native in (True, False)]
    for n in (3, 3, 3, 7):
        x, w = numbers(n, 8, seed=n).astype(np.float32), numbers(5).astype(np.float32)
        eager = [t.numpy() for t in program(jitcore.tensor(x), jitcore.tensor(w))]
        runs = [[t.numpy() for t in compiled(jitcore.tensor(x), jitcore.tensor(w))]]
        runs += [model(x=x, w=w) for model in models]
        for found, expected in ((f, e) for run in runs for f, e in zip(run, eager)):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
