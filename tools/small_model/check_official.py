"""Compare a small model in the official code with this code, part by part.

    python tools/small_model/check_official.py --checkout Wan2.1 --model models/shapes-t2v
    python tools/small_model/check_official.py --checkout Wan2.2 --model models/shapes-ti2v

The checkout's classes are built with the small widths; its flash attention, which needs a GPU, is replaced by PyTorch's.
Everything computes in F32 on the CPU.
"""

import argparse
import importlib
import json
import sys
import types

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import export
import forms
import shapes
import t5
from train_dit import NEGATIVE

PROMPTS = ("a red circle moves to the right on a blue background", "a yellow square grows on a green background",
           "a white triangle moves up on a red background", "a blue circle moves to the left on a yellow background")
STRANGE = (NEGATIVE, "", "A photo of 3 cats, running (fast) in the snow!")


def form_of(folder):
    with open(f"{folder}/config.json", encoding="utf-8") as f:
        return {"t2v": forms.T2V, "ti2v": forms.TI2V}[json.load(f)["model_type"]]


def import_official(checkout, form):
    """The official modules without their packages' __init__ files, which import GPU-only pipelines."""
    for name in ("wan", "wan.modules", "wan.utils"):
        package = types.ModuleType(name)
        package.__path__ = [f"{checkout}/{name.replace('.', '/')}"]
        sys.modules[name] = package
    torch.cuda.current_device = lambda: "cpu"                        # a default argument in t5.py
    vae = "modules.vae2_2" if form is forms.TI2V else "modules.vae"
    names = ("modules.model", vae, "modules.t5", "modules.tokenizers", "utils.fm_solvers_unipc")
    model, *rest = (importlib.import_module("wan." + n) for n in names)
    model.flash_attention = plain_attention
    return model, *rest


def plain_attention(q, k, v, k_lens=None, **_):
    """[B, n, heads, d]; keys past k_lens are left out."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mask = None if k_lens is None else (torch.arange(k.shape[2]) < k_lens[:, None])[:, None, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


class Official:
    def __init__(self, folder, checkout):
        self.form = form = form_of(folder)
        model, vae, t5_module, tokenizers, self.solver = import_official(checkout, form)
        self.dit = model.WanModel(**form.size.config(), text_dim=t5.DIM)
        self.dit.load_state_dict(load_file(f"{folder}/{export.DIT_FILE}"))
        decoder = {"dec_dim": form.vae_base} if form is forms.TI2V else {}
        self.vae = vae.WanVAE_(dim=form.vae_base, z_dim=form.vae.Z, dim_mult=list(form.vae.MULT), num_res_blocks=2,
                               attn_scales=[], temperal_downsample=[False, True, True], **decoder)
        self.vae.load_state_dict(torch.load(f"{folder}/{form.vae_file}"))
        self.t5 = t5_module.T5Encoder(t5.VOCAB, t5.DIM, t5.DIM, t5.FFN, t5.HEADS, t5.LAYERS, t5.BUCKETS, shared_pos=False)
        self.t5.load_state_dict(torch.load(f"{folder}/{export.T5_FILE}"))
        self.tokenizer = tokenizers.HuggingfaceTokenizer(f"{folder}/{export.TOKENIZER}", seq_len=512, clean="whitespace")
        self.scale = [form.vae.MEAN, 1 / form.vae.STD]
        for part in (self.dit, self.vae, self.t5):
            part.float().eval()

    def text(self, prompt):
        """(token ids, context rows [n, 64])"""
        ids, mask = self.tokenizer([prompt], return_mask=True, add_special_tokens=True)
        n = int(mask.sum())
        return ids[0, :n].tolist(), self.t5(ids, mask)[0, :n]

    def velocity(self, x, t, rows):
        """t: the time of all tokens, or a list with that of each frame"""
        tokens = x.shape[2] * x.shape[3] // 4
        t = torch.tensor(t).repeat_interleave(tokens)[None] if isinstance(t, list) else torch.tensor([t])
        return self.dit([x], t=t, context=[rows], seq_len=x.shape[1] * tokens)[0]

    def noise(self, seed):
        return torch.randn(forms.latent_shape(self.form), generator=torch.Generator().manual_seed(seed))

    def generate(self, prompt, steps, guidance, shift, seed, picture=None):
        """[3, T, H, W]; picture [3, 1, H, W] in [-1, 1]"""
        solver = self.solver.FlowUniPCMultistepScheduler(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
        solver.set_timesteps(steps, device="cpu", shift=shift)
        text, null = self.text(prompt)[1], self.text(NEGATIVE)[1]
        x = self.noise(seed)
        first = None if picture is None else self.vae.encode(picture[None], self.scale)[0]
        for t in solver.timesteps:
            times = t
            if first is not None:
                x[:, :1] = first
                times = [t * (f > 0) for f in range(x.shape[1])]
            v, v_null = self.velocity(x, times, text), self.velocity(x, times, null)
            x = solver.step((v_null + guidance * (v - v_null))[None], t, x[None], return_dict=False)[0][0]
        if first is not None:
            x[:, :1] = first
        return self.vae.decode(x[None], self.scale)[0].clamp(-1, 1)


def report(what, ours, theirs):
    error = (ours - theirs).abs().max() / theirs.abs().max()
    print(f"{what}: largest difference {error:.1e} of the largest value")
    return error < 1e-4


def compare(official, folder):
    form = official.form
    model, (_, encode) = export.read_dit(folder, form), export.read_text(folder)
    vae = export.read_vae(f"{folder}/{form.vae_file}", form)
    frames = forms.latent_shape(form)[1]
    good = []
    for prompt in (*PROMPTS, *STRANGE):
        ids, rows = official.text(prompt)
        good.append(ids == encode(prompt))
        good.append(report(f"text, {len(ids)} tokens", model.t5(torch.tensor([ids]), torch.tensor([len(ids)]))[0], rows))
        x = official.noise(5)
        for t in (999, 500, 92):
            ours = model.dit(x[None], torch.tensor([[t]]), *model.context([ids]))[0]
            good.append(report(f"velocity at {t}", ours, official.velocity(x, t, rows)))
            if form.image:
                times = [0] + [t] * (frames - 1)
                ours = model.dit(x[None], torch.tensor([times]), *model.context([ids]))[0]
                good.append(report("the same, first frame given", ours, official.velocity(x, times, rows)))
    video = shapes.render(shapes.make_clip(0, form.room), form.pixels)[None]
    ours, theirs = vae.encode(video)[0], official.vae.encode(video, [torch.zeros(form.vae.Z), torch.ones(form.vae.Z)])
    good.append(report("latent", ours, theirs))
    good.append(report("video", vae.decode(ours), official.vae.decode(ours, [torch.zeros(form.vae.Z), torch.ones(form.vae.Z)])))
    return all(good)


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkout", required=True)
    p.add_argument("--model", required=True)
    args = p.parse_args()
    torch.set_num_threads(1)
    good = compare(Official(args.model, args.checkout), args.model)
    print("equal" if good else "NOT EQUAL")
    sys.exit(not good)


if __name__ == "__main__":
    main()
