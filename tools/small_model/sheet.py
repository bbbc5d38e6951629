"""The contact sheet of the README, made by the program.

    python tools/small_model/sheet.py --wan build/cli/wan --t2v models/shapes-t2v --out docs/small-models.webp

One prompt a row, five of the 17 frames.  With --ti2v more rows follow: the picture on the left is given, the video begins with it.
"""

import argparse

from PIL import Image, ImageDraw

import forms
import measure
import shapes

TEXT = ("a red circle moves to the right on a blue background", "a yellow square grows on a green background",
        "a white triangle moves up on a red background", "a black circle shrinks on a yellow background",
        "a blue square moves to the left on a white background")
# shape, colour, background, and motion of the prompts that go with the picture: three ways for one picture
GIVEN = (("square", "yellow", "blue", ("right", "up", "grow")), ("circle", "white", "red", ("left", "shrink")))
COLUMNS, CELL, LINE, GAP = (0, 4, 8, 12, 16), 96, 14, 6     # frames; pixels of a frame, a line of text, a gap


def text_rows(args):
    for prompt in TEXT:
        yield prompt, None, measure.generate(args, measure.Sample((), prompt, 7))


def image_rows(args):
    for shape, colour, back, motions in GIVEN:
        still = shapes.Clip(shape, colour, back, "still", "", (32, 32, 10), (32, 32, 10))
        picture = measure.to_frames(shapes.render(still, forms.TI2V.pixels, 0, 1))[0]
        for motion in motions:
            prompt = shapes.caption_of((shape, colour, back, motion), shapes.TEMPLATES[0])
            yield prompt, picture, measure.generate(args, measure.Sample((), prompt, 7, picture))


def draw(rows):
    left = CELL + 2 + GAP if any(picture is not None for _, picture, _ in rows) else 0
    width = left + len(COLUMNS) * (CELL + 2)
    sheet = Image.new("RGB", (width, len(rows) * (CELL + LINE + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (prompt, picture, frames) in enumerate(rows):
        top = i * (CELL + LINE + GAP)
        pen.text((left, top), prompt, "black")
        cells = [(0, picture)] if picture is not None else []
        cells += [(left + k * (CELL + 2), frames[t]) for k, t in enumerate(COLUMNS)]
        for x, pixels in cells:
            sheet.paste(Image.fromarray(pixels).resize((CELL, CELL), Image.LANCZOS), (x, top + LINE))
    return sheet


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--wan", required=True, help="the program")
    p.add_argument("--t2v", required=True, help="the text-to-video model")
    p.add_argument("--ti2v", help="the model that takes a picture")
    p.add_argument("--out", required=True, help="PNG or WebP to write")
    args = p.parse_args()
    rows = []
    for model, make in ((args.t2v, text_rows), (args.ti2v, image_rows)):
        if model:
            rows += make(argparse.Namespace(wan=args.wan, model=model, options=[]))
    draw(rows).save(args.out, quality=90)


if __name__ == "__main__":
    main()
