"""The transformers' training clips, coded by the trained autoencoder, more and more of them while training goes on."""

import os

import torch

import shapes
from files import save

SHARD = 32
# Training pictures are numbered from here on; the tests' clips have lower numbers.
FIRST = 1_000_000


@torch.no_grad()
def encode(vae, videos):
    """Latent means of [n, 3, T, H, W], two clips at a time."""
    return torch.cat([vae.encode(part)[0] for part in videos.split(2)])


class Stock:
    """Clips and their latents, normalised: `start` shards at first and one more every `every` steps, up to `shards`."""

    def __init__(self, folder, form, vae, clip, every, shards, start=4):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.form, self.vae, self.clip = folder, form, vae, clip
        self.every, self.shards, self.start = every, shards, start
        self.clips, self.data = [], torch.empty(0)

    def at(self, step):
        """The stock as it is at a step: clips and [n, C, F, h, w]."""
        wanted = min(self.shards, self.start + step // self.every)
        new = [self.shard(n) for n in range(len(self.clips) // SHARD, wanted)]
        if new:
            self.data = torch.cat([*([self.data] if len(self.data) else []), *new])
        return self.clips, self.data

    def shard(self, number):
        path = f"{self.folder}/{number:03}.pt"
        clips = [self.clip(i) for i in range(number * SHARD, (number + 1) * SHARD)]
        self.clips += clips
        if not os.path.exists(path):
            save(path, encode(self.vae, torch.stack([shapes.render(c, self.form.pixels) for c in clips])))
        mean, std = (v.view(-1, 1, 1, 1) for v in (self.form.vae.MEAN, self.form.vae.STD))
        return (torch.load(path) - mean) / std


def statistics(form, vae, clips):
    """Mean and standard deviation of each latent channel over generated clips."""
    x = encode(vae, torch.stack([shapes.render(c, form.pixels) for c in clips]))
    return x.mean((0, 2, 3, 4)), x.std((0, 2, 3, 4))
