"""Generated clips of one coloured shape on a coloured background, with captions.

A clip is a function of one integer.  Videos are [3, T, H, W] f32 in [-1, 1], 17 frames.  Positions are in units of 1/64 of
the picture's side, whatever its size in pixels.
"""

import functools
import hashlib
import random
from dataclasses import dataclass

import torch

FRAMES, UNITS = 17, 64
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (40, 70, 220),
           "yellow": (240, 210, 40), "white": (245, 245, 245), "black": (15, 15, 15)}
SHAPES = ("circle", "square", "triangle")
# name -> (direction of travel in x, in y, growth), and how a caption says it
MOTIONS = {
    "right": (1, 0, 0, ("moves to the right", "moving right")),
    "left": (-1, 0, 0, ("moves to the left", "moving left")),
    "up": (0, -1, 0, ("moves up", "moving up")),
    "down": (0, 1, 0, ("moves down", "moving down")),
    "grow": (0, 0, 1, ("grows", "growing")),
    "shrink": (0, 0, -1, ("shrinks", "shrinking")),
    "still": (0, 0, 0, ("stays still", "standing still")),
}
TEMPLATES = ("a {c} {s} {verb} on a {b} background", "a {c} {s} {ing} on a {b} background",
             "a {b} background with a {c} {s} {ing}", "{c} {s}, {b} background, {ing}",
             "the {c} {s} {verb}, the background is {b}", "a video of a {c} {s} that {verb} on a {b} background")
# What the first training of the text-to-video model drew captions from: two leave the motion out.
FIRST_TEMPLATES = (*TEMPLATES[:4], "a {c} {s} on a {b} background", "{c} {s} on {b} background", *TEMPLATES[4:])
FACTS = (("shape", list(SHAPES)), ("colour", list(COLOURS)), ("back", list(COLOURS)), ("motion", list(MOTIONS)))
WIDE_CLIPS = 640
# How far the outline reaches from the centre, in radii: to the left and right, up, down.
EXTENT = {"circle": (1, 1, 1), "square": (0.92, 0.92, 0.92), "triangle": (1.25, 1.44, 0.72)}


@dataclass
class Clip:
    shape: str
    colour: str
    back: str
    motion: str
    caption: str
    start: tuple      # (x, y, radius) at the first frame
    end: tuple        # the same at the last frame

    def facts(self):
        return self.shape, self.colour, self.back, self.motion


def draw_facts(r):
    """Shape, colour, background and motion, each equally likely."""
    shape, motion = r.choice(SHAPES), r.choice(list(MOTIONS))
    colour, back = r.sample(list(COLOURS), 2)
    return shape, colour, back, motion


def fact_numbers(clip):
    """Where the clip's four facts stand in FACTS."""
    return [values.index(fact) for (_, values), fact in zip(FACTS, clip.facts())]


def path_of(motion, cx, cy, radius, reach, swell):
    """(x, y, radius) at the first and at the last frame of a path with its middle at (cx, cy)."""
    dx, dy, growth, _ = MOTIONS[motion]
    return ((cx - dx * reach, cy - dy * reach, radius - growth * swell),
            (cx + dx * reach, cy + dy * reach, radius + growth * swell))


def wide_clip(index):
    """A clip whose shape may leave the picture: for the autoencoder, and the first clips the transformer sees."""
    r = random.Random(index)
    facts = draw_facts(r)
    caption = caption_of(facts, r.choice(TEMPLATES[:4]))
    cx, cy = UNITS / 2 + r.uniform(-4, 4), UNITS / 2 + r.uniform(-4, 4)
    radius, reach = r.uniform(11, 15), r.uniform(12, 16)
    swell = r.uniform(4.5, 6) if facts[3] in ("grow", "shrink") else 0
    return Clip(*facts, caption, *path_of(facts[3], cx, cy, radius, reach, swell))


@functools.cache
def wide_facts():
    return {wide_clip(i).facts() for i in range(WIDE_CLIPS)}


def held_out(facts):
    """Is this combination of shape, colours and motion kept for the tests?  About a tenth is, none of them in a wide clip."""
    digest = hashlib.sha256(" ".join(facts).encode()).digest()
    return facts not in wide_facts() and digest[0] < 73


def combinations(held):
    """All combinations that are held out, or all that are not, in a fixed order."""
    every = ((s, c, b, m) for s in SHAPES for c in COLOURS for b in COLOURS if b != c for m in MOTIONS)
    return [facts for facts in every if held_out(facts) == held]


def caption_of(facts, template):
    shape, colour, back, motion = facts
    verb, ing = MOTIONS[motion][3]
    return template.format(c=colour, s=shape, b=back, verb=verb, ing=ing)


def centre_range(shape, radius, axis, travel):
    """Where along an axis the middle of a path may lie, so that the whole shape stays in the picture."""
    side, up, down = EXTENT[shape]
    low, high = (side, side) if axis == 0 else (up, down)
    return low * radius + travel + 1, UNITS - high * radius - travel - 1


@dataclass(frozen=True)
class Room:
    """Ranges that a clip is drawn from: sizes, half the way, half the growth, and how far from the middle."""
    radius: tuple
    reach: tuple
    swell: tuple
    spread: float


BIG = Room((10, 14), (9, 14), (4, 6), 5)
# Smaller shapes anywhere: where a shape starts must not tell where it goes when the first picture is given.
ROOMY = Room((8, 12), (7, 11), (3, 4.5), UNITS)


def make_clip(index, room, held=False):
    """A clip that stays in the picture, of a combination that is held out or of one that is not."""
    r = random.Random(index)
    while held_out(facts := draw_facts(r)) != held:
        pass
    shape, _, _, motion = facts
    dx, dy, growth, _ = MOTIONS[motion]
    radius, reach, swell = r.uniform(*room.radius), r.uniform(*room.reach), abs(growth) * r.uniform(*room.swell)
    centre = []
    for axis, travel in enumerate((abs(dx) * reach, abs(dy) * reach)):
        low, high = centre_range(shape, radius + swell, axis, travel)
        spread = max(0, min(room.spread, (high - low) / 2))
        centre.append((low + high) / 2 + r.uniform(-spread, spread))
    return Clip(*facts, caption_of(facts, r.choice(TEMPLATES)), *path_of(motion, *centre, radius, reach, swell))


def rephrase(clip, r, templates):
    """Another caption of the clip, drawn with the generator r."""
    return caption_of(clip.facts(), r.choice(templates))


def distance(shape, x, y, radius):
    """Signed distance from the outline, negative inside."""
    if shape == "circle":
        return (x * x + y * y).sqrt() - radius
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.92 * radius
    sides = torch.maximum(x.abs() * 0.8660254 - y * 0.5, y)          # equilateral, pointing up
    return sides - 0.72 * radius


def cover_of(shape, cx, cy, radius, left, top, width, pixels):
    """How much of each pixel of a window lies inside the shape, 0 to 1; `pixels` is the side of the whole picture."""
    unit = UNITS / pixels
    x = (left + torch.arange(width) + 0.5).view(1, 1, -1) * unit - cx
    y = (top + torch.arange(width) + 0.5).view(1, -1, 1) * unit - cy
    return (0.5 - distance(shape, x, y, radius) / unit).clamp(0, 1)  # antialiased edge, one pixel wide


def colour_of(name):
    return torch.tensor(COLOURS[name]).view(3, 1, 1, 1) / 127.5 - 1


def render(clip, pixels, first=0, frames=FRAMES, left=0, top=0, width=None):
    """Frames first..first+frames-1 of the window of `width` pixels (all by default) at (left, top)."""
    u = ((first + torch.arange(frames)) / (FRAMES - 1)).view(-1, 1, 1)
    cx, cy, radius = (a + (b - a) * u for a, b in zip(clip.start, clip.end))
    cover = cover_of(clip.shape, cx, cy, radius, left, top, width or pixels, pixels)
    fore, back = colour_of(clip.colour), colour_of(clip.back)
    return back + (fore - back) * cover


def random_batch(seed, batch, frames, width, pixels):
    """Training windows for the autoencoder: [batch, 3, frames, width, width]."""
    r = random.Random(seed)
    return torch.stack([
        render(wide_clip(r.getrandbits(40)), pixels, r.randint(0, FRAMES - frames), frames,
               r.randint(0, pixels - width), r.randint(0, pixels - width), width) for _ in range(batch)])
