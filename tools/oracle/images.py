"""Goldens of tests/golden/media: images of every kind and what Pillow makes of them, resizing by Pillow and torch.

    python tools/oracle/images.py

Needs `cjpeg` of libjpeg-turbo for the JPEG variants that Pillow does not write. Files:
- `images/*`: the encoded images; `images.txt`: name, width, height, offset into `images.rgb` [h, w, 3] of Image.open(name).convert("RGB").
- `resize.txt`, `resize.rgb`: image, width, height, filter, offset.  `bicubic.txt`, `bicubic.f32`: image, width, height, offset in bytes.
"""
import io
import math
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'media'


# ---- pictures --------------------------------------------------------------------------------------------------------


def picture(w, h, channels=3, seed=1):
    """[h, w, channels] uint8: smooth colours, a hard edge and some noise."""
    y, x = np.mgrid[:h, :w].astype(np.float64)
    rng = np.random.RandomState(seed)
    planes = []
    for c in range(channels):
        p = 127 + 90 * np.sin(x / (3 + c) + c) * np.cos(y / (4 - c / 2)) + rng.randint(-9, 10, (h, w))
        p[(x + (c + 1) * y) % 17 < 4] += 60
        planes.append(p)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


# ---- PNG, written here: Pillow does not write all the depths ---------------------------------------------------------


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def pack_row(row, depth):
    """Samples of one row to bytes, high bits first."""
    if depth == 16:
        return row.astype('>u2').tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
    return np.packbits(bits).tobytes()


def scanlines(samples, depth):
    """samples [h, w * channels], no row filters."""
    return b''.join(b'\0' + pack_row(r, depth) for r in samples)


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, colour, interlaced=False, before=b'', between=b'', after=b'', split=0):
    """samples [h, w, channels] of up to 16 bits."""
    h, w, c = samples.shape
    if interlaced:
        raw = b''
        for x, y, dx, dy in ADAM7:
            part = samples[y::dy, x::dx]
            if part.size:
                raw += scanlines(part.reshape(part.shape[0], -1), depth)
    else:
        raw = scanlines(samples.reshape(h, -1), depth)
    data = zlib.compress(raw, 9)
    parts = [data[i:i + split] for i in range(0, len(data), split)] if split else [data]
    head = struct.pack('>IIBBBBB', w, h, depth, colour, 0, 0, int(interlaced))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + before + b''.join(chunk(b'IDAT', p) for p in parts) + after +
            chunk(b'IEND', b''))


def pngs():
    rng = np.random.RandomState(5)
    w, h = 19, 13
    rgb = picture(w, h)
    wide = (rgb.astype(np.uint16) << 8) + rng.randint(0, 256, rgb.shape)  # 16 bits
    alpha = picture(w, h, 4, 3)
    for depth in (1, 2, 4, 8, 16):
        top = 1 << depth
        grey = rng.randint(0, top, (h, w, 1))
        if depth == 16:  # around 255, where Pillow clips
            grey[:, ::2] = rng.randint(0, 600, grey[:, ::2].shape)
        for interlaced in (False, True):
            yield f'grey{depth}{"i" * interlaced}.png', png(grey, depth, 0, interlaced)
        yield f'grey{depth}-trns.png', png(grey, depth, 0, before=chunk(b'tRNS', struct.pack('>H', top // 2)))
    for depth in (1, 2, 4, 8):
        n = 1 << depth
        table = rng.randint(0, 256, (n, 3)).astype(np.uint8).tobytes()
        index = rng.randint(0, n, (h, w, 1))
        for interlaced in (False, True):
            yield f'pal{depth}{"i" * interlaced}.png', png(index, depth, 3, interlaced, chunk(b'PLTE', table))
        trns = chunk(b'tRNS', rng.randint(0, 256, max(n // 2, 1)).astype(np.uint8).tobytes())
        yield f'pal{depth}-trns.png', png(index, depth, 3, before=chunk(b'PLTE', table) + trns)
        if depth > 1:  # indices past the palette
            yield f'pal{depth}-short.png', png(index, depth, 3, before=chunk(b'PLTE', table[:3 * (n // 2 + 1)]))
    for name, colour, small, large in (('rgb', 2, rgb, wide), ('greya', 4, alpha[:, :, 2:], None), ('rgba', 6, alpha, None)):
        if large is None:
            large = (small.astype(np.uint16) << 8) + rng.randint(0, 256, small.shape)
        for depth, samples in ((8, small), (16, large)):
            for interlaced in (False, True):
                yield f'{name}{depth}{"i" * interlaced}.png', png(samples, depth, colour, interlaced)
    yield 'rgb8-trns.png', png(rgb, 8, 2, before=chunk(b'tRNS', struct.pack('>3H', *map(int, rgb[3, 4]))))
    yield 'rgb8-plte.png', png(rgb, 8, 2, before=chunk(b'PLTE', bytes(range(30))))
    remarks = (chunk(b'gAMA', struct.pack('>I', 100000)) + chunk(b'sRGB', b'\0') + chunk(b'tEXt', b'Comment\0hello') +
               chunk(b'pHYs', struct.pack('>IIB', 2835, 2835, 1)) + chunk(b'eXIf', b'MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0'))
    yield 'rgb8-remarks.png', png(rgb, 8, 2, before=remarks, after=chunk(b'tEXt', b'Late\0remark'), split=100)
    yield 'one.png', png(rgb[:1, :1], 8, 2)
    yield 'tall.png', png(picture(1, 37), 8, 2, True)
    f = io.BytesIO()
    Image.fromarray(picture(41, 23)).save(f, 'PNG')  # all the row filters
    yield 'pillow.png', f.getvalue()
    frames = [Image.fromarray(picture(w, h, seed=s)) for s in (1, 2)]
    f = io.BytesIO()
    frames[0].save(f, 'PNG', save_all=True, append_images=frames[1:], duration=100)
    yield 'animated.png', f.getvalue()


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def cjpeg(pixels, *options):
    h, w = pixels.shape[:2]
    with tempfile.NamedTemporaryFile(suffix='.ppm') as f:
        f.write(b'P6 %d %d 255\n' % (w, h) + pixels.tobytes())
        f.flush()
        return subprocess.run(['cjpeg', *options, f.name], check=True, stdout=subprocess.PIPE).stdout


def exif(orientation):
    e = Image.Exif()
    e[0x112] = orientation
    return e.tobytes()


def without(data, marker):
    """The JPEG file without the segments of one marker."""
    out, at = data[:2], 2
    while data[at + 1] != 0xda:
        n = 2 + struct.unpack('>H', data[at + 2:at + 4])[0]
        if data[at + 1] != marker:
            out += data[at:at + n]
        at += n
    return out + data[at:]


def jpegs():
    def pillow(image, **options):
        f = io.BytesIO()
        image.save(f, 'JPEG', **options)
        return f.getvalue()

    rgb = picture(37, 29)
    image = Image.fromarray(rgb)
    for s in ('1x1', '2x1', '1x2', '2x2', '4x1', '1x4', '4x2', '2x4', '3x1', '1x1,2x2,1x1'):
        name = s.replace(',', '-')
        yield f's{name}.jpg', cjpeg(rgb, '-quality', '80', '-sample', s)
        if s in ('2x1', '1x2', '2x2'):
            yield f's{name}-prog.jpg', cjpeg(rgb, '-quality', '80', '-sample', s, '-progressive')
            yield f's{name}-odd.jpg', cjpeg(picture(16 + 1, 8 + 1), '-quality', '95', '-sample', s)
    yield 'restart.jpg', cjpeg(rgb, '-restart', '1', '-sample', '2x1')
    yield 'arith.jpg', cjpeg(rgb, '-arithmetic', '-sample', '2x2')
    yield 'arith-prog.jpg', cjpeg(rgb, '-arithmetic', '-progressive', '-sample', '2x2')
    yield 'rgb.jpg', cjpeg(rgb, '-rgb')
    yield 'grey.jpg', cjpeg(rgb, '-grayscale')
    yield 'grey-prog.jpg', cjpeg(rgb, '-grayscale', '-progressive')
    yield 'low.jpg', cjpeg(rgb, '-quality', '8', '-sample', '2x2')
    yield 'larger.jpg', cjpeg(picture(83, 45), '-quality', '70', '-sample', '2x2', '-progressive')
    yield 'one.jpg', cjpeg(rgb[:1, :1], '-sample', '2x2')
    yield 'orientation.jpg', pillow(image, quality=85, exif=exif(6))
    yield 'icc.jpg', pillow(image, quality=85, icc_profile=bytes(range(200)))
    # Only the first scan, and then the end mark: blocks are smoothed.
    whole = cjpeg(rgb, '-quality', '40', '-progressive', '-grayscale')
    scans = [i for i in range(len(whole) - 1) if whole[i:i + 2] == b'\xff\xda']
    yield 'dc-only.jpg', whole[:scans[1]] + b'\xff\xd9'
    yield 'trailing.jpg', cjpeg(rgb, '-sample', '2x2') + b'and more'
    ink = Image.fromarray(picture(37, 29, 4), 'CMYK')
    cmyk = pillow(ink, quality=85)
    yield 'cmyk.jpg', cmyk
    adobe = cmyk.index(b'Adobe')
    yield 'ycck.jpg', cmyk[:adobe + 11] + b'\2' + cmyk[adobe + 12:]
    yield 'cmyk-plain.jpg', without(cmyk, 0xee)
    yield 'cmyk-prog.jpg', pillow(ink, quality=85, progressive=True)


# ---- WebP ------------------------------------------------------------------------------------------------------------


def riff(chunks):
    body = b'WEBP' + b''.join(k + struct.pack('<I', len(d)) + d + b'\0' * (len(d) % 2) for k, d in chunks)
    return b'RIFF' + struct.pack('<I', len(body)) + body


def u24(n):
    return struct.pack('<I', n)[:3]


def webps():
    def pillow(pixels, **options):
        f = io.BytesIO()
        Image.fromarray(pixels).save(f, 'WEBP', **options)
        return f.getvalue()

    rgb, rgba = picture(37, 29), picture(37, 29, 4)
    rgba[:9, :11, 3] = 0
    rgba[20:, 30:, 3] = 255
    yield 'lossy.webp', pillow(rgb, quality=70)
    yield 'lossy-low.webp', pillow(rgb, quality=5)
    yield 'lossy-alpha.webp', pillow(rgba, quality=70)
    yield 'lossless.webp', pillow(rgb, lossless=True)
    yield 'lossless-alpha.webp', pillow(rgba, lossless=True, exact=True)
    yield 'lossless-few.webp', pillow((rgb // 128 * 255).astype(np.uint8), lossless=True)
    yield 'one.webp', pillow(rgb[:1, :1], quality=70)
    yield 'odd.webp', pillow(picture(17, 1), quality=90)
    yield 'exif.webp', pillow(rgb, quality=70, exif=exif(8), icc_profile=bytes(range(99)))
    frames = [Image.fromarray(picture(37, 29, 4, s)) for s in (3, 4, 5)]
    f = io.BytesIO()
    frames[0].save(f, 'WEBP', save_all=True, append_images=frames[1:], duration=50, background=(9, 99, 199, 255))
    yield 'animated.webp', f.getvalue()
    # A first frame smaller than the canvas, with alpha, once to be blended and once not.
    still = pillow(rgba, lossless=True, exact=True)
    at = still.index(b'VP8L')
    inner = still[at:at + 8 + struct.unpack('<I', still[at + 4:at + 8])[0]]
    inner += b'\0' * (len(inner) % 2)
    for name, flag in (('blend', 0), ('noblend', 2)):
        frame = u24(2) + u24(3) + u24(36) + u24(28) + u24(100) + bytes([flag]) + inner
        yield f'offset-{name}.webp', riff([(b'VP8X', b'\x12\0\0\0' + u24(49) + u24(39)),
                                           (b'ANIM', bytes([9, 99, 199, 255, 0, 0])), (b'ANMF', frame)])


def write_images():
    (OUT / 'images').mkdir(parents=True, exist_ok=True)
    for f in (OUT / 'images').iterdir():
        f.unlink()
    lines, blob = [], b''
    for name, data in [*pngs(), *jpegs(), *webps()]:
        path = OUT / 'images' / name
        path.write_bytes(data)
        pixels = np.asarray(Image.open(path).convert('RGB'))
        lines.append(f'{name} {pixels.shape[1]} {pixels.shape[0]} {len(blob)}\n')
        blob += pixels.tobytes()
    (OUT / 'images.txt').write_text(''.join(lines))
    (OUT / 'images.rgb').write_bytes(blob)
    return len(lines)


# ---- resizing --------------------------------------------------------------------------------------------------------


def across_first(image, w, h, how):
    """image.resize((w, h), how) of Pillow up to 12. From 13 on it goes down first when ih - h > 2 (iw - w) and h < ih."""
    y = image.resize((w, image.height), how).resize((w, h), how)
    if not (image.height > h and image.height - h > 2 * (image.width - w)):
        assert y.tobytes() == image.resize((w, h), how).tobytes(), (image.size, w, h)
    return y


def write_resized():
    lines, blob = [], b''
    for name in ('pillow.png', 'tall.png', 'one.png'):
        image = Image.open(OUT / 'images' / name).convert('RGB')
        for w, h in ((20, 30), (57, 11), (image.width, 40), (13, image.height), (image.width, image.height), (1, 1), (3, 70)):
            for number, how in enumerate((Image.LANCZOS, Image.BICUBIC)):
                lines.append(f'{name} {w} {h} {number} {len(blob)}\n')
                blob += across_first(image, w, h, how).tobytes()
    (OUT / 'resize.txt').write_text(''.join(lines))
    (OUT / 'resize.rgb').write_bytes(blob)
    lines, blob = [], b''
    for name, sizes in (('pillow.png', ((64, 48), (16, 16), (41, 23), (7, 50))), ('tall.png', ((3, 20),)), ('one.png', ((4, 3),))):
        x = np.asarray(Image.open(OUT / 'images' / name).convert('RGB'))
        x = torch.from_numpy(x.copy()).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)
        for w, h in sizes:
            y = torch.nn.functional.interpolate(x[None], size=(h, w), mode='bicubic')[0]
            lines.append(f'{name} {w} {h} {len(blob)}\n')
            blob += y.numpy().tobytes()
    # Around position 1024 of a long row, where the float32 rounding of positions shows: a wave of period 7.
    for iw, ow in ((4000, 1104), (1500, 7001), (2000, 1999)):
        x = torch.sin(torch.arange(iw, dtype=torch.float64) * (2 * math.pi / 7)).float()
        y = torch.nn.functional.interpolate(x[None, None, None].expand(1, 1, 4, iw), size=(4, ow), mode='bicubic')[0, 0, 0]
        lines.append(f'wave{iw} {ow} 4 {len(blob)}\n')
        middle = 1024 * ow // iw
        blob += y[middle - 128:middle + 128].numpy().tobytes()
    (OUT / 'bicubic.txt').write_text(''.join(lines))
    (OUT / 'bicubic.f32').write_bytes(blob)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    n = write_images()
    write_resized()
    print(f'{n} images, {sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())} bytes in all')


if __name__ == '__main__':
    main()
