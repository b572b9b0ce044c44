"""Sequence to sequence with additive attention: packed GRU encoder, teacher forcing step by step, beam-free decoding."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

SOS, EOS, WORDS, HIDDEN = 1, 2, 30, 16


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, HIDDEN, padding_idx=0)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True, bidirectional=True)
        self.merge = nn.Linear(2 * HIDDEN, HIDDEN)

    def forward(self, padded, lengths):
        packed = pack_padded_sequence(self.embedding(padded), lengths, batch_first=True, enforce_sorted=False)
        output, hidden = self.gru(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        return self.merge(output), torch.tanh(self.merge(torch.cat([hidden[0], hidden[1]], dim=1)))


class BahdanauAttention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.Wa, self.Ua, self.Va = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, 1)

    def forward(self, query, keys, mask):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        scores = scores.masked_fill(~mask.unsqueeze(1), -torch.inf)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, HIDDEN)
        self.attention = BahdanauAttention(HIDDEN)
        self.cell = nn.GRUCell(2 * HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, WORDS)

    def forward(self, outputs, hidden, mask, length, target=None):
        token = torch.empty(outputs.size(0), 1, dtype=torch.long, device=outputs.device).fill_(SOS)
        logits = []
        for i in range(length):
            context, _ = self.attention(hidden.unsqueeze(1), outputs, mask)
            hidden = self.cell(torch.cat((self.embedding(token), context), dim=2).squeeze(1), hidden)
            logits.append(self.out(hidden))
            if target is not None:
                token = target[:, i].unsqueeze(1)
            else:
                _, topi = logits[-1].topk(1)
                token = topi.detach()
        return F.log_softmax(torch.stack(logits, dim=1), dim=-1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, source, lengths, length, target=None):
        outputs, hidden = self.encoder(source, lengths)
        mask = torch.arange(outputs.size(1))[None, :] < lengths[:, None]
        return self.decoder(outputs, hidden, mask, length, target)


def build():
    return Net()


def batch(i):
    random = np.random.default_rng(i)
    lengths = [6, 3, 5, int(random.integers(2, 7))]
    words = [torch.tensor(random.integers(3, WORDS, n)) for n in lengths]
    source = pad_sequence(words, batch_first=True, padding_value=0)
    target = pad_sequence([torch.cat([w.flip(0), torch.tensor([EOS])]) for w in words], batch_first=True)
    return source, torch.tensor(lengths), target


def optimizer(model):
    return torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.9)


def step(model, opt, source, lengths, target):
    opt.zero_grad()
    decoded = model(source, lengths, target.size(1), target)
    loss = nn.NLLLoss(ignore_index=0)(decoded.view(-1, decoded.size(-1)), target.view(-1))
    loss.backward()
    opt.step()
    return loss


def evaluate(model):
    source, lengths, target = batch(100)
    return model(source, lengths, 5), model(source, lengths, 5).argmax(-1)
