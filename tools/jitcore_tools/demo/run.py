"""The demo from start to end."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import jitcore

from .data import Digits, load_digits
from .fresh import answer, build_environment
from .plot import draw
from .train import Training, accuracy, logits, steps_per_epoch, train

WANTED_ACCURACY = 0.97
TOLERANCE = 1e-4
"""Largest difference allowed between logits (of magnitude about 10) of eager and of the loaded archive."""


def run_demo(root: Path, output: Path, epochs: int, console: Console) -> bool:
    """Run everything, writing `digits.jca` and `digits.png` under `output`; whether every check held."""
    started = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    with _progress(console) as progress:
        trainings = []
        for under_jit in (False, True):
            name = "training under @jitcore.jit" if under_jit else "training eagerly"
            task = progress.add_task(name, total=epochs * steps_per_epoch(digits))
            trainings.append(train(digits, epochs, under_jit, lambda task=task: progress.advance(task)))  # type: ignore[misc]
        task = progress.add_task("exporting digits.jca", total=1)
        archive = output / "digits.jca"
        model = trainings[1].model.eval()
        jitcore.export(model, archive, inputs={"images": "float32[N,1,8,8]"})
        progress.advance(task)
        task = progress.add_task("second environment: NumPy, flatbuffers, jitcore-runtime", total=1)
        python = build_environment(root, root / ".venv-runtime")
        progress.advance(task)
        task = progress.add_task("answering in fresh processes", total=2)
        images, found = output / "test_images.npy", {}
        np.save(images, digits.test_images)
        for mode in ("native", "interpreted"):
            answers = output / f"answers_{mode}.npy"
            timings = answer(python, archive, images, answers, mode == "native")
            found[mode] = (timings, np.load(answers))
            progress.advance(task)
    expected = logits(model, digits.test_images)
    eager, compiled = trainings
    draw(output / "digits.png", eager, compiled, digits, found["native"][1])
    checks = _checks(expected, digits, {mode: answers for mode, (_, answers) in found.items()})
    console.print(_table(eager, compiled, archive, found["native"][0], found["interpreted"][0]))
    for text, held in checks:
        console.print(f"[{'green' if held else 'red'}]{'ok    ' if held else 'FAILED'}[/] {text}")
    console.print(f"Wrote {archive} and {output / 'digits.png'} in {time.perf_counter() - started:.0f} s.")
    return all(held for _, held in checks)


def _checks(expected: np.ndarray, digits: Digits, answers: dict[str, np.ndarray]) -> list[tuple[str, bool]]:
    checks = []
    for mode, given in answers.items():
        worst = float(np.abs(given - expected).max())
        same = given.shape == expected.shape and bool((given.argmax(1) == expected.argmax(1)).all())
        text = f"{mode} answers of digits.jca equal eager's on all {len(expected)} test digits"
        text += f" (largest difference {worst:.1e})"
        checks.append((text, same and worst <= TOLERANCE))
    score = accuracy(answers["native"], digits.test_labels)
    checks.append((f"test accuracy {score:.1%} is above {WANTED_ACCURACY:.0%}", score > WANTED_ACCURACY))
    return checks


def _table(eager: Training, compiled: Training, archive: Path, native: dict, interpreted: dict) -> Table:
    table = Table(title="jitcore demo: handwritten digits, float32")
    table.add_column("")
    table.add_column("eager", justify="right")
    table.add_column("@jitcore.jit", justify="right")
    table.add_row("test accuracy", f"{eager.accuracies[-1]:.1%}", f"{compiled.accuracies[-1]:.1%}")
    table.add_row("training step (median)", f"{eager.step_ms:.2f} ms", f"{compiled.step_ms:.2f} ms")
    table.add_row("first call", f"{eager.first_call_ms:.0f} ms", f"{compiled.first_call_ms:.0f} ms")
    table.add_section()
    table.add_row("digits.jca", "", f"{archive.stat().st_size / 1024:.0f} KiB")
    table.add_row("load + first answer, fresh process, native", "", f"{native['load_ms']:.1f} ms")
    table.add_row("the same, interpreted", "", f"{interpreted['load_ms']:.1f} ms")
    table.add_row("imports before that", "", f"{native['import_ms']:.0f} ms")
    return table


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
