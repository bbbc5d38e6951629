"""Stage 3: a start for the text encoder.  Every row of a caption learns to name shape, colours and motion of the clip.

Which colour word belongs to the shape and which to the background takes the transformer's loss a thousand slow steps to
teach; said directly it takes seconds.  The naming layer is thrown away afterwards.
"""

import os
import random

import torch
from tokenizers import Tokenizer
from torch import nn

import shapes
import t5
from files import save

STEPS, BATCH, RATE = 1500, 64, 2e-3


def batch_of(step, tok):
    """ids [B, N], lengths [B], right names [B, 4]."""
    r = random.Random(step)
    clips = [shapes.wide_clip(r.getrandbits(40)) for _ in range(BATCH)]
    ids = [torch.tensor(tok.encode(shapes.rephrase(c, r, shapes.FIRST_TEMPLATES)).ids) for c in clips]
    names = torch.tensor([shapes.fact_numbers(c) for c in clips])
    return nn.utils.rnn.pad_sequence(ids, batch_first=True), torch.tensor([len(i) for i in ids]), names


def row_losses(logits, names, lengths):
    """Cross entropy [4] of the four names, averaged over the real rows of logits [B, N, sum of choices]."""
    real = torch.arange(logits.shape[1]) < lengths[:, None]
    parts = logits.split([len(values) for _, values in shapes.FACTS], -1)
    target = names[:, None].expand(-1, logits.shape[1], -1)[real]
    return torch.stack([nn.functional.cross_entropy(p[real], target[:, k]) for k, p in enumerate(parts)])


def train(work, tokenizer_folder, log):
    """The state of the trained encoder."""
    path = f"{work}/text.pt"
    if os.path.exists(path):
        return torch.load(path)
    torch.manual_seed(3)
    tok = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")
    encoder = t5.Encoder()
    naming = nn.Linear(t5.DIM, sum(len(values) for _, values in shapes.FACTS))
    opt = torch.optim.Adam([*encoder.parameters(), *naming.parameters()], betas=(0.9, 0.98))
    for step in range(STEPS):
        opt.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 50, 2 * (STEPS - step) / STEPS)
        ids, lengths, names = batch_of(step, tok)
        losses = row_losses(naming(encoder(ids, lengths)), names, lengths)
        opt.zero_grad()
        losses.sum().backward()
        opt.step()
        if (step + 1) % 100 == 0:
            log(f"text step {step + 1} losses {' '.join(f'{v:.3f}' for v in losses.tolist())}")
    save(path, encoder.state_dict())
    return encoder.state_dict()
