"""The digits: 1,797 images of 8x8 pixels (see DATA.md for source and licence)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

TEST_IMAGES = 360


@dataclass(frozen=True, slots=True)
class Digits:
    """Images float32 [N, 1, 8, 8] in 0..1 and labels int64 [N], split once and for all by a fixed permutation."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits() -> Digits:
    """Read the file beside this one. Raises ValueError where it is not the 1,797 digits."""
    raw = gzip.decompress((files(__package__) / "digits.csv.gz").read_bytes())
    table = np.loadtxt(raw.decode().splitlines(), delimiter=",")
    if table.shape != (1797, 65):
        raise ValueError(f"digits.csv.gz holds a table of {table.shape}, expected (1797, 65)")
    order = np.random.default_rng(0).permutation(len(table))
    images = (table[order, :64] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = table[order, 64].astype(np.int64)
    return Digits(images[TEST_IMAGES:], labels[TEST_IMAGES:], images[:TEST_IMAGES], labels[:TEST_IMAGES])
