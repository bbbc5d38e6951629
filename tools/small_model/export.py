"""The parts of a model in official files, and such files read back."""

import copy
import json
import os
import shutil

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from tokenizers import Tokenizer

import t5
import train_dit
from tokenizer import write_json

DIT_FILE, T5_FILE, TOKENIZER = "diffusion_pytorch_model.safetensors", "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl"
LEAST_STD = 0.3      # of a latent channel before it is scaled: one that says nothing stays small instead of becoming noise


def as_dtype(model, dtype):
    return {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()}


def in_f32(state):
    return {k: v.float() for k, v in state.items()}


def sorted_header(data):
    """The same safetensors file with its header's keys in order: the library shuffles the metadata from run to run."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


def write_vae(path, form, vae, mean, std):
    """In F16, F32 would not fit the size limit; scaled so that the official statistics are right for latents of this mean and
    standard deviation."""
    folded = copy.deepcopy(vae)
    fold_statistics(form, folded, mean, std)
    torch.save(as_dtype(folded, torch.float16), path)


@torch.no_grad()
def fold_statistics(form, vae, mean, std):
    """Rewrite conv1 and conv2 so that latents with these channel statistics get the official mean and std."""
    n = form.vae.Z
    scale = form.vae.STD / std.clamp_min(LEAST_STD)
    shift = form.vae.MEAN - mean * scale
    w, b = vae.conv1.weight, vae.conv1.bias
    w[:n] *= scale.view(-1, 1, 1, 1, 1)
    b[:n] = b[:n] * scale + shift
    w, b = vae.conv2.weight, vae.conv2.bias
    w /= scale.view(1, -1, 1, 1, 1)
    b -= w[:, :, 0, 0, 0] @ shift


def read_vae(path, form):
    vae = form.vae.VAE(form.vae_base)
    vae.load_state_dict(in_f32(torch.load(path)))
    return vae.eval()


def write_text(folder, encoder, tokenizer_folder):
    shutil.copytree(tokenizer_folder, f"{folder}/{TOKENIZER}", dirs_exist_ok=True)
    torch.save(as_dtype(encoder, torch.bfloat16), f"{folder}/{T5_FILE}")


def read_text(folder):
    """Text encoder, and a function from text to token ids"""
    encoder = t5.Encoder()
    encoder.load_state_dict(in_f32(torch.load(f"{folder}/{T5_FILE}")))
    tokenizer = Tokenizer.from_file(f"{folder}/{TOKENIZER}/tokenizer.json")
    return encoder.eval(), lambda text: tokenizer.encode(text).ids


def write_dit(folder, form, dit):
    write_json(f"{folder}/config.json", {"_class_name": "WanModel", "_diffusers_version": "0.30.0", **form.size.config()})
    with open(f"{folder}/{DIT_FILE}", "wb") as f:
        f.write(sorted_header(to_bytes(as_dtype(dit, torch.bfloat16), {"format": "pt", **form.metadata})))


def read_dit(folder, form):
    """The transformer with the text encoder beside it"""
    model = train_dit.TextToVideo(form.size)
    model.t5 = read_text(folder)[0]
    model.dit.load_state_dict(in_f32(load_file(f"{folder}/{DIT_FILE}")))
    return model.eval()


def sizes(folder):
    files = [os.path.join(d, f) for d, _, names in os.walk(folder) for f in names]
    return {os.path.relpath(f, folder): os.path.getsize(f) for f in sorted(files)}
