"""A MobileNet: depthwise and pointwise convolutions, squeeze and excitation, hard swish, exponential averages."""

from functools import partial
from typing import Callable, Optional

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeeze: int, scale: Callable[..., nn.Module] = nn.Hardsigmoid):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)
        self.scale_activation = scale()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale_activation(self.fc2(F.relu(self.fc1(self.avgpool(x)))))


class ConvNormAct(nn.Sequential):
    def __init__(self, inp, out, kernel, stride=1, groups=1, act: Optional[Callable[..., nn.Module]] = nn.Hardswish):
        layers = [
            nn.Conv2d(inp, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out, eps=0.001, momentum=0.01),
        ]
        if act is not None:
            layers.append(act(inplace=True))
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    def __init__(self, inp, hidden, out, kernel, stride, se=True, act=nn.Hardswish):
        super().__init__()
        self.use_res_connect = stride == 1 and inp == out
        layers: list[nn.Module] = [ConvNormAct(inp, hidden, 1, act=act)]
        layers.append(ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, act=act))
        if se:
            layers.append(SqueezeExcitation(hidden, hidden // 4, partial(nn.Hardsigmoid, inplace=True)))
        layers.append(ConvNormAct(hidden, out, 1, act=None))
        self.block = nn.Sequential(*layers)

    def forward(self, x):
        result = self.block(x)
        if self.use_res_connect:
            result += x
        return result


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            ConvNormAct(3, 8, 3, 2),
            InvertedResidual(8, 16, 8, 3, 1, act=nn.ReLU6),
            InvertedResidual(8, 24, 12, 5, 2),
            ConvNormAct(12, 24, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(24, 32), nn.Hardswish(inplace=True), nn.Dropout(0.0), nn.Linear(32, 6))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), start_dim=1))


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    return torch.tensor(random.normal(size=(4, 3, 24, 24)), dtype=torch.get_default_dtype()), torch.tensor([1, 5, 0, i % 6])


def optimizer(model):
    model.__dict__["average"] = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def scheduler(opt):
    return torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=20)


def step(model, opt, x, y):
    model.train()
    loss = F.cross_entropy(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    model.average.update_parameters(model)
    return loss


def evaluate(model):
    average = model.average.module.eval()
    return model.eval()(batch(100)[0]), average(batch(100)[0])
