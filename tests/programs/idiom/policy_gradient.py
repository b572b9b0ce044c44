"""Actor and critic by policy gradient: categorical log-probabilities, discounted returns, entropy bonus, Huber loss."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 32)
        self.action_head = nn.Linear(32, 3)
        self.value_head = nn.Linear(32, 1)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    states = torch.from_numpy(random.normal(size=(10, 4))).to(torch.get_default_dtype())
    return states, torch.tensor(random.integers(0, 3, 10)), random.normal(size=10).tolist()


def optimizer(model):
    return optim.NAdam(model.parameters(), lr=3e-3)


def step(model, opt, states, actions, rewards):
    returns, R = [], 0
    for r in rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + np.finfo(np.float32).eps.item())
    policy_losses, value_losses, entropies = [], [], []
    for state, action, R in zip(states, actions, returns):
        probs, value = model(state)
        m = Categorical(probs)
        advantage = R - value.squeeze().detach()
        policy_losses.append(-m.log_prob(action) * advantage)
        value_losses.append(F.smooth_l1_loss(value, R.unsqueeze(0)))
        entropies.append(m.entropy())
    opt.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum() - 0.01 * torch.stack(entropies).mean()
    loss.backward()
    opt.step()
    return loss


def evaluate(model):
    return model(batch(100)[0])
