"""Stage 1: the autoencoder, grown from images to whole clips."""

import math
import os
import time

import torch

import shapes
import vae as vae_module

BASE = 16
# frames, window, batch, steps, learning rate at start and end of the phase.  Small windows of many clips teach more per
# second than few whole frames; a batch of at least 2 keeps PyTorch on its fast 3D convolution.
PHASES = ((1, 32, 16, 1200, 2e-3, 1.5e-3), (5, 32, 8, 500, 1.5e-3, 1.2e-3), (9, 32, 6, 450, 1.2e-3, 1e-3),
          (17, 32, 4, 300, 1e-3, 4e-4), (17, 64, 2, 60, 4e-4, 5e-5))
WARMUP = 20                              # steps at the start of a phase
KL_WEIGHT = 1e-4


def phase_at(step):
    """(frames, window, batch, learning rate) of a global step, or None past the end."""
    for frames, window, batch, steps, lr0, lr1 in PHASES:
        if step < steps:
            lr = lr0 + (lr1 - lr0) * step / steps
            return frames, window, batch, lr * min(1, (step + 1) / WARMUP)
        step -= steps
    return None


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


def save(path, state):
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)      # a kill never leaves half a file


def train(work, log):
    torch.manual_seed(1)
    model = vae_module.VAE(BASE)
    opt = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    path, step = f"{work}/vae.pt", 0
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        step = state["step"]
    saved = start = time.time()
    while (phase := phase_at(step)):
        frames, window, batch, lr = phase
        for group in opt.param_groups:
            group["lr"] = lr
        loss, mse, kl = loss_of(model, shapes.random_batch(step, batch, frames, window), step)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        step += 1
        if step % 20 == 0:
            log(f"vae step {step} frames {frames} window {window} loss {loss.item():.4f} psnr {psnr(mse):.2f} "
                f"kl {kl:.2f} seconds {time.time() - start:.0f}")
        if time.time() - saved > 120 or phase_at(step) is None:
            save(path, {"model": model.state_dict(), "opt": opt.state_dict(), "step": step})
            saved = time.time()
    return model.eval()


@torch.no_grad()
def evaluate(model, clips=8):
    """PSNR in dB of whole unseen clips, averaged over the clips' squared errors."""
    x = torch.stack([shapes.render(shapes.make_clip(-1 - i)) for i in range(clips)])
    y = torch.cat([model.decode(model.encode(part)[0]).clamp(-1, 1) for part in x.split(2)])
    return psnr((y - x).square().mean().item()), x, y
