"""A variational autoencoder: reparameterization with given noise, and its KL term twice, by hand and by distributions."""

import numpy as np
import torch
import torch.utils.data
from torch import nn, optim
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc21 = nn.Linear(32, 4)
        self.fc22 = nn.Linear(32, 4)
        self.fc3 = nn.Linear(4, 32)
        self.fc4 = nn.Linear(32, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar, eps):
        std = torch.exp(0.5 * logvar)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x, eps):
        mu, logvar = self.encode(x.view(-1, 64))
        return self.decode(self.reparameterize(mu, logvar, eps)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    posterior = Normal(mu, torch.exp(0.5 * logvar))
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return bce + 0.5 * kld + 0.5 * kl_divergence(posterior, prior).sum()


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    kind = torch.get_default_dtype()
    return torch.tensor(random.random((8, 1, 8, 8))).to(kind), torch.tensor(random.normal(size=(8, 4))).to(kind)


def optimizer(model):
    return optim.Adam(model.parameters(), lr=1e-3)


def step(model, opt, x, eps):
    opt.zero_grad()
    recon, mu, logvar = model(x, eps)
    loss = loss_function(recon, x, mu, logvar)
    loss.backward()
    opt.step()
    return loss / len(x)


def evaluate(model):
    with torch.no_grad():
        return model(*batch(100))
