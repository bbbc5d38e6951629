"""Goldens of VAE 2.1: tiny-t2v's VAE through the official chunked code, float32. README.md: vae21."""
import torch

import common
import tiny


def frames(module, into, name):
    """Collect what `module` gives for every chunk, joined along time, as [C, T, H, W]."""

    def note(m, inputs, output):
        into[name] = output[0] if name not in into else torch.cat([into[name], output[0]], 1)

    return module.register_forward_hook(note)


def dump_names(model, coder):
    """(name, module) of the intermediates of 'encode' or 'decode'."""
    half = model.encoder if coder == 'encode' else model.decoder
    stages = ('down', half.downsamples) if coder == 'encode' else ('up', half.upsamples)
    names = [('conv1', half.conv1)] + [(f'middle.{i}', m) for i, m in enumerate(half.middle)]
    names += [(f'{stages[0]}.{i}', m) for i, m in enumerate(stages[1])] + [('head', half.head[-1])]
    return names


def run(wrapper, coder, value, dump=None):
    handles = [frames(m, dump, n) for n, m in dump_names(wrapper.model, coder)] if dump is not None else []
    with common.official_run('f32'):
        out = getattr(wrapper, coder)([value])[0]
    for h in handles:
        h.remove()
    return out


def video(name, t, h, w):
    """A clip with smooth parts and noise, in [-1, 1]."""
    noise = common.uniform(f'input.{name}.video', (3, t, h, w))
    y, x, f = torch.arange(h)[:, None] / h, torch.arange(w)[None] / w, torch.arange(t)[:, None, None] / 8
    wave = torch.stack([torch.sin(6 * x + 3 * y + f * (c + 1)) for c in range(3)])
    return (0.7 * wave + 0.3 * noise).clamp(-1, 1)


def encode(wrapper, t, h, w, dump=None):
    name = f'vae21_encode_{t}_{h}x{w}'
    v = video(name, t, h, w)
    z = run(wrapper, 'encode', v, dump)
    print(f'{name}: latent std {z.std():.2f} max {z.abs().max():.2f}')
    common.save(common.GOLDEN / f'{name}.safetensors', {'video': v, 'latent': z, **(dump or {})})


def decode(wrapper, t, h, w, dump=None):
    name = f'vae21_decode_{t}_{h}x{w}'
    z = common.uniform(f'input.{name}.latent', (16, t, h, w), 1.75)
    v = run(wrapper, 'decode', z, dump)
    clamped = float((v.abs() == 1).float().mean())
    print(f'{name}: video std {v.std():.2f}, clamped {clamped:.3f}')
    assert clamped < 0.2
    common.save(common.GOLDEN / f'{name}.safetensors', {'latent': z, 'video': v, **(dump or {})})


def main():
    a = common.arguments(__doc__).parse_args()
    wrapper = tiny.vae(common.load_official(a.wan21, 'wan21').vae)
    encode(wrapper, 1, 24, 16)
    encode(wrapper, 5, 8, 16, dump={})
    encode(wrapper, 9, 16, 24)
    encode(wrapper, 13, 16, 8)
    encode(wrapper, 7, 8, 8)  # frames past 1 + 4k are ignored
    decode(wrapper, 1, 3, 2)
    decode(wrapper, 2, 1, 2, dump={})
    decode(wrapper, 3, 2, 1)
    decode(wrapper, 4, 2, 3)

    # other normalisation constants, as a file with latents_mean and latents_std has them
    name = 'vae21_stats'
    mean, std = common.uniform(f'{name}.mean', (16,), 0.5), common.uniform(f'{name}.std', (16,), 0.5, 1.5)
    wrapper.mean, wrapper.std, wrapper.scale = mean, std, [mean, 1.0 / std]
    v, z = video(name, 5, 8, 8), common.uniform(f'input.{name}.latent', (16, 2, 1, 1), 1.75)
    common.save(common.GOLDEN / f'{name}.safetensors', {
        'latents_mean': mean, 'latents_std': std, 'encode.video': v, 'encode.latent': run(wrapper, 'encode', v),
        'decode.latent': z, 'decode.video': run(wrapper, 'decode', z)})


if __name__ == '__main__':
    main()
