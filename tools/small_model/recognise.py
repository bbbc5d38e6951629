"""What is seen in a clip?  A plain recogniser of shape, colour, background and motion; nothing in it is trained.

    python tools/small_model/recognise.py        counts how often it is right on generated clips
"""

import math
from dataclasses import dataclass

import torch

import shapes

PALETTE = torch.tensor(list(shapes.COLOURS.values())).float() / 127.5 - 1          # [6, 3]
NAMES = list(shapes.COLOURS)
MOVES, SWELLS = 8.0, 0.25       # of 64 units between first and last frame; of the logarithm of the radius
EMPTY = 20                      # a shape covers at least so many square units (of 4096) in every frame


@dataclass
class Seen:
    shape: str
    colour: str
    back: str
    motion: str

    def facts(self):
        return self.shape, self.colour, self.back, self.motion


def nearest(pixels):
    """[3, ...] -> index into the palette of the nearest colour, [...]"""
    flat = pixels.flatten(1).T
    return torch.cdist(flat, PALETTE).argmin(1).view(pixels.shape[1:])


def border(video):
    """The outermost pixels of every frame, [3, N]"""
    edges = video[..., 0, :], video[..., -1, :], video[..., 0], video[..., -1]
    return torch.cat([e.flatten(1) for e in edges], 1)


def commonest(index):
    return int(torch.bincount(index.flatten(), minlength=len(NAMES)).argmax())


def shape_of(mask, x, y, area):
    """Index of the shape whose outline of the same area and centre covers the mask best, summed over the frames."""
    pixels = mask.shape[-1]
    # area / radius^2 of each shape, and how far the centre of mass lies above the centre the renderer knows
    size = {"circle": math.pi, "square": (2 * 0.92)**2, "triangle": 3 * 3**0.5 * 0.72**2}
    scores = []
    for name in shapes.SHAPES:
        radius = (area / size[name]).sqrt().view(-1, 1, 1)
        ideal = shapes.cover_of(name, x.view(-1, 1, 1), y.view(-1, 1, 1), radius, 0, 0, pixels, pixels)
        scores.append((torch.minimum(mask, ideal).sum((1, 2)) / torch.maximum(mask, ideal).sum((1, 2))).sum())
    return max(range(len(scores)), key=scores.__getitem__)


def slope(values):
    """Change over the whole clip of the straight line through the values."""
    t = torch.linspace(-0.5, 0.5, len(values))
    return float((values * t).sum() / t.square().sum())


def motion_of(x, y, area):
    dx, dy, swell = slope(x), slope(y), slope(area.log() / 2)
    moves = {"right": dx, "left": -dx, "up": -dy, "down": dy}
    name = max(moves, key=moves.get)
    travels, swells = moves[name] > MOVES, abs(swell) > SWELLS
    across = abs(dy) if name in ("right", "left") else abs(dx)
    if travels and not swells and across < moves[name] / 2:
        return name
    if swells and not travels:
        return "grow" if swell > 0 else "shrink"
    return "still" if not travels and not swells else "unclear"


def look(video):
    """[3, T, H, W] in [-1, 1] -> what is seen; None where there is no shape in some frame."""
    index = nearest(video)
    back = commonest(nearest(border(video)))
    others = index[index != back]
    if not len(others):
        return None
    colour = commonest(others)
    fore, ground = PALETTE[colour], PALETTE[back]
    axis = (fore - ground) / (fore - ground).square().sum()
    mask = ((video - ground.view(3, 1, 1, 1)) * axis.view(3, 1, 1, 1)).sum(0).clamp(0, 1)        # [T, H, W]
    mask = torch.where(mask > 0.25, mask, 0)
    unit = shapes.UNITS / video.shape[-1]
    mass = mask.sum((1, 2))
    if float(mass.min()) * unit**2 < EMPTY:
        return None
    at = (torch.arange(video.shape[-1]) + 0.5) * unit
    x, y = (mask.sum(1) * at).sum(1) / mass, (mask.sum(2) * at).sum(1) / mass
    area = mass * unit**2
    return Seen(shapes.SHAPES[shape_of(mask, x, y, area)], NAMES[colour], NAMES[back], motion_of(x, y, area))


def right(seen, facts):
    """Which of shape, colour, background and motion are right: four booleans."""
    return [False] * 4 if seen is None else [a == b for a, b in zip(seen.facts(), facts)]


def hits(video, facts):
    return right(look(video), facts)


def flash(video):
    """The largest dip or flash: how far a frame's mean colour is from the middle of its neighbours', of the range 0 to 1."""
    mean = (video.mean((2, 3)) + 1) / 2                              # [3, T]
    return float((mean[:, 1:-1] - (mean[:, :-2] + mean[:, 2:]) / 2).abs().max())


def table(rows):
    """Shares of right answers in per cent, from a list of four booleans each."""
    n = len(rows)
    names = ("shape", "colour", "background", "motion")
    parts = [f"{name} {100 * sum(r[k] for r in rows) / n:.1f}" for k, name in enumerate(names)]
    return ", ".join(parts) + f", all four {100 * sum(all(r) for r in rows) / n:.1f} % of {n}"


def main():
    for pixels, room in ((64, shapes.BIG), (96, shapes.ROOMY)):
        clips = [shapes.make_clip(i, room, held=i % 2 == 1) for i in range(500)]
        videos = [shapes.render(c, pixels) for c in clips]
        print(f"{pixels} pixels: {table([hits(v, c.facts()) for v, c in zip(videos, clips)])}; "
              f"largest flash {max(map(flash, videos)):.3f}")


if __name__ == "__main__":
    main()
