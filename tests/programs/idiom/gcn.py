"""A graph network on a small graph: normalized adjacency, index_add message passing, scatter pooling, masked loss."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parameter import Parameter

NODES, FEATURES, CLASSES, GRAPHS = 20, 8, 4, 3


class GraphConvolution(nn.Module):
    def __init__(self, inp, out):
        super().__init__()
        self.weight = Parameter(torch.Tensor(inp, out))
        self.bias = Parameter(torch.Tensor(out))
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / self.weight.size(1) ** 0.5
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, adj):
        return torch.mm(adj, torch.mm(x, self.weight)) + self.bias

    def __repr__(self):
        return self.__class__.__name__


class EdgeConvolution(nn.Module):
    def __init__(self, inp, out):
        super().__init__()
        self.lin = nn.Linear(2 * inp, out)

    def forward(self, x, edge_index):
        row, col = edge_index
        messages = F.elu(self.lin(torch.cat([x[row], x[col] - x[row]], dim=-1)))
        out = torch.zeros(x.size(0), messages.size(-1), dtype=x.dtype).index_add_(0, row, messages)
        degree = torch.bincount(row, minlength=x.size(0)).clamp(min=1).unsqueeze(-1)
        return out / degree


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1 = GraphConvolution(FEATURES, 16)
        self.gc2 = EdgeConvolution(16, 12)
        self.gc3 = GraphConvolution(12, CLASSES)
        self.readout = nn.Linear(12, 1)

    def forward(self, x, edge_index, graph):
        adj = torch.zeros(NODES, NODES, dtype=x.dtype)
        adj[edge_index[0], edge_index[1]] = 1.0
        adj = adj + torch.eye(NODES, dtype=x.dtype)
        inv = adj.sum(1).pow(-0.5)
        inv[torch.isinf(inv)] = 0.0
        adj = inv[:, None] * adj * inv[None, :]
        h = F.relu(self.gc1(x, adj))
        h = F.dropout(h, 0.5, training=False)
        h = self.gc2(h, edge_index)
        index = graph.unsqueeze(-1).expand_as(h)
        pooled = torch.zeros(GRAPHS, h.size(1), dtype=h.dtype).scatter_reduce(0, index, h, "amax", include_self=False)
        return F.log_softmax(self.gc3(h, adj), dim=1), self.readout(pooled).squeeze(-1)


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    x = torch.tensor(random.normal(size=(NODES, FEATURES)), dtype=torch.get_default_dtype())
    edges = torch.unique(torch.tensor(random.integers(0, NODES, (2, 60))), dim=1)
    graph = torch.tensor(np.sort(np.r_[0, 1, 2, random.integers(0, GRAPHS, NODES - 3)]))
    labels = torch.tensor(random.integers(0, CLASSES, NODES))
    return x, edges, graph, labels, torch.tensor(random.random(NODES) < 0.5)


def optimizer(model):
    return torch.optim.Adagrad(model.parameters(), lr=0.05, lr_decay=0.01, weight_decay=5e-4)


def step(model, opt, x, edges, graph, labels, train):
    opt.zero_grad()
    output, value = model(x, edges, graph)
    loss = F.nll_loss(output[train], labels[train]) + F.smooth_l1_loss(value, torch.ones_like(value))
    loss.backward()
    opt.step()
    return loss


def evaluate(model):
    x, edges, graph, labels, _ = batch(100)
    output, value = model(x, edges, graph)
    return output, value, output.max(1)[1].eq(labels).double().sum()
