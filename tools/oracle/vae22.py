"""Goldens of VAE 2.2: a tiny VAE of its own through the official chunked code, float32. README.md: vae22."""
import importlib

import torch

import common
import tiny
from vae21 import run, video

ENCODER_WIDTH, DECODER_WIDTH = 2, 3  # officially 160 and 256, which differ too
WEIGHTS = common.GOLDEN / 'vae22_tiny.pth'


def rule(name, shape):
    """As VAE 2.1's weights, but small files: matrices are stored as BF16. Biases stay away from zero, so that no norm
    over two or three channels divides by next to nothing."""
    scale, offset, _ = tiny.vae_rule(name, shape)
    if name.endswith('bias') and len(shape) == 1:
        offset = 0.5
    return scale, offset, len(shape) > 1 and not name.endswith('gamma')


def wrapper(official, write=False):
    """The official Wan2_2_VAE around a VAE of the widths above; `write`: make its file first."""
    width = dict(dim=ENCODER_WIDTH, dec_dim=DECODER_WIDTH)
    if write:
        model = official.WanVAE_(z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
                                 temperal_downsample=[False, True, True], dropout=0.0, **width)
        tiny.save_pth(WEIGHTS, common.fill(model, 'vae22.', rule))
    make = official._video_vae
    official._video_vae = lambda **kw: make(**{**kw, **width})
    try:
        w = official.Wan2_2_VAE(vae_pth=str(WEIGHTS), device='cpu')
    finally:
        official._video_vae = make
    w.model.float()
    return w


def encode(vae, t, h, w):
    name = f'vae22_encode_{t}_{h}x{w}'
    v = video(name, t, h, w)
    z = run(vae, 'encode', v)
    print(f'{name}: latent std {z.std():.2f} max {z.abs().max():.2f}')
    common.save(common.GOLDEN / f'{name}.safetensors', {'video': v, 'latent': z})


def decode(vae, t, h, w):
    name = f'vae22_decode_{t}_{h}x{w}'
    z = common.uniform(f'input.{name}.latent', (48, t, h, w), 1.75)
    v = run(vae, 'decode', z)
    clamped = float((v.abs() == 1).float().mean())
    print(f'{name}: video std {v.std():.2f}, clamped {clamped:.3f}')
    assert clamped < 0.2
    common.save(common.GOLDEN / f'{name}.safetensors', {'latent': z, 'video': v})


def main():
    a = common.arguments(__doc__, wan22=True).parse_args()
    common.load_official(a.wan22, 'wan22')
    vae = wrapper(importlib.import_module('wan22.modules.vae2_2'), write=True)
    encode(vae, 1, 48, 32)
    encode(vae, 5, 16, 32)
    encode(vae, 9, 16, 48)
    encode(vae, 13, 32, 16)
    encode(vae, 7, 16, 16)  # frames past 1 + 4k are ignored
    decode(vae, 1, 3, 2)
    decode(vae, 2, 1, 2)
    decode(vae, 3, 2, 1)
    decode(vae, 4, 2, 1)


if __name__ == '__main__':
    main()
