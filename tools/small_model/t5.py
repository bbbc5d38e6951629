"""The UMT5 encoder, small, with the official parameter names."""

import math

import torch
import torch.nn.functional as F
from torch import nn

VOCAB, DIM, HEADS, FFN, LAYERS = 480, 64, 4, 128, 2
BUCKETS = 32


def buckets(n):
    """[n, n] i64: relative position bucket of key j for query i."""
    r = torch.arange(n)[None, :] - torch.arange(n)[:, None]
    d = r.abs()
    far = 8 + (torch.log(d.clamp_min(1).float() / 8) / math.log(16) * 8).long()
    return torch.where(r > 0, BUCKETS // 2, 0) + torch.where(d < 8, d, far.clamp_max(15))


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.attn = nn.ModuleDict({k: nn.Linear(DIM, DIM, bias=False) for k in "qkvo"})
        self.ffn = nn.ModuleDict({"gate": nn.Sequential(nn.Linear(DIM, FFN, bias=False)),
                                  "fc1": nn.Linear(DIM, FFN, bias=False), "fc2": nn.Linear(FFN, DIM, bias=False)})
        self.pos_embedding = nn.ModuleDict({"embedding": nn.Embedding(BUCKETS, HEADS)})
        nn.init.normal_(self.attn["q"].weight, std=(DIM * DIM // HEADS) ** -0.5)   # logits are not divided by sqrt(d)
        nn.init.normal_(self.pos_embedding["embedding"].weight, std=0.1)

    def attend(self, x, bias):
        b, n, _ = x.shape
        q, k, v = (self.attn[c](x).view(b, n, HEADS, -1).transpose(1, 2) for c in "qkv")
        p = (q @ k.transpose(-1, -2) + bias).softmax(-1)
        return self.attn["o"]((p @ v).transpose(1, 2).reshape(b, n, DIM))

    def forward(self, x, index, mask):
        bias = self.pos_embedding["embedding"](index).permute(2, 0, 1)             # [heads, n, n]
        x = x + self.attend(self.norm1(x), bias + mask)
        y = self.norm2(x)
        gate = F.gelu(self.ffn["gate"](y), approximate="tanh")
        return x + self.ffn["fc2"](self.ffn["fc1"](y) * gate)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embedding = nn.Embedding(VOCAB, DIM)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm = Norm()

    def forward(self, ids, lengths):
        """ids [B, N], lengths [B] -> [B, N, 64], rows past the length are zero."""
        n = ids.shape[1]
        real = torch.arange(n) < lengths[:, None]
        mask = torch.where(real, 0.0, -1e9)[:, None, None, :]
        x, index = self.token_embedding(ids), buckets(n)
        for block in self.blocks:
            x = block(x, index, mask)
        return self.norm(x) * real[..., None]
