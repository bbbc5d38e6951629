"""Goldens of what the official pipelines hand to their VAE: tests/golden/media/prepared.txt, prepared.f32, portrait.png.

    python tools/oracle/prepared.py --wan21 path/to/Wan2.1 --wan22 path/to/Wan2.2

A line is one call: task, image, width and height of the option, then width and height made and the offset in bytes of 192
samples (places: README.md, "Generator") of [3, height, width] in [-1, 1]; or `error` where the official code fails. Needs the images of
images.py.
"""
import numpy as np
import torch
from PIL import Image

import common
import gen
import images

SAMPLES = 192


class Captured(Exception):
    """Thrown out of the official code with what the VAE was given."""


class Capture:
    """Stands for VAE, CLIP and text encoder: encode() ends the run."""

    def __init__(self):
        self.model = self
        self.z_dim = 48

    def encode(self, videos):
        raise Captured(videos[0])

    visual = to = __call__ = lambda self, *args: [None]


def preparer(module, name, config):
    """task's generate() as a function of (image, area) that gives [3, h, w]."""
    p = object.__new__(getattr(module, name))
    p.vae = p.text_encoder = p.clip = Capture()
    p.device, p.sp_size, p.t5_cpu, p.sample_neg_prompt = torch.device('cpu'), 1, False, ''
    p.vae_stride, p.patch_size = config.vae_stride, config.patch_size

    def prepare(image, area):
        given = [image, image] if name == 'WanFLF2V' else [image]
        frames = 81 if name == 'WanFLF2V' else 1
        try:
            p.generate('', *given, max_area=area, frame_num=frames, seed=0, offload_model=False)
        except Captured as c:
            return c.args[0][:, 0]

    return prepare


def preparers(wan21, wan22):
    common.load_official(wan21, 'wan21')
    common.load_official(wan22, 'wan22')
    i2v, configs = common.load_pipeline('wan22', 'image2video')
    ti2v, _ = common.load_pipeline('wan22', 'textimage2video')
    flf2v, configs21 = common.load_pipeline('wan21', 'first_last_frame2video')
    return {'i2v': preparer(i2v, 'WanI2V', configs['i2v-A14B']), 'ti2v': preparer(ti2v, 'WanTI2V', configs['ti2v-5B']),
            'flf2v': preparer(flf2v, 'WanFLF2V', configs21['flf2v-14B'])}


PREPARED = ('portrait.png', 'pillow.png', 'tall.png', 'one.png', 'rgb8.png', 'rgb16.png', 'rgba8i.png', 'rgba16.png',
            'grey1.png', 'grey16.png', 'greya8.png', 'pal2.png', 'pal8-trns.png', 'rgb8-trns.png', 'larger.jpg', 's2x2.jpg', 'grey.jpg',
            'cmyk.jpg', 'orientation.jpg', 'lossy.webp', 'lossless-alpha.webp', 'animated.webp')
AREAS = {'i2v': ((832, 480), (720, 1280), (64, 48), (96, 32)), 'ti2v': ((1280, 704), (704, 1280), (128, 64), (96, 96), (64, 32)),
         'flf2v': ((480, 832), (80, 48))}


def write_prepared(wan21, wan22):
    """A few images at every size; of the others, which are about decoding, the small sizes."""
    (images.OUT / 'portrait.png').write_bytes(images.png(images.picture(47, 83), 8, 2))
    lines, blob = [], b''
    for task, prepare in preparers(wan21, wan22).items():
        for name in PREPARED:
            path = images.OUT / ('' if name == 'portrait.png' else 'images') / name
            image, name = Image.open(path).convert('RGB'), str(path.relative_to(images.OUT))
            for w, h in AREAS[task]:
                if w * h > 10000 and path.name not in ('portrait.png', 'pillow.png', 'larger.jpg', 'rgba16.png'):
                    continue
                try:
                    x = prepare(image, w * h)
                except (RuntimeError, ValueError, ZeroDivisionError, AssertionError):
                    lines.append(f'{task} {name} {w} {h} error\n')
                    continue
                x = np.ascontiguousarray(x.numpy(), np.float32)
                lines.append(f'{task} {name} {w} {h} {x.shape[2]} {x.shape[1]} {len(blob)}\n')
                blob += x.ravel()[gen.sample_index(x.size, SAMPLES)].tobytes()
    (images.OUT / 'prepared.txt').write_text(''.join(lines))
    (images.OUT / 'prepared.f32').write_bytes(blob)


def main():
    a = common.arguments(__doc__, wan22=True).parse_args()
    write_prepared(a.wan21, a.wan22)


if __name__ == '__main__':
    main()
