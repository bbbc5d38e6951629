"""Stage 4: text encoder and transformer, trained together by flow matching on the coded clips."""

import os
import random
import time

import torch
from tokenizers import Tokenizer
from torch import nn

import dit
import latents
import muon
import shapes
import t5
import train_text
from train_vae import save

STEPS, BATCH, RATE, DECAY_FROM, WARMUP = 2400, 32, 2e-3, 0.7, 30
SHIFT = 5.0                              # of the sampler's noise levels; training draws the same distribution
DROP_NULL, DROP_EMPTY = 0.10, 0.02       # share of captions replaced by the negative prompt, by nothing
# The pipeline's default negative prompt after text cleaning; it is what guidance subtracts, so it is the null caption.
NEGATIVE = ("色调艳丽,过曝,静态,细节模糊不清,字幕,风格,作品,画作,画面,静止,整体发灰,最差质量,低质量,JPEG压缩残留,丑陋的,残缺的,"
            "多余的手指,画得不好的手部,画得不好的脸部,畸形的,毁容的,形态畸形的肢体,手指融合,静止不动的画面,杂乱的背景,三条腿,"
            "背景人很多,倒着走")


class TextToVideo(nn.Module):
    def __init__(self):
        super().__init__()
        self.t5 = t5.Encoder()
        self.dit = dit.DiT(t5.DIM)

    def context(self, ids):
        """A list of id lists -> what DiT.forward takes for the text."""
        lengths = torch.tensor([len(i) for i in ids])
        padded = nn.utils.rnn.pad_sequence([torch.tensor(i) for i in ids], batch_first=True)
        return self.dit.embed_text(self.t5(padded, lengths), lengths)

    def forward(self, x, t, ids):
        return self.dit(x, t, *self.context(ids))


def optimisers(model):
    """Muon for the transformer's square-ish matrices, Adam for everything else."""
    matrices = [p for n, p in model.dit.blocks.named_parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return (muon.Muon(matrices, lr=RATE),
            torch.optim.Adam(rest, lr=RATE, betas=(0.9, 0.98)))


def rate_at(step):
    decay = (STEPS - step) / (STEPS * (1 - DECAY_FROM))
    return RATE * min(1, (step + 1) / WARMUP, decay)


def shifted(u):
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def draw_batch(step, data, clips, encode):
    """The examples of a step: noisy latents, times, token ids, velocities."""
    r, g = random.Random(step), torch.Generator().manual_seed(step)
    chosen = [r.randrange(len(data)) for _ in range(BATCH)]
    ids = [encode(NEGATIVE if u < DROP_NULL else "" if u < DROP_NULL + DROP_EMPTY else shapes.rephrase(clips[i], r))
           for i, u in ((i, r.random()) for i in chosen)]
    x0 = data[chosen]
    noise = torch.randn(x0.shape, generator=g)
    even = (torch.arange(BATCH) + torch.rand(BATCH, generator=g)) / BATCH     # stratified: less variance
    sigma = shifted(even)[torch.randperm(BATCH, generator=g)]
    s = sigma.view(-1, 1, 1, 1, 1)
    return (1 - s) * x0 + s * noise, 1000 * sigma, ids, noise - x0


def restore(path, model, opts):
    if not os.path.exists(path):
        return 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    for opt, s in zip(opts, state["opts"]):
        opt.load_state_dict(s)
    return state["step"]


def train(work, tokenizer_folder, log):
    torch.manual_seed(2)
    model = TextToVideo()
    model.t5.load_state_dict(train_text.train(work, tokenizer_folder, log))
    opts = optimisers(model)
    path = f"{work}/dit.pt"
    step = restore(path, model, opts)
    mean, std = (v.view(-1, 1, 1, 1) for v in latents.statistics(work))
    data = (latents.load(work) - mean) / std                  # [clips, 16, 5, 8, 8]
    tok = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")
    clips = [shapes.make_clip(i) for i in range(len(data))]
    total, saved, start = 0.0, time.time(), time.time()
    while step < STEPS:
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = rate_at(step)
            opt.zero_grad()
        x, t, ids, v = draw_batch(step, data, clips, lambda text: tok.encode(text).ids)
        loss = (model(x, t, ids) - v).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        step, total = step + 1, total + loss.item()
        if step % 10 == 0:
            log(f"dit step {step} loss {total / 10:.4f} seconds {time.time() - start:.0f}")
            total = 0.0
        if time.time() - saved > 120 or step == STEPS:
            save(path, {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step})
            saved = time.time()
    return model.eval()
