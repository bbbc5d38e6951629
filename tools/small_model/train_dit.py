"""Transformers, and with the first one the text encoder, trained by flow matching on coded clips."""

import os
import random
import time
from dataclasses import dataclass

import torch
from torch import nn

import dit
import muon
import shapes
import t5
from files import save

SHIFT = 5.0                              # of the sampler's noise levels; training draws the same distribution
DROP_NULL, DROP_EMPTY = 0.10, 0.02       # share of captions replaced by the negative prompt, by nothing
# The pipeline's default negative prompt after text cleaning; it is what guidance subtracts, so it is the null caption.
NEGATIVE = ("色调艳丽,过曝,静态,细节模糊不清,字幕,风格,作品,画作,画面,静止,整体发灰,最差质量,低质量,JPEG压缩残留,丑陋的,残缺的,"
            "多余的手指,画得不好的手部,画得不好的脸部,畸形的,毁容的,形态畸形的肢体,手指融合,静止不动的画面,杂乱的背景,三条腿,"
            "背景人很多,倒着走")


@dataclass(frozen=True)
class Plan:
    """A run of training: learning rate warms up, holds, and falls to zero from the share `decay_from` of the steps on."""
    steps: int
    batch: int
    rate: float
    decay_from: float
    text: bool               # train the text encoder too
    templates: tuple = shapes.TEMPLATES
    warmup: int = 30

    def rate_at(self, step):
        decay = (self.steps - step) / (self.steps * (1 - self.decay_from))
        return self.rate * min(1, (step + 1) / self.warmup, decay)


class TextToVideo(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.t5 = t5.Encoder()
        self.dit = dit.DiT(size)

    def context(self, ids):
        """A list of id lists -> what DiT.forward takes for the text."""
        lengths = torch.tensor([len(i) for i in ids])
        padded = nn.utils.rnn.pad_sequence([torch.tensor(i) for i in ids], batch_first=True)
        return self.dit.embed_text(self.t5(padded, lengths), lengths)

    def forward(self, x, t, ids):
        return self.dit(x, t, *self.context(ids))


def optimisers(model, plan):
    """Muon for the transformer's square-ish matrices, Adam for everything else."""
    matrices = [p for n, p in model.dit.blocks.named_parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen and p.requires_grad]
    return (muon.Muon(matrices, lr=plan.rate),
            torch.optim.Adam(rest, lr=plan.rate, betas=(0.9, 0.98)))


def shifted(u):
    return SHIFT * u / (1 + (SHIFT - 1) * u)


@dataclass
class Batch:
    x: torch.Tensor          # noisy latents [B, C, F, h, w]
    t: torch.Tensor          # times [B, F] of the frames, or [B, 1]
    texts: list
    v: torch.Tensor          # velocities, like x
    weight: torch.Tensor     # [B, 1, F, 1, 1] or a plain one: what of v counts


def draw_batch(step, plan, image, clips, data):
    """The examples of a step; a share `image` of them with a clean first frame, as the TI2V pipeline gives it."""
    r, g = random.Random(step), torch.Generator().manual_seed(step)
    size = plan.batch
    chosen = [r.randrange(len(data)) for _ in range(size)]
    drops = [r.random() for _ in chosen]
    texts = [NEGATIVE if u < DROP_NULL else "" if u < DROP_NULL + DROP_EMPTY else shapes.rephrase(clips[i], r, plan.templates)
             for i, u in zip(chosen, drops)]
    x0 = data[chosen]
    noise = torch.randn(x0.shape, generator=g)
    even = (torch.arange(size) + torch.rand(size, generator=g)) / size           # stratified: less variance
    sigma = shifted(even)[torch.randperm(size, generator=g)][:, None]            # [B, 1]
    weight = torch.ones(())
    if image:
        given = torch.rand(size, generator=g) < image
        free = torch.ones(size, x0.shape[2])
        free[given, 0] = 0
        sigma = sigma * free
        weight = free[:, None, :, None, None] * (free.numel() / free.sum())
    s = sigma[:, None, :, None, None]
    return Batch((1 - s) * x0 + s * noise, 1000 * sigma, texts, noise - x0, weight)


def restore(path, model, opts):
    """The step to go on with"""
    if not os.path.exists(path):
        return 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    for opt, s in zip(opts, state["opts"]):
        opt.load_state_dict(s)
    return state["step"]


def train(path, form, plan, model, stock, encode, log):
    """Train the model in place; state is kept in `path`.  stock(step) gives clips and latents, encode(text) ids."""
    model.t5.requires_grad_(plan.text)
    opts = optimisers(model, plan)
    step = restore(path, model, opts)
    losses, saved, start = [], time.time(), time.time()
    while step < plan.steps:
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = plan.rate_at(step)
            opt.zero_grad()
        batch = draw_batch(step, plan, form.image, *stock(step))
        error = model(batch.x, batch.t, [encode(text) for text in batch.texts]) - batch.v
        loss = (error.square() * batch.weight).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        step += 1
        losses.append(loss.item())
        if step % 20 == 0:
            log(f"{os.path.basename(path)} step {step} loss {sum(losses) / len(losses):.4f} seconds {time.time() - start:.0f}")
            losses.clear()
        if time.time() - saved > 90 or step == plan.steps:
            save(path, {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step})
            saved = time.time()
    return model.eval()
