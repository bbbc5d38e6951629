"""Compare a model folder in the official Wan2.1 code with this code, and sample through the official scheduler.

    python tools/small_model/check_official.py --checkout Wan2.1 --model models/shapes-t2v --sheet sheet.png

The checkout's classes are built with the small widths; its flash attention, which needs a GPU, is replaced by PyTorch's.
Everything computes in F32 on the CPU.
"""

import argparse
import importlib
import sys
import types

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import dit
import export
import sample
import shapes
import t5
import train_vae
import vae as vae_module
from train_dit import NEGATIVE


def import_official(checkout):
    """The official modules without their packages' __init__ files, which import GPU-only pipelines."""
    for name in ("wan", "wan.modules", "wan.utils"):
        package = types.ModuleType(name)
        package.__path__ = [f"{checkout}/{name.replace('.', '/')}"]
        sys.modules[name] = package
    torch.cuda.current_device = lambda: "cpu"                        # a default argument in t5.py
    names = ("modules.model", "modules.vae", "modules.t5", "modules.tokenizers", "utils.fm_solvers_unipc")
    model, *rest = (importlib.import_module("wan." + n) for n in names)
    model.flash_attention = plain_attention
    return model, *rest


def plain_attention(q, k, v, k_lens=None, **_):
    """[B, n, heads, d]; keys past k_lens are left out."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mask = None if k_lens is None else (torch.arange(k.shape[2]) < k_lens[:, None])[:, None, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


class Official:
    def __init__(self, folder, modules):
        model, vae, t5_module, tokenizers, self.solver = modules
        self.dit = model.WanModel(**dit.CONFIG, text_dim=t5.DIM)
        self.dit.load_state_dict(load_file(f"{folder}/{export.DIT_FILE}"))
        self.vae = vae.WanVAE_(dim=train_vae.BASE, z_dim=vae_module.Z, dim_mult=list(vae_module.MULT), num_res_blocks=2,
                               attn_scales=[], temperal_downsample=[False, True, True])
        self.vae.load_state_dict(torch.load(f"{folder}/{export.VAE_FILE}"))
        self.t5 = t5_module.T5Encoder(t5.VOCAB, t5.DIM, t5.DIM, t5.FFN, t5.HEADS, t5.LAYERS, t5.BUCKETS, shared_pos=False)
        self.t5.load_state_dict(torch.load(f"{folder}/{export.T5_FILE}"))
        self.tokenizer = tokenizers.HuggingfaceTokenizer(f"{folder}/{export.TOKENIZER}", seq_len=512, clean="whitespace")
        self.scale = [vae_module.MEAN, 1 / vae_module.STD]
        for part in (self.dit, self.vae, self.t5):
            part.float().eval()

    def text(self, prompt):
        """(token ids, context rows [n, 64])"""
        ids, mask = self.tokenizer([prompt], return_mask=True, add_special_tokens=True)
        n = int(mask.sum())
        return ids[0, :n].tolist(), self.t5(ids, mask)[0, :n]

    def velocity(self, x, t, rows):
        return self.dit([x], t=torch.tensor([t]), context=[rows], seq_len=x.shape[1] * x.shape[2] * x.shape[3] // 4)[0]

    def generate(self, prompt, steps, guidance, shift, seed):
        solver = self.solver.FlowUniPCMultistepScheduler(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
        solver.set_timesteps(steps, device="cpu", shift=shift)
        text, null = self.text(prompt)[1], self.text(NEGATIVE)[1]
        x = torch.randn(16, 5, 8, 8, generator=torch.Generator().manual_seed(seed))
        for t in solver.timesteps:
            v, v_null = self.velocity(x, t, text), self.velocity(x, t, null)
            x = solver.step((v_null + guidance * (v - v_null))[None], t, x[None], return_dict=False)[0][0]
        return self.vae.decode(x[None], self.scale)[0].clamp(-1, 1)


def report(what, ours, theirs):
    error = (ours - theirs).abs().max() / theirs.abs().max()
    print(f"{what}: largest difference {error:.1e} of the largest value")
    return error < 1e-4


def compare(official, parts):
    vae, model, tok = parts
    good = []
    for prompt in (*sample.PROMPTS, NEGATIVE, "", "A photo of 3 cats, running (fast) in the snow!"):
        ids, rows = official.text(prompt)
        good.append(ids == tok.encode(prompt).ids)
        good.append(report(f"text, {len(ids)} tokens", model.t5(torch.tensor([ids]), torch.tensor([len(ids)]))[0], rows))
        x = torch.randn(16, 5, 8, 8, generator=torch.Generator().manual_seed(5))
        for t in (999, 500, 92):
            ours = model.dit(x[None], torch.tensor([t]), *model.context([ids]))[0]
            good.append(report(f"velocity at {t}", ours, official.velocity(x, t, rows)))
    video = shapes.render(shapes.make_clip(-1))[None]
    ours, theirs = vae.encode(video)[0], official.vae.encode(video, [torch.zeros(16), torch.ones(16)])
    good.append(report("latent", ours, theirs))
    good.append(report("video", vae.decode(ours), official.vae.decode(ours, [torch.zeros(16), torch.ones(16)])))
    return all(good)


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--checkout", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--sheet", help="PNG of four videos sampled with the official scheduler")
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--guidance", type=float, default=5.0)
    args = p.parse_args()
    torch.set_num_threads(1)
    official = Official(args.model, import_official(args.checkout))
    good = compare(official, export.load(args.model))
    print("equal" if good else "NOT EQUAL")
    if args.sheet:
        videos = [official.generate(prompt, args.steps, args.guidance, 5.0, 0) for prompt in sample.PROMPTS]
        sample.sheet(videos, args.sheet)
    sys.exit(not good)


if __name__ == "__main__":
    main()
