"""How well does a small model do what the prompt says?  Asked of the program itself, and judged by recognise.py.

    python tools/small_model/measure.py --wan build/cli/wan --model models/shapes-t2v
    python tools/small_model/measure.py --wan build/cli/wan --model models/shapes-ti2v --images

Prompts are of combinations of shape, colours and motion that no training clip had.  With --images the first frame is given too:
half of the pictures begin a clip as training clips do, half have the shape in the middle, where nothing but the prompt tells
where it goes.
"""

import argparse
import glob
import math
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

import forms
import recognise
import shapes


@dataclass
class Sample:
    facts: tuple
    prompt: str
    seed: int
    picture: np.ndarray | None = None    # uint8 [H, W, 3], the given first frame


def to_frames(video):
    """[3, T, H, W] in [-1, 1] -> uint8 [T, H, W, 3]"""
    return ((video + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()


def to_video(frames):
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def generate(args, sample):
    """uint8 [T, H, W, 3], from the program with the model's own defaults"""
    with tempfile.TemporaryDirectory() as folder:
        command = [args.wan, "generate", "-m", args.model, "--prompt", sample.prompt, "--seed", str(sample.seed),
                   "--threads", "1", "--quiet", "-o", f"{folder}/%03d.png", *args.options]
        if sample.picture is not None:
            Image.fromarray(sample.picture).save(f"{folder}/first.png")
            command += ["--image", f"{folder}/first.png"]
        subprocess.run(command, check=True)
        return np.stack([np.asarray(Image.open(p)) for p in sorted(glob.glob(f"{folder}/[0-9]*.png"))])


def text_samples(n, seen):
    """Every held-out combination in turn (or, with seen, combinations of the training clips), in changing words."""
    r = random.Random(1)
    facts = shapes.combinations(not seen)
    r.shuffle(facts)
    return [Sample(f := facts[i % len(facts)], shapes.caption_of(f, shapes.TEMPLATES[r.randrange(len(shapes.TEMPLATES))]), i)
            for i in range(n)]


def in_the_middle(clip, r):
    """The clip with its shape starting near the middle."""
    x, y, radius = clip.start
    clip.start = (32 + r.uniform(-3, 3), 32 + r.uniform(-3, 3) + (radius / 3 if clip.shape == "triangle" else 0), 10.0)
    return clip


def image_samples(n, pixels, room):
    r = random.Random(2)
    samples = []
    for i in range(n):
        clip = shapes.make_clip(i, room, held=True)
        if i % 2:
            clip = in_the_middle(clip, r)
        samples.append(Sample(clip.facts(), clip.caption, i, to_frames(shapes.render(clip, pixels, 0, 1))[0]))
    return samples


def psnr(a, b):
    mse = np.mean((a.astype(np.float64) - b)**2)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def rounds(rows):
    return f"mean {np.mean(rows):.3f}, largest {np.max(rows):.3f}"


def judge(name, samples, videos):
    """Print what is right, by every measure that applies."""
    facts = [s.facts for s in samples]
    seen = [recognise.look(to_video(v)) for v in videos]
    print(f"{name}: {recognise.table([recognise.right(a, f) for a, f in zip(seen, facts)])}")
    shuffled = facts[:]
    random.Random(3).shuffle(shuffled)
    print(f"  captions shuffled: {recognise.table([recognise.right(a, f) for a, f in zip(seen, shuffled)])}")
    print(f"  dip or flash (of 1): {rounds([recognise.flash(to_video(v)) for v in videos])}")
    if samples[0].picture is not None:
        kept = [psnr(v[0], s.picture) for v, s in zip(videos, samples)]
        print(f"  first frame against the picture: mean {np.mean(kept):.1f} dB, lowest {min(kept):.1f} dB, "
              f"{100 * np.mean(np.array(kept) >= 30):.0f} % at 30 dB or more")
    sys.stdout.flush()
    return seen


def all_of(args, samples):
    with ThreadPoolExecutor(args.jobs) as pool:
        return list(pool.map(lambda s: generate(args, s), samples))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--wan", required=True, help="the program")
    p.add_argument("--model", required=True)
    p.add_argument("--samples", type=int, default=252)
    p.add_argument("--images", action="store_true", help="give the first frame")
    p.add_argument("--seen", action="store_true", help="prompts of the training combinations instead")
    p.add_argument("--failures", action="store_true", help="list what was not right")
    p.add_argument("--jobs", type=int, default=1, help="runs at once")
    p.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="more options of wan generate")
    args = p.parse_args()
    torch.set_num_threads(1)
    if args.images:
        samples = image_samples(args.samples, forms.TI2V.pixels, forms.TI2V.room)
    else:
        samples = text_samples(args.samples, args.seen)
    videos = all_of(args, samples)
    if args.images:
        judge("clips begun", samples[::2], videos[::2])
        judge("shape in the middle", samples[1::2], videos[1::2])
    seen = judge("first frame given" if args.images else "text alone", samples, videos)
    for s, a in zip(samples, seen):
        if args.failures and not all(recognise.right(a, s.facts)):
            print(f"  {s.prompt!r}, seed {s.seed}: {a}")


if __name__ == "__main__":
    main()
