"""A siamese net: shared trunk, contrastive and triplet losses with hard mining, weight norm, cosine embeddings."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(2, 8, 5, padding="same"), nn.PReLU(), nn.MaxPool1d(2, stride=2), nn.Conv1d(8, 12, 3), nn.PReLU(8 + 4)
        )
        self.fc = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), weight_norm(nn.Linear(16, 6)))

    def forward(self, x):
        return F.normalize(self.fc(self.conv(x)), p=2, dim=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.trunk(torch.zeros(1, 2, 16))

    def forward(self, *inputs):
        return tuple(self.trunk(x) for x in inputs)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=0.5):
        super().__init__()
        self.margin = margin

    def forward(self, a, b, target):
        distances = F.pairwise_distance(a, b)
        losses = target * distances.pow(2) + (1 - target) * F.relu(self.margin - (distances + 1e-9)).pow(2)
        return losses.mean()


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    kind = torch.get_default_dtype()
    data = torch.tensor(random.normal(size=(12, 2, 16)), dtype=kind)
    labels = torch.tensor(random.integers(0, 3, 12))
    (loaded,) = DataLoader(TensorDataset(data, labels), batch_size=12)
    return tuple(loaded)


def optimizer(model):
    return torch.optim.Adamax(
        [{"params": model.trunk.conv.parameters()}, {"params": model.trunk.fc.parameters(), "lr": 5e-3}], lr=2e-3
    )


def step(model, opt, x, labels):
    a, b = model(x, x.roll(1, 0))
    same = (labels == labels.roll(1, 0)).to(a.dtype)
    loss = ContrastiveLoss()(a, b, same)
    distance = torch.cdist(a, a)
    equal = labels[:, None] == labels[None, :]
    hardest_positive = (distance * equal).max(dim=1).values
    hardest_negative = distance.masked_fill(equal, float("inf")).min(dim=1).values
    valid = torch.isfinite(hardest_negative)
    loss = loss + F.relu(hardest_positive[valid] - hardest_negative[valid] + 0.2).mean()
    loss = loss + nn.TripletMarginLoss(margin=0.3)(a, b, a.roll(2, 0)) + nn.CosineEmbeddingLoss(0.1)(a, b, same * 2 - 1)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def evaluate(model):
    a, b = model(*(batch(k)[0] for k in (100, 101)))
    return a, F.cosine_similarity(a, b)
