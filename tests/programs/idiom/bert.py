"""A BERT-style encoder: padding masks, masked-token loss, pooled classification, nn.TransformerEncoder beside it."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, LENGTH, WIDTH = 50, 16, 32


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.position = nn.Embedding(LENGTH, WIDTH)
        self.kind = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("position_ids", torch.arange(LENGTH).expand((1, -1)))

    def forward(self, ids, kinds=None):
        if kinds is None:
            kinds = torch.zeros_like(ids)
        e = self.word(ids) + self.kind(kinds)
        e += self.position(self.position_ids[:, : ids.shape[1]])
        return self.dropout(self.norm(e))


class Layer(nn.Module):
    def __init__(self, heads=4):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.output = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1))
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))

    def heads_of(self, x):
        return x.view(*x.shape[:-1], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        q, k, v = self.heads_of(self.query(x)), self.heads_of(self.key(x)), self.heads_of(self.value(x))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm1(x + self.output(y.permute(0, 2, 1, 3).flatten(2)))
        return self.norm2(x + self.feed(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = Embeddings()
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        encoder = nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.0, activation="gelu", batch_first=True)
        self.tail = nn.TransformerEncoder(encoder, num_layers=1, enable_nested_tensor=False)
        self.pooler = nn.Linear(WIDTH, WIDTH)
        self.classifier = nn.Linear(WIDTH, 3)
        self.decoder = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids, attention_mask):
        extended = (1.0 - attention_mask[:, None, None, :].to(self.pooler.weight.dtype)) * -1e9
        x = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, extended)
        x = self.tail(x, src_key_padding_mask=attention_mask == 0)
        return self.decoder(x), self.classifier(torch.tanh(self.pooler(x[:, 0])))


def build():
    return Net().eval()  # dropout off: the two libraries draw different numbers


def batch(i):
    random = np.random.default_rng(i)
    ids = random.integers(1, VOCABULARY, (4, LENGTH))
    lengths = random.integers(5, LENGTH + 1, 4)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    labels = np.where((random.random(ids.shape) < 0.3) & (mask == 1), ids, -100)
    classes = random.integers(0, 3, 4)
    return torch.tensor(ids * mask), torch.tensor(mask), torch.tensor(labels), torch.tensor(classes)


def optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)


def scheduler(opt):
    return torch.optim.lr_scheduler.LinearLR(opt, start_factor=0.2, total_iters=5)


def step(model, opt, ids, mask, labels, classes):
    opt.zero_grad()
    tokens, kinds = model(ids, mask)
    loss = nn.CrossEntropyLoss()(tokens.reshape(-1, VOCABULARY), labels.reshape(-1))
    loss = loss + F.cross_entropy(kinds, classes, label_smoothing=0.1)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    opt.step()
    return loss


def evaluate(model):
    ids, mask, *_ = batch(100)
    tokens, kinds = model(ids, mask)
    return tokens * mask[..., None], kinds, kinds.softmax(-1).argmax(dim=-1)
