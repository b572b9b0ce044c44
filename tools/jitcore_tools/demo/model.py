"""The classifier, written as one would in PyTorch."""

from __future__ import annotations

import jitcore
from jitcore import nn


class DigitClassifier(nn.Module):
    """float32 [N, 1, 8, 8] -> logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classify = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 4 * 4, 96), nn.ReLU(), nn.Dropout(0.25), nn.Linear(96, 10)
        )

    def forward(self, images: jitcore.Tensor) -> jitcore.Tensor:
        return self.classify(self.features(images))
