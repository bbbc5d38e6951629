"""Models in the layouts for MLX, written by MLX itself: tests/golden/model/mlx-*, and what `wan convert` must write.

    python tools/oracle/mlx_layouts.py              write the goldens (needs mlx: pip install mlx, on Linux with mlx-cpu)
    python tools/oracle/mlx_layouts.py --check DIR --from MODEL --to LAYOUT [--type T] [--quantize B] [--group-size G]
                                                    load what `wan convert` wrote with MLX, and compare every tensor

mlx-ti2v/        tiny-ti2v in the layout `mlx`, every tensor in its stored type
mlx-video-t2v/   the transformer of tiny-t2v in the layout `mlx-video`, BF16, matrices in groups of 4 bits, those of block 2 of 8 bits
mlx_layouts.json for each conversion of a tiny model and each file of it: the number of tensors and a checksum (below); and of each
                 matrix of mlx-video-t2v a checksum of what mx.dequantize makes of it

The rules are those of docs/files.md, "Models converted for MLX". A checksum is the CRC-32 of, for each tensor in the order of the names'
bytes: name, type and extents as text ("name BF16 3,4;"), then its bytes.
"""
import argparse
import json
import sys
import zlib
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / 'tests' / 'golden' / 'model'
TYPES = {'bf16': mx.bfloat16, 'f16': mx.float16, 'f32': mx.float32}
TYPE_NAMES = {mx.bfloat16: 'BF16', mx.float16: 'F16', mx.float32: 'F32', mx.uint32: 'U32'}
TORCH_TYPES = {torch.bfloat16: mx.bfloat16, torch.float16: mx.float16, torch.float32: mx.float32}
SEQUENTIAL = ('text_embedding', 'time_embedding', 'time_projection', 'ffn', 'proj', 'gate', 'residual', 'resample', 'head',
              'middle', 'upsamples', 'downsamples')
HEAVY = [f'{a}_attn.{x}' for a in ('self', 'cross') for x in 'qkvo'] + ['ffn.0', 'ffn.2']


# ---- official files --------------------------------------------------------------------------------------------------


def load_pth(path):
    state = torch.load(path, map_location='cpu', weights_only=True)
    return {k: mx.array(v.float().numpy()).astype(TORCH_TYPES[v.dtype]) for k, v in state.items()}


def load_shards(folder):
    out = {}
    for f in sorted(folder.glob('*.safetensors')):
        out.update(mx.load(str(f)))
    return out


def load_model(folder):
    """{part: {official name: array}}; a part is 'dit', 'high', 'low', 't5', 'vae'."""
    parts = {}
    if (folder / 'high_noise_model').is_dir():
        parts = {w: load_shards(folder / f'{w}_noise_model') for w in ('high', 'low')}
    else:
        parts['dit'] = load_shards(folder)
    parts['t5'] = load_pth(folder / 'models_t5_umt5-xxl-enc-bf16.pth')
    for f in folder.glob('Wan2.*_VAE.pth'):
        parts['vae'] = load_pth(f)
    return parts


# ---- the rules -------------------------------------------------------------------------------------------------------


def channels_last(name, v):
    if name.endswith('.weight') and v.ndim in (4, 5):
        return mx.contiguous(mx.transpose(v, (0, *range(2, v.ndim), 1)))
    return v


def to_mlx(part, name, v, vae22):
    """Layout `mlx`: mlx.nn's names, `.layers.` in front of a Sequential's member; convolutions with channels last."""
    out = []
    for s in name.split('.'):
        if s.isdigit() and out and out[-1] in SEQUENTIAL:
            out.append('layers')
        out.append(s)
    return '.'.join(out), channels_last(name, v) if part != 't5' else v


def to_mlx_video(part, name, v, vae22):
    if part == 't5':
        return name.replace('.ffn.gate.0.', '.ffn.gate_proj.'), v
    if part == 'vae':
        v = channels_last(name, v)
        if not vae22:
            return name, v
        for i in '0236':
            name = name.replace(f'.residual.{i}.', f'.residual.layer_{i}.')
        for i in '02':
            name = name.replace(f'.head.{i}.', f'.head.layer_{i}.')
        for a, b in (('resample.1', 'resample'), ('to_qkv', 'to_qkv'), ('proj', 'proj')):
            for what in ('weight', 'bias'):
                name = name.replace(f'.{a}.{what}', f'.{b}_{what}')
        return name, v.reshape(-1) if name.endswith('.gamma') else v
    if name == 'patch_embedding.weight':
        v = v.reshape(v.shape[0], -1)
    name = name.replace('patch_embedding.', 'patch_embedding_proj.').replace('time_projection.1.', 'time_projection.')
    for e in ('text_embedding', 'time_embedding'):
        name = name.replace(f'{e}.0.', f'{e}_0.').replace(f'{e}.2.', f'{e}_1.')
    return name.replace('.ffn.0.', '.ffn.fc1.').replace('.ffn.2.', '.ffn.fc2.'), v


RULES = {'mlx': to_mlx, 'mlx-video': to_mlx_video}


def convert(part, tensors, to, dtype=None, bits=0, group=64):
    """{name: array} of one file. bits: a number, or a function of the official name."""
    vae22 = 'decoder.upsamples.0.upsamples.0.residual.2.weight' in tensors
    out = {}
    for name, v in tensors.items():
        if dtype and part != 'vae':
            v = v.astype(dtype)
        new, w = RULES[to](part, name, v, vae22)
        b = bits(name) if callable(bits) else bits
        if b and part in ('dit', 'high', 'low') and any(name.endswith(f'.{h}.weight') for h in HEAVY):
            stem = new.removesuffix('.weight')
            out[new], out[f'{stem}.scales'], out[f'{stem}.biases'] = mx.quantize(w, group_size=group, bits=b)
        else:
            out[new] = w
    return out


def file_names(to):
    if to == 'mlx':
        return {'dit': 'wan_model_mlx', 'high': 'high_noise_model/wan_model_mlx', 'low': 'low_noise_model/wan_model_mlx',
                't5': 't5_encoder_mlx', 'vae': 'vae_mlx'}
    return {'dit': 'model', 'high': 'high_noise_model', 'low': 'low_noise_model', 't5': 't5_encoder', 'vae': 'vae'}


# ---- files and checksums ---------------------------------------------------------------------------------------------


def raw(v):
    return bytes(np.array(v.view(mx.uint16) if v.dtype in (mx.bfloat16, mx.float16) else v.view(mx.uint32)).tobytes())


def checksum(tensors):
    c = 0
    for name in sorted(tensors, key=lambda s: s.encode()):
        v = tensors[name]
        c = zlib.crc32(f"{name} {TYPE_NAMES[v.dtype]} {','.join(map(str, v.shape))};".encode(), c)
        c = zlib.crc32(raw(v), c)
    return c


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(path), dict(sorted(tensors.items())), {'format': 'mlx'})
    path.chmod(0o644)
    print(f'{path.relative_to(GOLDEN)}: {len(tensors)} tensors, {path.stat().st_size / 1024:.0f} KiB')


def write_ti2v():
    folder, names = GOLDEN / 'mlx-ti2v', file_names('mlx')
    for part, tensors in load_model(GOLDEN / 'tiny-ti2v').items():
        save(folder / f'{names[part]}.safetensors', convert(part, tensors, 'mlx'))
    (folder / 'config.json').write_text((GOLDEN / 'tiny-ti2v' / 'config.json').read_text())


def write_quantised():
    """Returns {official name: checksum of the dequantised matrix}."""
    folder = GOLDEN / 'mlx-video-t2v'
    eight = [f'blocks.2.{h}' for h in HEAVY]
    bits = lambda name: 8 if name.startswith('blocks.2.') else 4
    official = load_model(GOLDEN / 'tiny-t2v')['dit']
    tensors = convert('dit', official, 'mlx-video', mx.bfloat16, bits, 32)
    save(folder / 'model.safetensors', tensors)
    config = json.loads((GOLDEN / 'tiny-t2v' / 'config.json').read_text())
    own = {to_mlx_video('dit', f'{e}.weight', mx.zeros((1, 1)), False)[0].removesuffix('.weight'):
           {'group_size': 32, 'bits': 8} for e in eight}
    config['quantization'] = {'group_size': 32, 'bits': 4, **own}
    (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
    made = {}
    for name in official:
        new = to_mlx_video('dit', name, official[name], False)[0]
        if tensors[new].dtype == mx.uint32:
            stem = new.removesuffix('.weight')
            v = mx.dequantize(tensors[new], tensors[f'{stem}.scales'], tensors[f'{stem}.biases'], group_size=32,
                              bits=bits(name))
            made[name] = checksum({name: v})
    return made


def cases():
    """(model, options) of every conversion that is checked."""
    for model in ('tiny-t2v', 'tiny-t2v-a14b', 'tiny-ti2v'):
        for to in RULES:
            for t in (None, 'bf16'):
                yield model, {'to': to, 'type': t}
    yield 'tiny-ti2v', {'to': 'mlx', 'type': 'f16'}
    yield 'tiny-ti2v', {'to': 'mlx-video', 'type': 'f32'}
    for to in RULES:
        for t, b, g in (('bf16', 4, 64), ('bf16', 8, 32), (None, 8, 64), ('f16', 4, 32)):
            yield 'tiny-t2v', {'to': to, 'type': t, 'quantize': b, 'group_size': g}


def expected(parts, o):
    return {part: convert(part, tensors, o['to'], TYPES[o['type']] if o['type'] else None, o.get('quantize', 0),
                          o.get('group_size', 64)) for part, tensors in parts.items()}


def write_all():
    write_ti2v()
    out = {'dequantised': write_quantised(), 'conversions': []}
    for model, o in cases():
        names = file_names(o['to'])
        files = {f'{names[p]}.safetensors': [len(t), checksum(t)]
                 for p, t in expected(load_model(GOLDEN / model), o).items()}
        out['conversions'].append({'model': model, **{k: v for k, v in o.items() if v}, 'files': files})
    path = GOLDEN / 'mlx_layouts.json'
    path.write_text(json.dumps(out, indent=1) + '\n')
    print(f'{path.name}: {len(out["conversions"])} conversions, {len(out["dequantised"])} matrices')


def check(a):
    bad = n = 0
    names = file_names(a.to)
    o = {'to': a.to, 'type': a.type, 'quantize': a.quantize, 'group_size': a.group_size}
    for part, want in expected(load_model(Path(a.source)), o).items():
        got = mx.load(str(Path(a.check) / f'{names[part]}.safetensors'))
        for name in sorted(want.keys() | got.keys()):
            n += 1
            w, g = want.get(name), got.get(name)
            if w is None or g is None or w.dtype != g.dtype or w.shape != g.shape or raw(w) != raw(g):
                bad += 1
                print(f'{part}: {name}: {w is not None and (w.dtype, w.shape)} {g is not None and (g.dtype, g.shape)}')
    print(f'{n} tensors, {bad} differ')
    return bad > 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', metavar='DIR')
    p.add_argument('--from', dest='source', metavar='MODEL')
    p.add_argument('--to', choices=RULES)
    p.add_argument('--type', choices=TYPES)
    p.add_argument('--quantize', type=int, default=0)
    p.add_argument('--group-size', type=int, default=64)
    a = p.parse_args()
    if a.check:
        sys.exit(check(a))
    write_all()


if __name__ == '__main__':
    main()
