"""The transformers of Wan2.1 text-to-video and Wan2.2 text-and-image-to-video, small, with the official parameter names.

Shapes: B batch, F latent frames, P = h*w tokens of a frame (patches of 1x2x2 latent pixels), T = F*P, N text rows, D model width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

EPS, FREQ_DIM, TEXT_LEN = 1e-6, 256, 128


@dataclass(frozen=True)
class Size:
    """What config.json says, and the width of the text."""
    model_type: str
    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    latent: int
    text_dim: int

    def config(self):
        return {"dim": self.dim, "eps": EPS, "ffn_dim": self.ffn_dim, "freq_dim": FREQ_DIM, "in_dim": self.latent,
                "model_type": self.model_type, "num_heads": self.num_heads, "num_layers": self.num_layers,
                "out_dim": self.latent, "text_len": TEXT_LEN}


def rope_table(f, h, w, hd):
    """[T, hd/2] complex rotations of a patch grid: the pairs are shared out to frame, row and column."""
    side = 2 * (hd // 6)
    axes = ((f, hd - 2 * side), (h, side), (w, side))
    grid = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n, _ in axes], indexing="ij")
    angles = [g.reshape(-1, 1) * 10000.0 ** (-torch.arange(0, n, 2) / n) for g, (_, n) in zip(grid, axes)]
    angles = torch.cat(angles, 1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x, table):
    """Rotate the pairs of x [B, T, heads, hd]."""
    z = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * table[:, None]
    return torch.view_as_real(z).flatten(-2)


def time_features(t):
    """[...] times 0..1000 -> [..., 256]: cosines, then sines."""
    half = FREQ_DIM // 2
    angles = t[..., None].double() * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat([angles.cos(), angles.sin()], -1).float()


def layer_norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=EPS)


def attention(q, k, v, bias=None):
    """[B, n, heads, hd] each -> [B, n, D].  Two products and a softmax: on CPUs the fused kernel is slower backwards."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    p = (logits if bias is None else logits + bias).softmax(-1)
    return (p @ v).transpose(1, 2).flatten(-2)


class Rms(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weight


class Projections(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = Rms(dim), Rms(dim)
        self.heads = heads

    def forward(self, x, source, table=None, bias=None):
        q = self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))
        k = self.norm_k(self.k(source)).unflatten(-1, (self.heads, -1))
        v = self.v(source).unflatten(-1, (self.heads, -1))
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        return self.o(attention(q, k, v, bias))


class Block(nn.Module):
    def __init__(self, size):
        super().__init__()
        dim = size.dim
        self.modulation = nn.Parameter(torch.zeros(1, 6, dim))
        self.self_attn, self.cross_attn = (Projections(dim, size.num_heads) for _ in range(2))
        self.norm3 = nn.LayerNorm(dim, eps=EPS)
        self.ffn = nn.ModuleDict({"0": nn.Linear(dim, size.ffn_dim), "2": nn.Linear(size.ffn_dim, dim)})
        with torch.no_grad():
            self.modulation[:, [2, 5]] = 0.5                         # gates
            self.ignore_padding()

    def ignore_padding(self):
        """Start with little attention on the up to 127 equal padding rows, which would drown the caption's 16.

        A padding row's text embedding is zero at the start, so its key is the bias; real keys hardly see the bias.
        Pointing the queries' bias the other way gives padding a low logit.
        """
        side = torch.randn(self.norm3.weight.shape).sign()
        self.cross_attn.q.bias.copy_(0.6 * side)
        self.cross_attn.k.bias.copy_(-0.05 * side)

    def forward(self, x, e, context, pad_bias, table):
        """x [B, T, D]; e [B, frames or 1, 6, D], the times' modulation of each frame or of all"""
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + e).unsqueeze(3).unbind(2)
        frames = e.shape[1]

        def framed(y):
            return y.unflatten(1, (frames, -1))

        a = (framed(layer_norm(x)) * (1 + scale1) + shift1).flatten(1, 2)
        x = x + (framed(self.self_attn(a, a, table)) * gate1).flatten(1, 2)
        x = x + self.cross_attn(self.norm3(x), context, bias=pad_bias)
        c = (framed(layer_norm(x)) * (1 + scale2) + shift2).flatten(1, 2)
        y = self.ffn["2"](F.gelu(self.ffn["0"](c), approximate="tanh"))
        return x + (framed(y) * gate2).flatten(1, 2)


class Head(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.modulation = nn.Parameter(torch.zeros(1, 2, size.dim))
        self.head = nn.Linear(size.dim, 4 * size.latent)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x, e):
        shift, scale = (self.modulation + e.unsqueeze(2)).unsqueeze(3).unbind(2)
        x = layer_norm(x).unflatten(1, (e.shape[1], -1))
        return self.head((x * (1 + scale) + shift).flatten(1, 2))


class DiT(nn.Module):
    def __init__(self, size):
        super().__init__()
        dim = size.dim
        self.size = size
        self.patch_embedding = nn.Conv3d(size.latent, dim, (1, 2, 2), (1, 2, 2))
        self.text_embedding = nn.ModuleDict({"0": nn.Linear(size.text_dim, dim), "2": nn.Linear(dim, dim)})
        self.time_embedding = nn.ModuleDict({"0": nn.Linear(FREQ_DIM, dim), "2": nn.Linear(dim, dim)})
        self.time_projection = nn.ModuleDict({"1": nn.Linear(dim, 6 * dim)})
        self.blocks = nn.ModuleList([Block(size) for _ in range(size.num_layers)])
        self.head = Head(size)
        for m in (*self.text_embedding.values(), self.time_projection["1"]):
            nn.init.zeros_(m.bias)
        nn.init.normal_(self.time_projection["1"].weight, std=0.02)

    def embed_text(self, rows, lengths):
        """Rows [B, N, text_dim] with zeros past the lengths -> context [B, N+1, D] and its logit bias.

        The official model pads with zero rows to TEXT_LEN and attends to all of them.  They are equal, so one row whose
        logit is raised by the logarithm of their number stands for all; rows between length and N are switched off.
        """
        t = self.text_embedding
        context = t["2"](F.gelu(t["0"](F.pad(rows, (0, 0, 0, 1))), approximate="tanh"))
        n = rows.shape[1]
        bias = torch.where(torch.arange(n) < lengths[:, None], 0.0, -1e9)
        pads = torch.log((TEXT_LEN - lengths).clamp_min(1e-9).float())
        return context, torch.cat([bias, pads[:, None]], 1)[:, None, None, :]

    def forward(self, x, t, context, pad_bias):
        """x [B, C, F, H, W], times 0..1000 t [B, F] of the frames, or [B, 1] -> velocity like x."""
        b, c, f, h, w = x.shape
        tokens = self.patch_embedding(x).flatten(2).transpose(1, 2)
        e = self.time_embedding["2"](F.silu(self.time_embedding["0"](time_features(t))))
        e0 = self.time_projection["1"](F.silu(e)).unflatten(-1, (6, -1))
        table = rope_table(f, h // 2, w // 2, self.size.dim // self.size.num_heads)
        for block in self.blocks:
            tokens = block(tokens, e0, context, pad_bias, table)
        out = self.head(tokens, e).view(b, f, h // 2, w // 2, 2, 2, c)
        return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(b, c, f, h, w)
