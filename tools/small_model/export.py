"""Stage 5: write the trained parts as an official Wan2.1 checkpoint folder, and load such a folder back."""

import copy
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

import dit
import latents
import train_dit
import train_vae
import vae as vae_module
from tokenizer import write_json

DIT_FILE, VAE_FILE = "diffusion_pytorch_model.safetensors", "Wan2.1_VAE.pth"
# What the program takes as this model's defaults (docs/files.md); every other reader ignores it.
METADATA = {"format": "pt", "wan.size": "64x64", "wan.frames": "17", "wan.steps": "25", "wan.guidance": "3"}
T5_FILE, TOKENIZER = "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl"


def as_dtype(model, dtype):
    return {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()}


def sorted_header(data):
    """The same safetensors file with its header's keys in order: the library shuffles the metadata from run to run."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


def write(out, work, vae, model):
    """The VAE goes out in F16 (F32 would not fit the size limit), the rest in BF16."""
    shutil.copytree(f"{work}/tokenizer", f"{out}/{TOKENIZER}", dirs_exist_ok=True)
    write_json(f"{out}/config.json", {"_class_name": "WanModel", "_diffusers_version": "0.30.0", **dit.CONFIG})
    with open(f"{out}/{DIT_FILE}", "wb") as f:
        f.write(sorted_header(save(as_dtype(model.dit, torch.bfloat16), METADATA)))
    torch.save(as_dtype(model.t5, torch.bfloat16), f"{out}/{T5_FILE}")
    folded = copy.deepcopy(vae)
    vae_module.fold_statistics(folded, *latents.statistics(work))
    torch.save(as_dtype(folded, torch.float16), f"{out}/{VAE_FILE}")


def in_f32(state):
    return {k: v.float() for k, v in state.items()}


def load(folder):
    """The parts of a written folder, computing in F32: VAE, text-to-video model, tokenizer."""
    vae, model = vae_module.VAE(train_vae.BASE), train_dit.TextToVideo()
    vae.load_state_dict(in_f32(torch.load(f"{folder}/{VAE_FILE}")))
    model.t5.load_state_dict(in_f32(torch.load(f"{folder}/{T5_FILE}")))
    model.dit.load_state_dict(in_f32(load_file(f"{folder}/{DIT_FILE}")))
    return vae.eval(), model.eval(), Tokenizer.from_file(f"{folder}/{TOKENIZER}/tokenizer.json")


def sizes(folder):
    files = [os.path.join(d, f) for d, _, names in os.walk(folder) for f in names]
    return {os.path.relpath(f, folder): os.path.getsize(f) for f in sorted(files)}
