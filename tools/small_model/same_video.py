"""Does the program make the same video as the official code? Same folder, prompt and seed, from prompt to 8-bit frames.

    python tools/small_model/same_video.py --checkout Wan2.1 --model models/shapes-t2v --wan build/cli/wan [--golden FILE]

Prints the PSNR of the program's frames (float32, and the default bf16) against those of the official classes, computing in
float32. --golden keeps the official frames of the first prompt, uint8 [17, 64, 64, 3], for tests/model/test_small.c.
"""

import argparse
import math
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

import check_official
import sample

STEPS, GUIDANCE, SHIFT, SEED = 20, 5.0, 5.0, 7


def official_frames(official, prompt):
    """uint8 [frames, height, width, 3], as the official program hands them to the video writer"""
    video = official.generate(prompt, STEPS, GUIDANCE, SHIFT, SEED)
    return ((video + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous().numpy()


def program_frames(wan, model, prompt, precision, n):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([wan, "generate", "-m", model, "--prompt", prompt, "--size", "64x64", "--frames", str(n), "--steps",
                        str(STEPS), "--guidance", str(GUIDANCE), "--shift", str(SHIFT), "--seed", str(SEED), "--precision",
                        precision, "--quiet", "-o", f"{folder}/%03d.png"], check=True)
        return np.stack([np.asarray(Image.open(f"{folder}/{i:03d}.png")) for i in range(n)])


def psnr(a, b):
    mse = np.mean((a.astype(np.float64) - b)**2)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkout", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--wan", required=True, help="the program")
    p.add_argument("--golden", help="safetensors file to write")
    args = p.parse_args()
    official = check_official.Official(args.model, check_official.import_official(args.checkout))
    worst = math.inf
    for i, prompt in enumerate(sample.PROMPTS):
        want = official_frames(official, prompt)
        got = {k: psnr(program_frames(args.wan, args.model, prompt, k, len(want)), want) for k in ("f32", "bf16")}
        print(f"{prompt}: " + ", ".join(f"{k} {v:.1f} dB" for k, v in got.items()), flush=True)
        worst = min(worst, got["f32"])
        if i == 0 and args.golden:
            save_file({"frames": want}, args.golden, {"prompt": prompt, "seed": str(SEED), "steps": str(STEPS)})
    sys.exit(worst < 45)


if __name__ == "__main__":
    main()
