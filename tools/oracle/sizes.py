"""Golden `tests/golden/media/sizes.txt`: what the official functions say about sizes of input images and about which frames of an
input video to look at; one call in each line, with its answer or `error`.

    python tools/oracle/sizes.py --wan22 path/to/Wan2.2

Single functions of the official files are compiled as they stand, without the imports of their modules.
"""
import argparse
import ast
import math
import random
import zlib
from pathlib import Path

import numpy as np
import torch

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'media'


def functions(path, *names, **space):
    """Functions (methods too) of an official file, with the constants above them and `space` as their globals."""
    tree = ast.parse(path.read_text())
    found = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in names}
    constants = [n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, (ast.Constant, ast.BinOp))]
    body = [ast.parse('from __future__ import annotations').body[0], *constants, *(found[n] for n in names)]
    space.update(math=math, np=np)
    exec(compile(ast.Module(body, []), str(path), 'exec'), space)
    return [space[n] for n in names]


def i2v_rule(path):
    """The three statements of the official image2video.py that compute the size, as a function of (w, h, max_area)."""
    source = path.read_text()
    start = source.index('aspect_ratio = h / w')
    end = source.index('\n', source.index('w = lat_w * self.vae_stride[2]'))
    text = 'def rule(w, h, max_area, self):\n        ' + source[start:end] + '\n        return w, h\n'
    space = {'np': np}
    exec(text, space)

    class Settings:
        vae_stride, patch_size = (4, 8, 8), (1, 2, 2)

    return lambda w, h, area: space['rule'](w, h, area, Settings)


class Video:
    """What the official readers and resizing are given instead of a video: it has a size and remembers what was asked."""

    def __init__(self, n, w, h, fps=24):
        self.n, self.fps, self.shape, self.asked = n, fps, (n, 3, h, w), None

    def __call__(self, path):  # as decord.VideoReader
        return self

    def __len__(self):
        return self.n

    def get_avg_fps(self):
        return self.fps

    def get_batch(self, index):
        self.asked = index
        return self

    def asnumpy(self):
        return self.asked

    def resize(self, video, size, **how):  # as torchvision's functional.resize
        self.asked = size
        return self

    def float(self):
        return self.asked


class Anything:
    """Stands for a module of which some attribute is looked at and not used."""

    def __init__(self, **known):
        self.__dict__.update(known)

    def __getattr__(self, name):
        return self


def answer(call):
    try:
        r = call()
        return 'error' if min(r) < 1 else ' '.join(str(int(v)) for v in r)
    except (ValueError, ZeroDivisionError, AssertionError):
        return 'error'


def size_lines(rng, smart, best, rule):
    sizes = [(1920, 1080), (1080, 1920), (832, 480), (480, 832), (1024, 1024), (4000, 3000), (640, 480), (1280, 720), (1, 1),
             (3, 5000), (9000, 7), (1, 100000)]
    sizes += [(rng.randint(1, 6000), rng.randint(1, 6000)) for _ in range(40)]
    for w, h in sizes:
        for area in (720 * 1280, 480 * 832):
            yield f'i2v {w} {h} {area} {answer(lambda: rule(w, h, area))}'
        area = 704 * 1280
        got = answer(lambda: best(w, h, 32, 32, area))
        yield f'ti2v {w} {h} 32 {area} {got}'
        if got != 'error':
            ow, oh = map(int, got.split())
            scale = max(ow / w, oh / h)
            yield f'cover {w} {h} {ow} {oh} {round(w * scale)} {round(h * scale)}'
        for factor, low, high in ((28, 4 * 28 * 28, 16384 * 28 * 28), (28, 256 * 28 * 28, 1280 * 28 * 28), (14, 100352, 105369.6)):
            yield f'smart {w} {h} {factor} {low} {high} {answer(lambda: smart(h, w, factor, low, high)[::-1])}'


def frame_lines(rng, nframes):
    for _ in range(80):
        total, fps = rng.randint(1, 3000), rng.choice([8, 15, 16, 23.976, 24, 25, 29.97, 30, 60])
        wish = rng.choice([{}, {'fps': rng.choice([0.5, 1, 2, 4.5, 30])}, {'nframes': rng.randint(1, 99)},
                           {'fps': 2, 'min_frames': rng.randint(1, 40), 'max_frames': rng.randint(1, 90)}])
        got = answer(lambda: [nframes(wish, total, fps)])
        line = [wish.get(k, 0) for k in ('nframes', 'fps', 'min_frames', 'max_frames')]
        yield 'count ' + ' '.join(map(str, line)) + f' {total} {fps} {got}'
        n = int(got) if got != 'error' else rng.randint(1, 9)
        index = torch.linspace(0, total - 1, n).round().long()
        yield f'spread {total} {n} {zlib.crc32(index.numpy().tobytes())}'


def edge_lines(rng, smart):
    """smart_resize where roundings tie and where a bound is just met or missed."""
    for factor in (14, 28, 32):
        for _ in range(25):  # halves of the factor: ties go to even
            w, h = factor // 2 * rng.randint(1, 60), factor // 2 * rng.randint(1, 60)
            area = round(w / factor) * round(h / factor) * factor * factor
            for low, high in ((area, area), (area + 1, 4 * area + 1), (1, max(area - 1, 1)), (0, 1e9)):
                yield f'smart {w} {h} {factor} {low} {high} {answer(lambda: smart(h, w, factor, low, high)[::-1])}'
    for w, h in ((200, 1), (201, 1), (1, 200), (1, 201), (2800, 14), (2801, 14), (5600, 28), (28, 5601)):
        yield f'smart {w} {h} 28 3136 12845056 {answer(lambda: smart(h, w, 28, 3136, 12845056)[::-1])}'


def video_lines(rng, wan22):
    """Sizes of the frames that a vision model sees: the more there are, the smaller."""
    helper = wan22 / 'wan/utils/qwen_vl_utils.py'
    for _ in range(60):
        n, w, h = 2 * rng.choice([1, 2, 3, 8, 20, 63, 200, 384]), rng.randint(16, 4000), rng.randint(16, 4000)
        video = Video(n, w, h)
        fetch = functions(helper, 'fetch_video', 'smart_resize', 'round_by_factor', 'ceil_by_factor', 'floor_by_factor',
                          get_video_reader_backend=lambda: 'it', VIDEO_READER_BACKENDS={'it': lambda ele: video},
                          transforms=Anything(functional=Anything(resize=video.resize)), InterpolationMode=Anything())[0]
        yield f'video {w} {h} {n} {answer(lambda: fetch({"video": "name"})[::-1])}'


def rate_lines(rng, wan22):
    """Frames at the rate that a model was trained with, by the two rules of the Wan2.2 pipelines that read videos."""
    at_rate, = functions(wan22 / 'wan/modules/animate/preprocess/utils.py', 'get_frame_indices')
    for _ in range(80):
        total, fps, rate = rng.randint(1, 900), rng.choice([8, 12.5, 15, 16, 23.976, 24, 25, 29.97, 30, 60]), rng.choice([16, 24, 30])
        n = rng.choice([int(total / fps * rate), rng.randint(1, 200)])
        index = np.array(at_rate(total, fps, n, rate), dtype=np.int64)
        yield f'rate {total} {fps} {n} {rate} {zlib.crc32(index.tobytes())}'
        for first in (0, 1):
            video = Video(total, 64, 64, fps)
            last_n = functions(wan22 / 'wan/speech2video.py', 'read_last_n_frames', VideoReader=video)[0]
            index = np.array(last_n(None, 'name', n, rate, reverse=bool(first)), dtype=np.int64)
            yield f'tail {total} {fps} {n} {rate} {first} {len(index)} {zlib.crc32(index.tobytes())}'


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--wan22', required=True, metavar='DIR', type=Path, help='checkout of the official Wan2.2 code')
    a = p.parse_args()
    smart, nframes = functions(a.wan22 / 'wan/utils/qwen_vl_utils.py', 'smart_resize', 'smart_nframes', 'round_by_factor',
                               'ceil_by_factor', 'floor_by_factor')[:2]
    best, = functions(a.wan22 / 'wan/utils/utils.py', 'best_output_size')
    rng = random.Random(3)
    lines = [*size_lines(rng, smart, best, i2v_rule(a.wan22 / 'wan/image2video.py')), *frame_lines(rng, nframes),
             *edge_lines(rng, smart), *video_lines(rng, a.wan22), *rate_lines(rng, a.wan22)]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / 'sizes.txt').write_text('\n'.join(lines) + '\n')
    print(f'{len(lines)} lines')


if __name__ == '__main__':
    main()
