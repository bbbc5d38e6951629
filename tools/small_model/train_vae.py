"""The autoencoders, grown from images to whole clips."""

import math
import os
import time
from dataclasses import dataclass

import torch

import muon
import recognise
import shapes
from files import save

WARMUP = 20                              # steps at the start of a phase
KL_WEIGHT = 1e-4


@dataclass(frozen=True)
class Phase:
    frames: int
    window: int              # pixels
    batch: int
    steps: int
    first_rate: float        # learning rate at the start and at the end
    last_rate: float
    muon: bool = False       # for the kernels of the inner layers, instead of Adam for all

    def rate_at(self, step):
        rate = self.first_rate + (self.last_rate - self.first_rate) * step / self.steps
        return rate * min(1, (step + 1) / WARMUP)


def phase_at(phases, step):
    """The phase of a global step and the step within it, or None past the end."""
    for phase in phases:
        if step < phase.steps:
            return phase, step
        step -= phase.steps
    return None


def optimisers(model, with_muon):
    inner = [p for n, p in model.named_parameters() if with_muon and p.ndim > 3 and ("samples" in n or "middle" in n)]
    chosen = {id(p) for p in inner}
    adam = torch.optim.Adam([p for p in model.parameters() if id(p) not in chosen], lr=0, betas=(0.9, 0.99))
    return [adam, muon.Muon(inner, lr=0)] if inner else [adam]


def loss_of(model, x, seed):
    noise = torch.Generator().manual_seed(seed)
    mean, logvar = model.encode(x)
    logvar = logvar.clamp(-20, 10)
    z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=noise)
    y = model.decode(z)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    error = (y - x).square().mean()
    return (y - x).abs().mean() + 2 * error + KL_WEIGHT * kl, error.item(), kl.item()


def psnr(mse):
    return 10 * math.log10(4 / mse)      # the value range is 2


def train(form, path, log):
    """The trained autoencoder; state is kept in `path`."""
    torch.manual_seed(1)
    model = form.vae.VAE(form.vae_base)
    state = torch.load(path) if os.path.exists(path) else {"step": 0, "muon": None}
    step, kind, opts = state["step"], None, []
    if step:
        model.load_state_dict(state["model"])
    saved = start = time.time()
    while (at := phase_at(form.vae_phases, step)):
        phase, inside = at
        if phase.muon != kind:                                       # another optimiser, or the first after a start
            kind, opts = phase.muon, optimisers(model, phase.muon)
            if state["muon"] == kind:
                for opt, s in zip(opts, state["opts"]):
                    opt.load_state_dict(s)
            state["muon"] = None
        x = shapes.random_batch(step, phase.batch, phase.frames, phase.window, form.pixels)
        loss, mse, kl = loss_of(model, x, step)
        for opt in opts:
            opt.param_groups[0]["lr"] = phase.rate_at(inside)
            opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        step += 1
        if step % 20 == 0:
            log(f"{os.path.basename(path)} step {step} frames {phase.frames} window {phase.window} loss {loss.item():.4f} "
                f"psnr {psnr(mse):.2f} kl {kl:.2f} seconds {time.time() - start:.0f}")
        if time.time() - saved > 90 or phase_at(form.vae_phases, step) is None:
            save(path, {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "muon": kind, "step": step})
            saved = time.time()
    return model.eval()


@torch.no_grad()
def evaluate(form, model, n=40):
    """A line on unseen clips, coded and decoded: PSNR over all their frames, over the first frames, what is recognised."""
    squares, firsts, rows = 0.0, 0.0, []
    for i in range(0, n, 2):
        clips = [shapes.make_clip(k, form.room, held=True) for k in (i, i + 1)]
        x = torch.stack([shapes.render(c, form.pixels) for c in clips])
        y = model.decode(model.encode(x)[0]).clamp(-1, 1)
        squares += (y - x).square().mean().item()
        firsts += (y - x)[:, :, 0].square().mean().item()
        rows += [recognise.hits(v, c.facts()) for v, c in zip(y, clips)]
    return (f"{n} unseen clips decoded: {psnr(squares * 2 / n):.1f} dB, first frames {psnr(firsts * 2 / n):.1f} dB; "
            f"{recognise.table(rows)}")
