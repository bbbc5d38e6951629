"""The Wan2.1 video VAE with a small base width, written for training.

The parameter names and the arithmetic are those of the official checkpoint format; the forward pass works on the whole
clip at once instead of chunk by chunk, which gives the same numbers (the causal convolutions see zeros before frame 0,
and frame 0 never passes a temporal resampling convolution).

Tensors are [B, C, T, H, W] f32; video values lie in [-1, 1].  T is 1 + 4n.
"""

import torch
import torch.nn.functional as F
from torch import nn

Z = 16                                   # latent channels, fixed by the transformer's in_dim
MULT = (1, 2, 4, 4)                      # channel multiples of the four resolutions
STRIDE = 8                               # pixels of a latent position
ENC_RESAMPLE = ("down2d", "down3d", "down3d", None)
DEC_RESAMPLE = ("up3d", "up3d", "up2d", None)

# Official normalisation of the 16 latent channels.  The export folds this model's own statistics into the 1x1x1
# convolutions around the latent, so that the official constants are right for it.
MEAN = torch.tensor([-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
                     0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921])
STD = torch.tensor([2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160])


def per_frame(x, fn):
    """Apply fn, which maps [N, C, H, W] to [N, C', H', W'], to every frame of x."""
    b, c, t, h, w = x.shape
    y = fn(x.transpose(1, 2).reshape(b * t, c, h, w))
    return y.view(b, t, *y.shape[1:]).transpose(1, 2)


class CausalConv(nn.Conv3d):
    """3D convolution that sees only the present and the past; zeros stand before the clip."""

    def __init__(self, cin, cout, kernel):
        kt, kh, kw = kernel
        super().__init__(cin, cout, kernel, padding=(0, kh // 2, kw // 2))
        self.past = kt - 1

    def forward(self, x):
        if x.shape[2] == 1:              # only the newest tap meets a real frame: a 2D convolution
            y = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, padding=self.padding[1:])
            return y.unsqueeze(2)
        return super().forward(F.pad(x, (0, 0, 0, 0, self.past, 0)) if self.past else x)


class Norm(nn.Module):
    """x / |x| * sqrt(C) * gamma over the channel axis (axis 1), without bias."""

    def __init__(self, channels, axes):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x):
        scale = torch.rsqrt(x.square().mean(1, keepdim=True).clamp_min(1e-24))
        return x * scale * self.gamma


class Residual(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.residual = nn.ModuleDict({
            "0": Norm(cin, 3), "2": CausalConv(cin, cout, (3, 3, 3)),
            "3": Norm(cout, 3), "6": CausalConv(cout, cout, (3, 3, 3))})
        self.shortcut = CausalConv(cin, cout, (1, 1, 1)) if cin != cout else nn.Identity()

    def forward(self, x):
        r = self.residual
        y = r["2"](F.silu(r["0"](x)))
        return r["6"](F.silu(r["3"](y))) + self.shortcut(x)


class Attention(nn.Module):
    """One head over the positions of each frame."""

    def __init__(self, channels):
        super().__init__()
        self.norm = Norm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def frame(self, x):
        n, c, h, w = x.shape
        q, k, v = self.to_qkv(self.norm(x)).view(n, 3 * c, h * w).split(c, 1)
        a = (q.transpose(1, 2) @ k * c ** -0.5).softmax(-1)          # [N, query, key]
        return x + self.proj((v @ a.transpose(1, 2)).view(n, c, h, w))

    def forward(self, x):
        return per_frame(x, self.frame)


class Down(nn.Module):
    """Halve H and W; down3d also halves the frames after frame 0."""

    def __init__(self, channels, mode):
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels, 3, stride=2)})
        if mode == "down3d":
            self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))
            nn.init.normal_(self.time_conv.weight, std=0.02)         # start as "keep the newest frame"
            nn.init.zeros_(self.time_conv.bias)
            with torch.no_grad():
                self.time_conv.weight[:, :, 2, 0, 0] += torch.eye(channels)

    def forward(self, x):
        x = per_frame(x, lambda f: self.resample["1"](F.pad(f, (0, 1, 0, 1))))
        if not hasattr(self, "time_conv") or x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time_conv(x)], 2)


class Up(nn.Module):
    """Double H and W and halve the channels; up3d first doubles the frames after frame 0."""

    def __init__(self, channels, mode):
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels // 2, 3, padding=1)})
        if mode == "up3d":
            self.time_conv = CausalConv(channels, 2 * channels, (3, 1, 1))
            nn.init.normal_(self.time_conv.weight, std=0.02)         # start as "show every frame twice"
            nn.init.zeros_(self.time_conv.bias)
            with torch.no_grad():
                self.time_conv.weight[:, :, 2, 0, 0] += torch.eye(channels).repeat(2, 1)

    def double_frames(self, x):
        b, c, t, h, w = x.shape
        past = F.pad(x[:, :, 1:], (0, 0, 0, 0, 2, 0))
        u = F.conv3d(past, self.time_conv.weight, self.time_conv.bias)
        u = u.view(b, 2, c, t - 1, h, w).permute(0, 2, 3, 1, 4, 5).reshape(b, c, 2 * t - 2, h, w)
        return torch.cat([x[:, :, :1], u], 2)

    def forward(self, x):
        if hasattr(self, "time_conv") and x.shape[2] > 1:
            x = self.double_frames(x)
        return per_frame(x, lambda f: self.resample["1"](F.interpolate(f, scale_factor=2.0)))


def middle(channels):
    return nn.ModuleList([Residual(channels, channels), Attention(channels), Residual(channels, channels)])


def run(layers, x):
    for layer in layers:
        x = layer(x)
    return x


class Coder(nn.Module):
    """Shared tail of encoder and decoder: norm, SiLU, convolution."""

    def add_head(self, cin, cout):
        self.head = nn.ModuleDict({"0": Norm(cin, 3), "2": CausalConv(cin, cout, (3, 3, 3))})

    def run_head(self, x):
        return self.head["2"](F.silu(self.head["0"](x)))


class Encoder(Coder):
    def __init__(self, base):
        super().__init__()
        dims = [base * m for m in (1, *MULT)]
        self.conv1 = CausalConv(3, base, (3, 3, 3))
        layers = []
        for cin, cout, mode in zip(dims, dims[1:], ENC_RESAMPLE):
            layers += [Residual(cin, cout), Residual(cout, cout)]
            if mode:
                layers.append(Down(cout, mode))
        self.downsamples = nn.ModuleList(layers)
        self.middle = middle(dims[-1])
        self.add_head(dims[-1], 2 * Z)

    def forward(self, x):
        return self.run_head(run(self.middle, run(self.downsamples, self.conv1(x))))


class Decoder(Coder):
    def __init__(self, base):
        super().__init__()
        dims = [base * m for m in (MULT[-1], *MULT[::-1])]
        self.conv1 = CausalConv(Z, dims[0], (3, 3, 3))
        self.middle = middle(dims[0])
        layers = []
        for i, (cin, cout, mode) in enumerate(zip(dims, dims[1:], DEC_RESAMPLE)):
            cin = cin // 2 if i else cin                             # the upsampling before has halved the channels
            layers += [Residual(cin, cout), Residual(cout, cout), Residual(cout, cout)]
            if mode:
                layers.append(Up(cout, mode))
        self.upsamples = nn.ModuleList(layers)
        self.add_head(dims[-1], 3)

    def forward(self, z):
        return self.run_head(run(self.upsamples, run(self.middle, self.conv1(z))))


class VAE(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.encoder, self.decoder = Encoder(base), Decoder(base)
        self.conv1 = CausalConv(2 * Z, 2 * Z, (1, 1, 1))
        self.conv2 = CausalConv(Z, Z, (1, 1, 1))
        self.start_as_image_model()

    @torch.no_grad()
    def start_as_image_model(self):
        """Zero the taps on past frames: a clip is then coded frame by frame until training says otherwise."""
        for m in self.modules():
            if isinstance(m, CausalConv) and m.kernel_size == (3, 3, 3):
                m.weight *= 3 ** 0.5                                 # default init counts all three taps as fan-in
                m.weight[:, :, :2] = 0

    def encode(self, x):
        """[B, 3, T, H, W] -> mean and log-variance, each [B, 16, 1+(T-1)/4, H/8, W/8]."""
        return self.conv1(self.encoder(x)).chunk(2, 1)

    def decode(self, z):
        return self.decoder(self.conv2(z))
