"""The Wan2.1 text-to-video transformer, small, with the official parameter names.

Shapes: B batch, T = F*h*w video tokens (patches of 1x2x2 latent pixels), N text rows, D model width.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {"dim": 128, "eps": 1e-6, "ffn_dim": 512, "freq_dim": 256, "in_dim": 16, "model_type": "t2v",
          "num_heads": 4, "num_layers": 4, "out_dim": 16, "text_len": 128}
D, HEADS, FFN, LAYERS = (CONFIG[k] for k in ("dim", "num_heads", "ffn_dim", "num_layers"))
HD, EPS, TEXT_LEN = D // HEADS, CONFIG["eps"], CONFIG["text_len"]


def rope_table(f, h, w):
    """[T, HD/2] complex rotations of a patch grid: the pairs are shared out to frame, row and column."""
    side = 2 * (HD // 6)
    axes = ((f, HD - 2 * side), (h, side), (w, side))
    grid = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n, _ in axes], indexing="ij")
    angles = [g.reshape(-1, 1) * 10000.0 ** (-torch.arange(0, n, 2) / n) for g, (_, n) in zip(grid, axes)]
    angles = torch.cat(angles, 1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x, table):
    """Rotate the pairs of x [B, T, HEADS, HD]."""
    z = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * table[:, None]
    return torch.view_as_real(z).flatten(-2)


def time_features(t):
    """[B] times 0..1000 -> [B, 256]: cosines, then sines."""
    half = CONFIG["freq_dim"] // 2
    angles = t[:, None].double() * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat([angles.cos(), angles.sin()], 1).float()


def layer_norm(x):
    return F.layer_norm(x, (D,), eps=EPS)


def attention(q, k, v, bias=None):
    """[B, n, HEADS, HD] each -> [B, n, D].  Two products and a softmax: on CPUs the fused kernel is slower backwards."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    logits = q @ k.transpose(-1, -2) * HD ** -0.5
    p = (logits if bias is None else logits + bias).softmax(-1)
    return (p @ v).transpose(1, 2).flatten(-2)


class Rms(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(D))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weight


class Projections(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.norm_q, self.norm_k = Rms(), Rms()

    def forward(self, x, source, table=None, bias=None):
        q = self.norm_q(self.q(x)).unflatten(-1, (HEADS, HD))
        k = self.norm_k(self.k(source)).unflatten(-1, (HEADS, HD))
        v = self.v(source).unflatten(-1, (HEADS, HD))
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        return self.o(attention(q, k, v, bias))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.modulation = nn.Parameter(torch.zeros(1, 6, D))
        self.self_attn, self.cross_attn = Projections(), Projections()
        self.norm3 = nn.LayerNorm(D, eps=EPS)
        self.ffn = nn.ModuleDict({"0": nn.Linear(D, FFN), "2": nn.Linear(FFN, D)})
        with torch.no_grad():
            self.modulation[:, [2, 5]] = 0.5                         # gates
            self.ignore_padding()

    def ignore_padding(self):
        """Start with little attention on the up to 127 equal padding rows, which would drown the caption's 16.

        A padding row's text embedding is zero at the start, so its key is the bias; real keys hardly see the bias.
        Pointing the queries' bias the other way gives padding a low logit.
        """
        side = torch.randn(D).sign()
        self.cross_attn.q.bias.copy_(0.6 * side)
        self.cross_attn.k.bias.copy_(-0.05 * side)

    def forward(self, x, e, context, pad_bias, table):
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + e).unsqueeze(2).unbind(1)
        a = layer_norm(x) * (1 + scale1) + shift1
        x = x + self.self_attn(a, a, table) * gate1
        x = x + self.cross_attn(self.norm3(x), context, bias=pad_bias)
        c = layer_norm(x) * (1 + scale2) + shift2
        return x + self.ffn["2"](F.gelu(self.ffn["0"](c), approximate="tanh")) * gate2


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.modulation = nn.Parameter(torch.zeros(1, 2, D))
        self.head = nn.Linear(D, 4 * CONFIG["out_dim"])
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x, e):
        shift, scale = (self.modulation + e[:, None]).unsqueeze(2).unbind(1)
        return self.head(layer_norm(x) * (1 + scale) + shift)


class DiT(nn.Module):
    def __init__(self, text_dim):
        super().__init__()
        self.patch_embedding = nn.Conv3d(CONFIG["in_dim"], D, (1, 2, 2), (1, 2, 2))
        self.text_embedding = nn.ModuleDict({"0": nn.Linear(text_dim, D), "2": nn.Linear(D, D)})
        self.time_embedding = nn.ModuleDict({"0": nn.Linear(CONFIG["freq_dim"], D), "2": nn.Linear(D, D)})
        self.time_projection = nn.ModuleDict({"1": nn.Linear(D, 6 * D)})
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.head = Head()
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
        """x [B, 16, F, H, W], t [B] in 0..1000 -> velocity like x."""
        b, c, f, h, w = x.shape
        tokens = self.patch_embedding(x).flatten(2).transpose(1, 2)
        e = self.time_embedding["2"](F.silu(self.time_embedding["0"](time_features(t))))
        e0 = self.time_projection["1"](F.silu(e)).view(b, 6, D)
        table = rope_table(f, h // 2, w // 2)
        for block in self.blocks:
            tokens = block(tokens, e0, context, pad_bias, table)
        out = self.head(tokens, e).view(b, f, h // 2, w // 2, 2, 2, c)
        return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(b, c, f, h, w)
