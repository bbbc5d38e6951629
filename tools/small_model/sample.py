"""Videos from a model folder by the training code's own forward pass: python tools/small_model/sample.py --model DIR

Euler steps on the sampler's noise levels.  Writes a contact sheet, one prompt a row, and measures how well a set of
prompts is followed.
"""

import argparse
import itertools

import torch
from PIL import Image

import export
import shapes
import vae as vae_module
from train_dit import NEGATIVE, shifted

PROMPTS = ("a red circle moves to the right on a blue background", "a yellow square grows on a green background",
           "a white triangle moves up on a red background", "a blue circle moves to the left on a yellow background")
COLUMNS = (0, 4, 8, 12, 16)              # frames of a contact sheet


@torch.no_grad()
def generate(parts, prompts, steps, guidance, seed):
    """[B, 3, 17, 64, 64] in [-1, 1]."""
    vae, model, tok = parts
    n = len(prompts)
    ids = [tok.encode(p).ids for p in prompts] + [tok.encode(NEGATIVE).ids] * n
    context = model.context(ids)
    side = shapes.SIZE // 8
    x = torch.randn(n, vae_module.Z, 1 + shapes.FRAMES // 4, side, side, generator=torch.Generator().manual_seed(seed))
    sigmas = shifted(torch.linspace(1, 0, steps + 1))
    for sigma, after in zip(sigmas, sigmas[1:]):
        v, v_null = model.dit(x.repeat(2, 1, 1, 1, 1), (1000 * sigma).expand(2 * n), *context).chunk(2)
        x = x + (after - sigma) * (v_null + guidance * (v - v_null))
    mean, std = (c.view(-1, 1, 1, 1) for c in (vae_module.MEAN, vae_module.STD))
    return vae.decode(x * std + mean).clamp(-1, 1)


def sheet(videos, path):
    rows = [torch.cat([v[:, t] for t in COLUMNS], 2) for v in videos]
    pixels = ((torch.cat(rows, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), Image.NEAREST).save(path)


def nearest_colour(pixels):
    """Name of the palette colour nearest to the median of [3, N] pixels."""
    median = pixels.median(1).values
    return min(shapes.COLOURS, key=lambda c: (torch.tensor(shapes.COLOURS[c]) / 127.5 - 1 - median).square().sum())


def score(video, colour, back):
    """(shape colour right, background right): the shape is what differs from the corners most."""
    edge = torch.cat([video[:, :, y, x] for y, x in itertools.product((0, -1), (0, -1))], 1)
    ground = edge.median(1).values
    flat = video[:, ::4].reshape(3, -1)
    far = (flat - ground[:, None]).square().sum(0)
    inside = flat[:, far > 0.5 * far.max()]
    return nearest_colour(inside) == colour, nearest_colour(edge) == back


def measure(parts, steps, guidance):
    """Share of right shape and background colours over all colour pairs, shapes and motions in turn."""
    pairs = list(itertools.permutations(shapes.COLOURS, 2))
    kinds, verbs = itertools.cycle(shapes.SHAPES), itertools.cycle(m[3][0] for m in shapes.MOTIONS.values())
    prompts = [f"a {c} {next(kinds)} {next(verbs)} on a {b} background" for c, b in pairs]
    videos = torch.cat([generate(parts, prompts[i:i + 6], steps, guidance, 100 + i) for i in range(0, len(pairs), 6)])
    hits = [score(v, c, b) for v, (c, b) in zip(videos, pairs)]
    return [sum(h) / len(hits) for h in zip(*hits)]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True)
    p.add_argument("--sheet", required=True, help="PNG to write")
    p.add_argument("--steps", type=int, default=25)
    p.add_argument("--guidance", type=float, default=3.0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--measure", action="store_true", help="also score the 30 colour pairs")
    args = p.parse_args()
    torch.set_num_threads(1)
    parts = export.load(args.model)
    sheet(generate(parts, PROMPTS, args.steps, args.guidance, args.seed), args.sheet)
    if args.measure:
        colour, back = measure(parts, args.steps, args.guidance)
        print(f"shape colour {colour:.2f}, background colour {back:.2f}")


if __name__ == "__main__":
    main()
