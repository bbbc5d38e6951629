"""Does the program make the same video as the official code? Same folder, prompt and seed, from prompt to 8-bit frames.

    python tools/small_model/same_video.py --checkout Wan2.1 --model models/shapes-t2v --wan build/cli/wan [--golden FILE]
    python tools/small_model/same_video.py --checkout Wan2.2 --model models/shapes-ti2v --wan build/cli/wan [--golden FILE]

Prints the PSNR of the program's frames (float32, and the default bf16) against those of the official classes, computing in
float32; a model that takes a picture is given one. --golden keeps the official frames of the first prompt, uint8 [T, H, W, 3],
for tests/model/test_small.c, --picture the picture that it began with.
"""

import argparse
import math
import sys

import torch
from PIL import Image
from safetensors.numpy import save_file

import check_official
import measure
import shapes

STEPS, GUIDANCE, SHIFT, SEED = 20, 5.0, 5.0, 7


def picture_for(form, prompt):
    """uint8 [H, W, 3]: the shape and the colours of the prompt, at rest in the middle; None for text alone"""
    if not form.image:
        return None
    words = prompt.split()
    clip = shapes.Clip(words[2], words[1], words[-2], "still", prompt, (32, 32, 10), (32, 32, 10))
    return measure.to_frames(shapes.render(clip, form.pixels, 0, 1))[0]


def official_frames(official, prompt, picture):
    """uint8 [frames, height, width, 3], as the official program hands them to the video writer"""
    first = None if picture is None else measure.to_video(picture[None])
    video = official.generate(prompt, STEPS, GUIDANCE, SHIFT, SEED, first)
    return ((video + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous().numpy()


def program_frames(args, prompt, picture, precision):
    options = ["--steps", str(STEPS), "--guidance", str(GUIDANCE), "--shift", str(SHIFT), "--precision", precision]
    run = argparse.Namespace(wan=args.wan, model=args.model, options=options)
    return measure.generate(run, measure.Sample((), prompt, SEED, picture))


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkout", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--wan", required=True, help="the program")
    p.add_argument("--golden", help="safetensors file to write")
    p.add_argument("--picture", help="PNG file to write")
    args = p.parse_args()
    torch.set_num_threads(1)
    official = check_official.Official(args.model, args.checkout)
    worst = math.inf
    for i, prompt in enumerate(check_official.PROMPTS):
        picture = picture_for(official.form, prompt)
        want = official_frames(official, prompt, picture)
        got = {k: measure.psnr(program_frames(args, prompt, picture, k), want) for k in ("f32", "bf16")}
        print(f"{prompt}: " + ", ".join(f"{k} {v:.1f} dB" for k, v in got.items()), flush=True)
        worst = min(worst, got["f32"])
        if i == 0 and args.golden:
            save_file({"frames": want}, args.golden, {"prompt": prompt, "seed": str(SEED), "steps": str(STEPS)})
        if i == 0 and args.picture:
            Image.fromarray(picture).save(args.picture)
    sys.exit(worst < 45)


if __name__ == "__main__":
    main()
