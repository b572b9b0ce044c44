"""The demo's picture: learning curves, and some digits of the test split as they were classified."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .data import Digits
from .train import Training


def draw(path: Path, eager: Training, compiled: Training, digits: Digits, answers: np.ndarray) -> None:
    """Write a PNG. The mistakes come first among the digits shown, in red."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1], squeeze=False)[0]
    axes = left.subplots()
    axes.plot(eager.losses, color="#b0b0b0", linewidth=3, label="eager")
    axes.plot(compiled.losses, color="#1f6fb4", linewidth=1, label="@jitcore.jit")
    axes.set(xlabel="training step", ylabel="cross-entropy", yscale="log", title="Training on 1,437 handwritten digits")
    twin = axes.twinx()
    per_epoch = len(compiled.losses) / len(compiled.accuracies)
    twin.plot(
        [(e + 1) * per_epoch for e in range(len(compiled.accuracies))],
        [100 * a for a in compiled.accuracies],
        "o-", color="#c05020", markersize=3, label="test accuracy",
    )  # fmt: skip
    twin.set(ylabel="test accuracy, %", ylim=(80, 100.5))
    lines = [*axes.get_lines(), *twin.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="lower left")
    guesses = answers.argmax(1)
    wrong = np.flatnonzero(guesses != digits.test_labels)
    shown = np.concatenate([wrong, np.flatnonzero(guesses == digits.test_labels)])[:24]
    right.suptitle("Answers of digits.jca in the fresh process")
    for picture, index in zip(right.subplots(4, 6).flat, shown, strict=True):
        picture.imshow(digits.test_images[index, 0], cmap="gray_r")
        picture.set_axis_off()
        good = guesses[index] == digits.test_labels[index]
        label = f"{guesses[index]}" if good else f"{guesses[index]} (is {digits.test_labels[index]})"
        picture.set_title(label, fontsize=9, color="black" if good else "#c02020")
    figure.savefig(path, dpi=110)
    plt.close(figure)
