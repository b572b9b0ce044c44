"""The training loop, run once eagerly and once under `jitcore.jit`, from the same start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np

import jitcore
from jitcore import nn, optim
from jitcore.nn import functional as F

from .data import Digits
from .model import DigitClassifier

BATCH = 64
SEED = 7


@dataclass(slots=True)
class Training:
    """What one training gave. `losses` has one entry per step, `accuracies` one per epoch (on the test split)."""

    model: DigitClassifier
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)

    @property
    def first_call_ms(self) -> float:
        return self.step_seconds[0] * 1e3

    @property
    def step_ms(self) -> float:
        """Median over the later steps."""
        return median(self.step_seconds[1:]) * 1e3


def train(digits: Digits, epochs: int, compiled: bool, progress: Callable[[], None]) -> Training:
    """Train a fresh classifier for `epochs`; `progress()` is called after each step."""
    jitcore.manual_seed(SEED)
    model = DigitClassifier()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)

    def step(images: jitcore.Tensor, labels: jitcore.Tensor) -> jitcore.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = jitcore.jit(step) if compiled else step
    result = Training(model)
    shuffle = np.random.default_rng(SEED)
    for _ in range(epochs):
        model.train()
        for images, labels in batches(digits, shuffle):
            start = time.perf_counter()
            loss = run(images, labels)
            result.step_seconds.append(time.perf_counter() - start)
            result.losses.append(loss.item())
            progress()
        result.accuracies.append(accuracy(logits(model, digits.test_images), digits.test_labels))
    return result


def steps_per_epoch(digits: Digits) -> int:
    return len(digits.train_labels) // BATCH


def batches(digits: Digits, shuffle: np.random.Generator) -> list[tuple[jitcore.Tensor, jitcore.Tensor]]:
    """Full batches of the training split in a new order."""
    order = shuffle.permutation(len(digits.train_labels))
    picks = [order[i * BATCH : (i + 1) * BATCH] for i in range(steps_per_epoch(digits))]
    return [(jitcore.tensor(digits.train_images[p]), jitcore.tensor(digits.train_labels[p])) for p in picks]


def logits(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The model's eager answers in eval mode, float32 [N, 10]."""
    training = model.training
    model.eval()
    with jitcore.no_grad():
        answers = model(jitcore.tensor(images)).numpy()
    model.train(training)
    return answers


def accuracy(answers: np.ndarray, labels: np.ndarray) -> float:
    return float((answers.argmax(1) == labels).mean())
