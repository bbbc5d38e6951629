"""The Wan2.2 video VAE with small base widths, written for training.

Parameter names and arithmetic are those of the official checkpoint format; as in vae.py the whole clip is coded at once,
which gives the numbers of the official code's chunks.

Videos are [B, 3, T, H, W] f32 in [-1, 1], T = 1 + 4n.  Inside, clips are [B, T, C, h, w] and convolutions work on the B*T
frames in channels-last order, twice as fast on CPUs; a causal 3D convolution is a 2D one over the channels of three frames.
The outer levels, where most of the arithmetic is, are trained as plain 2D convolutions (`flat`): their taps on past frames stay
zero, and time is coded by the inner levels alone.
"""

import torch
import torch.nn.functional as F
from torch import nn

Z, STRIDE = 48, 16                       # latent channels; pixels of a latent position
MULT = (1, 2, 4, 4)
DOWN_TIME, UP_TIME = (False, True, True), (True, True, False)

# Official normalisation of the 48 latent channels.
MEAN = torch.tensor([
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375,
    -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899,
    -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573,
    -0.0548, -0.1681, -0.0667])
STD = torch.tensor([
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454,
    0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999,
    0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444,
    0.4089, 0.7468, 0.7744])


def on_frames(x, fn):
    """Apply fn, which maps [N, C, H, W] to [N, C', H', W'], to every frame of x [B, T, C, H, W]."""
    y = fn(x.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    return y.unflatten(0, x.shape[:2])


def before(x, frames):
    """x with so many frames of zeros in front"""
    return torch.cat([x.new_zeros(x.shape[0], frames, *x.shape[2:]), x], 1)


class CausalConv(nn.Module):
    """3D convolution over the present and the past; zeros stand before the clip.  flat: the past counts nothing."""

    def __init__(self, cin, cout, kernel, flat=False):
        super().__init__()
        like = nn.Conv3d(cin, cout, kernel)
        self.weight, self.bias = like.weight, like.bias
        self.past, self.pad, self.flat = kernel[0] - 1, kernel[1] // 2, flat or kernel[0] == 1

    def over(self, x):
        """[B, T + past, C, H, W] -> [B, T, C', H', W']"""
        n = x.shape[1] - self.past
        stacked = torch.cat([x[:, k:k + n] for k in range(self.past + 1)], 2)
        weight = self.weight.transpose(1, 2).flatten(1, 2)           # channels of the oldest frame first
        return on_frames(stacked, lambda f: F.conv2d(f, weight, self.bias, padding=self.pad))

    def forward(self, x):
        if self.flat or x.shape[1] == 1:
            return on_frames(x, lambda f: F.conv2d(f, self.weight[:, :, -1], self.bias, padding=self.pad))
        return self.over(before(x, self.past))


class NormSilu(torch.autograd.Function):
    """silu(x / |x| * sqrt(C) * gamma) over axis 1, with what backward needs computed again: less memory traffic."""

    @staticmethod
    def forward(ctx, x, gamma):
        scale = torch.rsqrt(x.square().mean(1, keepdim=True).clamp_min(1e-24))
        ctx.save_for_backward(x, gamma, scale)
        return F.silu(x * scale * gamma)

    @staticmethod
    def backward(ctx, dy):
        x, gamma, scale = ctx.saved_tensors
        unit = x * scale
        u = unit * gamma
        s = torch.sigmoid(u)
        du = dy * s * (1 + u * (1 - s))
        dgamma = (du * unit).sum((0, 2, 3)).view_as(gamma)
        dn = du * gamma
        return scale * (dn - unit * (dn * unit).mean(1, keepdim=True)), dgamma


class Norm(nn.Module):
    def __init__(self, channels, axes):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * axes))

    def silu(self, x):
        return on_frames(x, lambda f: NormSilu.apply(f, self.gamma.view(-1, 1, 1)))


class Residual(nn.Module):
    def __init__(self, cin, cout, flat):
        super().__init__()
        self.residual = nn.ModuleDict({
            "0": Norm(cin, 3), "2": CausalConv(cin, cout, (3, 3, 3), flat),
            "3": Norm(cout, 3), "6": CausalConv(cout, cout, (3, 3, 3), flat)})
        self.shortcut = CausalConv(cin, cout, (1, 1, 1)) if cin != cout else nn.Identity()

    def forward(self, x):
        r = self.residual
        return r["6"](r["3"].silu(r["2"](r["0"].silu(x)))) + self.shortcut(x)


class Attention(nn.Module):
    """One head over the positions of each frame."""

    def __init__(self, channels):
        super().__init__()
        self.norm = Norm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def frame(self, x):
        n, c, h, w = x.shape
        scale = torch.rsqrt(x.square().mean(1, keepdim=True).clamp_min(1e-24))
        q, k, v = self.to_qkv(x * scale * self.norm.gamma).flatten(2).split(c, 1)
        a = (q.transpose(1, 2) @ k * c ** -0.5).softmax(-1)          # [N, query, key]
        return x + self.proj((v @ a.transpose(1, 2)).view(n, c, h, w))

    def forward(self, x):
        return on_frames(x, self.frame)


class Resample(nn.Module):
    """Halve or double H and W; with time also the frames after frame 0."""

    def __init__(self, channels, up, time):
        super().__init__()
        self.up = up
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels, 3, **({"padding": 1} if up else {"stride": 2}))})
        if time:
            self.time_conv = CausalConv(channels, (2 if up else 1) * channels, (3, 1, 1))
            with torch.no_grad():                                    # start as "keep the newest frame", "show it twice"
                nn.init.normal_(self.time_conv.weight, std=0.02)
                nn.init.zeros_(self.time_conv.bias)
                self.time_conv.weight[:, :, 2, 0, 0] += torch.eye(channels).repeat(2 if up else 1, 1)

    def in_space(self, f):
        return self.resample["1"](F.interpolate(f, scale_factor=2.0) if self.up else F.pad(f, (0, 1, 0, 1)))

    def in_time(self, x):
        first, rest = x[:, :1], x[:, 1:]
        if not self.up:                                              # every second window of three frames
            return torch.cat([first, self.time_conv.over(x)[:, ::2]], 1)
        u = self.time_conv.over(before(rest, 2))                     # [B, T-1, 2C, H, W]
        return torch.cat([first, u.unflatten(2, (2, -1)).flatten(1, 2)], 1)

    def forward(self, x):
        timed = hasattr(self, "time_conv") and x.shape[1] > 1
        if self.up and timed:
            x = self.in_time(x)
        x = on_frames(x, self.in_space)
        return self.in_time(x) if timed and not self.up else x


def average_down(x, cout, ft):
    """The shortcut around a halving block: the values of ft x 2 x 2 cells, averaged in groups."""
    x = before(x, ft - 1) if ft > 1 else x                           # frame 0 shares its cell with a frame of zeros
    b, t, c, h, w = x.shape
    cells = x.reshape(b, t // ft, ft, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 2, 5, 7, 4, 6)
    return cells.reshape(b, t // ft, cout, -1, h // 2, w // 2).mean(3)


def repeat_up(x, cout, ft):
    """The shortcut around a doubling block: channels laid out over ft x 2 x 2 cells."""
    b, t, c, h, w = x.shape
    cells = x.repeat_interleave(cout * ft * 4 // c, 2).view(b, t, cout, ft, 2, 2, h, w)
    y = cells.permute(0, 1, 3, 2, 6, 4, 7, 5).reshape(b, t * ft, cout, 2 * h, 2 * w)
    return y[:, ft - 1:]


class DownBlock(nn.Module):
    def __init__(self, cin, cout, halve, time, flat):
        super().__init__()
        layers = [Residual(cin, cout, flat), Residual(cout, cout, flat)]
        if halve:
            layers.append(Resample(cout, False, time))
        self.downsamples = nn.Sequential(*layers)
        self.halve, self.ft, self.cout = halve, 2 if time else 1, cout

    def forward(self, x):
        shortcut = average_down(x, self.cout, self.ft) if self.halve else self.same(x)
        return self.downsamples(x) + shortcut

    def same(self, x):
        """Averages of neighbouring channels; where the widths are equal, x itself."""
        b, t, c, h, w = x.shape
        return x.reshape(b, t, self.cout, c // self.cout, h, w).mean(3)


class UpBlock(nn.Module):
    def __init__(self, cin, cout, double, time, flat):
        super().__init__()
        layers = [Residual(cin, cout, flat), Residual(cout, cout, flat), Residual(cout, cout, flat)]
        if double:
            layers.append(Resample(cout, True, time))
        self.upsamples = nn.Sequential(*layers)
        self.double, self.ft, self.cout = double, 2 if time else 1, cout

    def forward(self, x):
        y = self.upsamples(x)
        return y + repeat_up(x, self.cout, self.ft) if self.double else y


def middle(channels):
    return nn.Sequential(Residual(channels, channels, False), Attention(channels), Residual(channels, channels, False))


class Coder(nn.Module):
    def add_head(self, cin, cout, flat):
        self.head = nn.ModuleDict({"0": Norm(cin, 3), "2": CausalConv(cin, cout, (3, 3, 3), flat)})

    def run_head(self, x):
        return self.head["2"](self.head["0"].silu(x))


class Encoder(Coder):
    def __init__(self, base):
        super().__init__()
        dims = [base * m for m in (1, *MULT)]
        self.conv1 = CausalConv(12, base, (3, 3, 3), True)
        self.downsamples = nn.Sequential(*[
            DownBlock(cin, cout, i < 3, i < 3 and DOWN_TIME[i], flat=i < 2)
            for i, (cin, cout) in enumerate(zip(dims, dims[1:]))])
        self.middle = middle(dims[-1])
        self.add_head(dims[-1], 2 * Z, False)

    def forward(self, x):
        return self.run_head(self.middle(self.downsamples(self.conv1(x))))


class Decoder(Coder):
    def __init__(self, base):
        super().__init__()
        dims = [base * m for m in (MULT[-1], *MULT[::-1])]
        self.conv1 = CausalConv(Z, dims[0], (3, 3, 3))
        self.middle = middle(dims[0])
        self.upsamples = nn.Sequential(*[
            UpBlock(cin, cout, i < 3, i < 3 and UP_TIME[i], flat=i >= 2)
            for i, (cin, cout) in enumerate(zip(dims, dims[1:]))])
        self.add_head(dims[-1], 12, True)

    def forward(self, z):
        return self.run_head(self.upsamples(self.middle(self.conv1(z))))


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
            if isinstance(m, CausalConv) and m.weight.shape[2:] == (3, 3, 3):
                m.weight *= 3 ** 0.5                                 # default init counts all three taps as fan-in
                m.weight[:, :, :2] = 0

    def encode(self, x):
        """[B, 3, T, H, W] -> mean and log-variance, each [B, 48, 1+(T-1)/4, H/16, W/16]."""
        b, _, t, h, w = x.shape
        patches = x.view(b, 3, t, h // 2, 2, w // 2, 2).permute(0, 2, 1, 6, 4, 3, 5).reshape(b, t, 12, h // 2, w // 2)
        return self.conv1(self.encoder(patches)).transpose(1, 2).chunk(2, 1)

    def decode(self, z):
        y = self.decoder(self.conv2(z.transpose(1, 2)))
        b, t, _, h, w = y.shape
        return y.view(b, t, 3, 2, 2, h, w).permute(0, 2, 1, 5, 4, 6, 3).reshape(b, 3, t, 2 * h, 2 * w)
