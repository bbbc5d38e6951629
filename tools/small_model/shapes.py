"""Generated clips of one coloured shape on a coloured background, with captions.

A clip is a function of one integer.  Videos are [3, T, H, W] f32 in [-1, 1]; the full clip is 17 frames of 64x64.
"""

import random
from dataclasses import dataclass

import torch

SIZE, FRAMES = 64, 17
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
             "a {b} background with a {c} {s} {ing}", "{c} {s}, {b} background, {ing}")
# more ways to say the same, drawn only when a caption is rephrased
MORE_TEMPLATES = ("a {c} {s} on a {b} background", "{c} {s} on {b} background", "the {c} {s} {verb}, the background is {b}",
                  "a video of a {c} {s} that {verb} on a {b} background")


@dataclass
class Clip:
    shape: str
    colour: str
    back: str
    motion: str
    caption: str
    start: tuple      # (x, y, radius) in pixels at the first frame
    end: tuple        # the same at the last frame


def make_clip(index):
    r = random.Random(index)
    shape, motion = r.choice(SHAPES), r.choice(list(MOTIONS))
    colour, back = r.sample(list(COLOURS), 2)
    dx, dy, growth, (verb, ing) = MOTIONS[motion]
    caption = r.choice(TEMPLATES).format(c=colour, s=shape, b=back, verb=verb, ing=ing)
    cx, cy = SIZE / 2 + r.uniform(-4, 4), SIZE / 2 + r.uniform(-4, 4)
    radius, reach = r.uniform(11, 15), r.uniform(12, 16)
    swell = growth * r.uniform(4.5, 6)
    return Clip(shape, colour, back, motion, caption,
                (cx - dx * reach, cy - dy * reach, radius - swell), (cx + dx * reach, cy + dy * reach, radius + swell))


def rephrase(clip, r):
    """Another caption of the clip, drawn with the generator r."""
    verb, ing = MOTIONS[clip.motion][3]
    return r.choice(TEMPLATES + MORE_TEMPLATES).format(c=clip.colour, s=clip.shape, b=clip.back, verb=verb, ing=ing)


def distance(shape, x, y, radius):
    """Signed distance in pixels from the outline, negative inside."""
    if shape == "circle":
        return (x * x + y * y).sqrt() - radius
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.92 * radius
    sides = torch.maximum(x.abs() * 0.8660254 - y * 0.5, y)          # equilateral, pointing up
    return sides - 0.72 * radius


def render(clip, first=0, frames=FRAMES, left=0, top=0, size=SIZE):
    """Frames first..first+frames-1 of the window of `size` pixels at (left, top)."""
    u = ((first + torch.arange(frames)) / (FRAMES - 1)).view(-1, 1, 1)
    cx, cy, radius = (a + (b - a) * u for a, b in zip(clip.start, clip.end))
    x = (left + torch.arange(size) + 0.5).view(1, 1, -1) - cx
    y = (top + torch.arange(size) + 0.5).view(1, -1, 1) - cy
    cover = (0.5 - distance(clip.shape, x, y, radius)).clamp(0, 1)    # antialiased edge, one pixel wide
    fore, back = (torch.tensor(COLOURS[n]).view(3, 1, 1, 1) / 127.5 - 1 for n in (clip.colour, clip.back))
    return back + (fore - back) * cover


def random_batch(seed, batch, frames, size):
    """Training windows for the autoencoder: [batch, 3, frames, size, size]."""
    r = random.Random(seed)
    return torch.stack([
        render(make_clip(r.getrandbits(40)), r.randint(0, FRAMES - frames), frames,
               r.randint(0, SIZE - size), r.randint(0, SIZE - size), size) for _ in range(batch)])
