"""Stage 2: the transformer's training set, clips coded once by the trained autoencoder."""

import os

import torch

import shapes
from train_vae import save

CLIPS, SHARD = 640, 64


@torch.no_grad()
def encode_shard(vae, number):
    """Latent means of clips number*SHARD.., [SHARD, 16, 5, 8, 8]."""
    parts = []
    for first in range(number * SHARD, (number + 1) * SHARD, 4):
        video = torch.stack([shapes.render(shapes.make_clip(i)) for i in range(first, first + 4)])
        parts.append(vae.encode(video)[0])
    return torch.cat(parts)


def shard_path(work, number):
    return f"{work}/latents{number:03}.pt"


def make_all(vae, work, log, clips=CLIPS):
    for number in range(clips // SHARD):
        if not os.path.exists(shard_path(work, number)):
            save(shard_path(work, number), encode_shard(vae, number))
            log(f"latents of {(number + 1) * SHARD} clips")


def load(work, clips=CLIPS):
    return torch.cat([torch.load(shard_path(work, n)) for n in range(clips // SHARD)])


def statistics(work):
    """Mean and standard deviation of each channel over the first eight shards, each [16]."""
    x = load(work, 8 * SHARD)
    return x.mean((0, 2, 3, 4)), x.std((0, 2, 3, 4))
