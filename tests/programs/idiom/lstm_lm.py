"""An LSTM language model: truncated backpropagation through time with repackaged hidden states, plain SGD by hand."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

NTOKEN, NINP, NHID, NLAYERS, BPTT = 40, 16, 20, 2, 7


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.0)
        self.encoder = nn.Embedding(NTOKEN, NINP)
        self.rnn = nn.LSTM(NINP, NHID, NLAYERS, dropout=0.0)
        self.decoder = nn.Linear(NHID, NTOKEN)
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -initrange, initrange)

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, NTOKEN)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return weight.new_zeros(NLAYERS, bsz, NHID), weight.new_zeros(NLAYERS, bsz, NHID)


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def build():
    return Net()


def batch(i):
    data = np.random.default_rng(i // 4).integers(0, NTOKEN, (BPTT * 4 + 1, 3))
    start = (i % 4) * BPTT
    return torch.tensor(data[start : start + BPTT]), torch.tensor(data[start + 1 : start + 1 + BPTT]).view(-1)


def optimizer(model):
    model.__dict__["hidden"] = model.init_hidden(3)
    return None


def step(model, opt, data, targets):
    model.train()
    hidden = repackage_hidden(model.hidden)
    model.zero_grad()
    output, hidden = model(data, hidden)
    model.__dict__["hidden"] = hidden
    loss = nn.NLLLoss()(output, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    for p in model.parameters():
        p.data.add_(p.grad, alpha=-2.0)
    return loss


def evaluate(model):
    model.eval()
    with torch.no_grad():
        output, hidden = model(batch(100)[0], model.init_hidden(3))
    return output, *hidden
