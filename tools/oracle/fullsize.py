"""Random checkpoints of the true sizes, outside the repository, and PyTorch's run on them: numbers and times.

    python fullsize.py write DIR [--parts dit t5 vae] [--dit-type bf16|f32] [--dit-layers N] [--t5-layers N]
    python fullsize.py write DIR --model ti2v-5b|t2v-a14b|i2v-a14b [--shards N] [the same options]
    python fullsize.py run DIR dit --wan21 .. [--size 832x480 --frames 81] [--precision f32|bf16] [--impl official|diffusers] [-o F]
    python fullsize.py run DIR t5|vae.decode|vae.encode --wan21 .. [-o F]
    python fullsize.py run .. --serve --inputs F     for bench/: a forward for each line of standard input

`write` makes a Wan2.1-T2V-1.3B folder in the official layout: weights from the generator (streams `full.dit.NAME`, `full.t5.NAME`,
`full.vae.NAME`, the scales of tiny.py), written as they are made, so that memory stays small. With --model it is a folder of
Wan2.2, whose 10 to 57 GB are written as fast as the disk takes them: the same scales, but each matrix is made of pieces of one pool of random
numbers. `run` (of T2V-1.3B alone) prints milliseconds per
forward and writes inputs and output with the names of `wan eval`. --rules runs slowly but as a GPU rounds (README.md); without
it bf16 is PyTorch's own on the device, which is what to time against. T5 keeps one layer in memory; the conversion of its weights
is not in its time.
"""
import argparse
import importlib
import json
import os
import pickle
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

import common
import gen
import tiny
import vae22

DIT = dict(model_type='t2v', text_len=512, in_dim=16, dim=1536, ffn_dim=8960, freq_dim=256, out_dim=16, num_heads=12,
           num_layers=30, eps=1e-6)
A14B = {**DIT, 'dim': 5120, 'ffn_dim': 13824, 'num_heads': 40, 'num_layers': 40}
TI2V = {**DIT, 'model_type': 'ti2v', 'in_dim': 48, 'out_dim': 48, 'dim': 3072, 'ffn_dim': 14336, 'num_heads': 24}
# transformers by folder, shards of each, parameters of each
MODELS = {'t2v-1.3b': (DIT, {'dit': '.'}, 1, 1418996800), 'ti2v-5b': (TI2V, {'dit': '.'}, 3, 4999787712),
          't2v-a14b': (A14B, {'high': 'high_noise_model', 'low': 'low_noise_model'}, 6, 14288491584),
          'i2v-a14b': ({**A14B, 'model_type': 'i2v', 'in_dim': 36},
                       {'high': 'high_noise_model', 'low': 'low_noise_model'}, 6, 14288901184)}
T5 = dict(vocab=256384, dim=4096, dim_attn=4096, dim_ffn=10240, num_heads=64, num_layers=24, num_buckets=32,
          shared_pos=False, dropout=0.0)
PIECE = 1 << 22  # elements made and written at a time


# ---- names and shapes ------------------------------------------------------------------------------------------------


def dit_shapes(c, text_dim=4096):
    d, f, n = c['dim'], c['ffn_dim'], 4 * c['out_dim']
    linear = {'text_embedding.0': (d, text_dim), 'text_embedding.2': (d, d), 'time_embedding.0': (d, c['freq_dim']),
              'time_embedding.2': (d, d), 'time_projection.1': (6 * d, d), 'head.head': (n, d)}
    out = {'patch_embedding.weight': (d, c['in_dim'], 1, 2, 2), 'patch_embedding.bias': (d,), 'head.modulation': (1, 2, d)}
    for i in range(c['num_layers']):
        p = f'blocks.{i}'
        out[f'{p}.modulation'] = (1, 6, d)
        for a in ('self_attn', 'cross_attn'):
            linear.update({f'{p}.{a}.{k}': (d, d) for k in 'qkvo'})
            out.update({f'{p}.{a}.norm_{k}.weight': (d,) for k in 'qk'})
        out.update({f'{p}.norm3.weight': (d,), f'{p}.norm3.bias': (d,)})
        linear.update({f'{p}.ffn.0': (f, d), f'{p}.ffn.2': (d, f)})
    for k, s in linear.items():
        out.update({f'{k}.weight': s, f'{k}.bias': s[:1]})
    return dict(sorted(out.items()))


def t5_shapes(c):
    d, a, f = c['dim'], c['dim_attn'], c['dim_ffn']
    out = {'token_embedding.weight': (c['vocab'], d), 'norm.weight': (d,)}
    for i in range(c['num_layers']):
        p = f'blocks.{i}'
        out.update({f'{p}.norm1.weight': (d,), f'{p}.norm2.weight': (d,), f'{p}.attn.o.weight': (d, a),
                    f'{p}.ffn.gate.0.weight': (f, d), f'{p}.ffn.fc1.weight': (f, d), f'{p}.ffn.fc2.weight': (d, f),
                    f'{p}.pos_embedding.embedding.weight': (c['num_buckets'], c['num_heads'])})
        out.update({f'{p}.attn.{k}.weight': (a, d) for k in 'qkv'})
    return out


def vae_shapes(official, **width):
    """Of WanVAE_, from either version's file."""
    with torch.device('meta'):
        model = official.WanVAE_(dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[], temperal_downsample=[False, True, True],
                                 dropout=0.0, **width)
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


# ---- writing ---------------------------------------------------------------------------------------------------------


def generated(stream, shape, rule, half):
    """The bytes of one tensor, a piece at a time."""
    scale, offset, _ = rule
    n = int(np.prod(shape, dtype=np.int64))
    for a in range(0, n, PIECE):
        v = gen.uniform(stream, (min(PIECE, n - a),), scale, offset, start=a)
        yield (gen.bf16_bits(v) if half else v).tobytes()


class Pool:
    """The bytes of tensors, cut out of eight million random numbers. Pieces start anywhere, so that hardly any two rows of a
    matrix are the same."""
    N, PIECE = 1 << 23, 1 << 20

    def __init__(self):
        self.uniform = gen.uniform('full.pool', (self.N,))
        self.ready = {}  # by scale and type: there are few

    def __call__(self, stream, shape, rule, half):
        n = int(np.prod(shape, dtype=np.int64))
        scale, offset, _ = rule
        if n < self.PIECE:
            yield from generated(stream, shape, rule, half)
            return
        key = scale, offset, half
        if key not in self.ready:
            v = self.uniform * np.float32(scale) + np.float32(offset)
            self.ready[key] = (gen.bf16_bits(v) if half else v).view(np.uint8)
        data, size, at = self.ready[key], 2 if half else 4, gen.name_hash(stream)
        for a in range(0, n, self.PIECE):
            m = min(self.PIECE, n - a)
            start = at % (self.N - m + 1)
            at = at * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
            yield data[start * size:(start + m) * size]


def n_bytes(shape, half):
    return int(np.prod(shape, dtype=np.int64)) * (2 if half else 4)


def write_safetensors(path, prefix, shapes, rule, half, pieces):
    header, at = {'__metadata__': {'format': 'pt'}}, 0
    for k, s in shapes.items():
        size = n_bytes(s, half)
        header[k] = {'dtype': 'BF16' if half else 'F32', 'shape': list(s), 'data_offsets': [at, at + size]}
        at += size
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for k, s in shapes.items():
            for piece in pieces(prefix + k, s, rule(k, s), half):
                f.write(piece)


def write_shards(folder, prefix, shapes, rule, half, pieces, shards):
    """One file, or shards of about the same size and their index."""
    if shards == 1:
        write_safetensors(folder / 'diffusion_pytorch_model.safetensors', prefix, shapes, rule, half, pieces)
        return
    total, at, parts = sum(n_bytes(s, half) for s in shapes.values()), 0, {}
    for k, s in shapes.items():
        parts.setdefault(at * shards // total, {})[k] = s
        at += n_bytes(s, half)
    where = {}
    for i, part in enumerate(parts.values()):
        name = f'diffusion_pytorch_model-{i + 1:05}-of-{len(parts):05}.safetensors'
        where.update(dict.fromkeys(part, name))
        write_safetensors(folder / name, prefix, part, rule, half, pieces)
    (folder / tiny.INDEX).write_text(json.dumps({'metadata': {'total_size': total}, 'weight_map': where}, indent=2) + '\n')


class Storage:

    def __init__(self, kind, key, n):
        self.id = ('storage', kind, key, 'cpu', n)


class Tensor:

    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        stride = tuple(int(np.prod(self.shape[i + 1:], dtype=np.int64)) for i in range(len(self.shape)))
        return torch._utils._rebuild_tensor_v2, (self.storage, 0, self.shape, stride, False, OrderedDict())


class Pickler(pickle.Pickler):

    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Storage) else None


def write_pth(path, prefix, shapes, rule, half, pieces):
    """A torch.save archive, as torch writes it (stored entries, data 64-byte aligned), without holding it in memory."""
    import io
    root, kind = path.stem, torch.BFloat16Storage if half else torch.FloatStorage
    state = OrderedDict((k, Tensor(Storage(kind, str(i), int(np.prod(s, dtype=np.int64))), s))
                        for i, (k, s) in enumerate(shapes.items()))
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(state)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED, allowZip64=True) as z:

        def entry(name, chunks, size):
            info = zipfile.ZipInfo(f'{root}/{name}')
            info.file_size = size
            pad = -(z.fp.tell() + 30 + len(info.filename) + 4) % 64
            info.extra = struct.pack('<2sH', b'FB', pad) + b'Z' * pad
            with z.open(info, 'w') as f:
                for c in chunks:
                    f.write(c)

        entry('data.pkl', [buffer.getvalue()], buffer.tell())
        entry('byteorder', [b'little'], 6)
        for i, (k, s) in enumerate(shapes.items()):
            size = int(np.prod(s, dtype=np.int64)) * (2 if half else 4)
            entry(f'data/{i}', pieces(prefix + k, s, rule(k, s), half), size)
        entry('version', [b'3\n'], 2)


def write(a):
    folder = Path(a.folder)
    if folder.resolve().is_relative_to(common.ROOT):
        sys.exit(f'{folder}: inside the repository; these files are gigabytes')
    folder.mkdir(parents=True, exist_ok=True)
    pieces = generated if a.model == 't2v-1.3b' else Pool()
    for part in a.parts:
        start = time.time()
        for path in {'dit': write_dits, 't5': write_t5, 'vae': write_vae}[part](folder, a, pieces):
            files = path.glob('*.safetensors') if path.is_dir() else [path]
            size = sum(f.stat().st_size for f in files)
            print(f'{path}: {size / 2**30:.2f} GiB, {time.time() - start:.0f} s', flush=True)
            start = time.time()


def write_dits(folder, a, pieces):
    config, folders, shards, parameters = MODELS[a.model]
    if a.dit_layers:
        config = {**config, 'num_layers': a.dit_layers}
    shapes = dit_shapes(config)
    count = sum(int(np.prod(s, dtype=np.int64)) for s in shapes.values())
    if config == MODELS[a.model][0]:
        assert count == parameters, (count, parameters)
    print(f'{a.model}: {count:,} parameters in each transformer')
    for name, where in folders.items():
        tiny.save_config(folder / where, config)
        write_shards(folder / where, f'full.{name}.', shapes, tiny.dit_rule, a.dit_type == 'bf16', pieces, a.shards or shards)
        yield folder / where


def write_t5(folder, a, pieces):
    path = folder / 'models_t5_umt5-xxl-enc-bf16.pth'
    write_pth(path, 'full.t5.', t5_shapes({**T5, 'num_layers': a.t5_layers or T5['num_layers']}), tiny.t5_rule, True, pieces)
    yield path


def write_vae(folder, a, pieces):
    if a.model == 'ti2v-5b':
        if not a.wan22:
            sys.exit('--parts vae of this model needs --wan22 (the shapes come from the official class)')
        common.load_official(a.wan22, 'wan22')
        path, official = folder / 'Wan2.2_VAE.pth', importlib.import_module('wan22.modules.vae2_2')
        shapes, rule = vae_shapes(official, dim=160, dec_dim=256, z_dim=48), vae22.rule
    else:
        if not a.wan21:
            sys.exit('--parts vae needs --wan21 (the shapes come from the official class)')
        path, official = folder / 'Wan2.1_VAE.pth', common.load_official(a.wan21, 'wan21').vae
        shapes, rule = vae_shapes(official, dim=96, z_dim=16), tiny.vae_rule
    write_pth(path, 'full.vae.', shapes, rule, False, pieces)
    yield path


# ---- running ---------------------------------------------------------------------------------------------------------


def sdpa(q, k, v, q_lens=None, k_lens=None, softmax_scale=None, **ignored):
    """PyTorch's fused attention for timing: one sequence without padding."""
    kind = torch.bfloat16 if torch.is_autocast_enabled(q.device.type) or v.dtype == torch.bfloat16 else torch.float32
    n = int(k_lens[0]) if k_lens is not None else k.size(1)
    q, k, v = (u.transpose(1, 2).to(kind) for u in (q, k[:, :n], v[:, :n]))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=softmax_scale).transpose(1, 2).float()


class Run:
    """Where and how a forward runs: `with run:` around it."""

    def __init__(self, a):
        self.device, self.precision, self.rules = torch.device(a.device), a.precision, a.rules

    def __enter__(self):
        if self.rules or self.precision == 'f32':
            self.inner = [common.official_run(self.precision)]
        else:
            self.inner = [torch.no_grad(), torch.amp.autocast(self.device.type, torch.bfloat16)]
        self.saved = torch.cuda.amp.autocast
        if self.device.type == 'cpu' and not self.rules:
            # the official code's regions name CUDA: on the CPU, `dtype=float32` means no autocast
            torch.cuda.amp.autocast = lambda dtype=torch.bfloat16, enabled=True: torch.amp.autocast(
                'cpu', torch.bfloat16, enabled=enabled and dtype != torch.float32 and self.precision == 'bf16')
        for c in self.inner:
            c.__enter__()

    def __exit__(self, *exc):
        torch.cuda.amp.autocast = self.saved
        for c in reversed(self.inner):
            c.__exit__(*exc)


def clock():
    """Seconds: wall, processor time of all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def requests(a):
    """One item for each forward wanted: --repeat of them, or as many as there are lines on standard input."""
    if not a.serve:
        return range(a.repeat)
    print(json.dumps({'ready': True, 'threads': torch.get_num_threads()}), flush=True)
    return iter(sys.stdin.readline, '')


def timed(a, forward, **inputs):
    """The last output of `forward`; says how long each run took, less a.aside (what it did beside the model)."""
    if a.inputs:
        common.save(a.inputs, inputs)
    times, out = [], None
    for _ in requests(a):
        a.aside = np.zeros(2)
        start = clock()
        out = forward()
        if a.device == 'cuda':
            torch.cuda.synchronize()
        times.append((clock() - start - a.aside) * 1000)
        if a.serve:
            print(json.dumps(dict(zip(('ms', 'cpu_ms'), times[-1]))), flush=True)
    if not times:
        sys.exit('no forward asked for')
    wall, cpu = np.round(times, 1).T.tolist()
    print(json.dumps({'part': a.part, 'impl': a.impl, 'precision': a.precision, 'device': a.device, 'threads': torch.get_num_threads(),
                      'ms': wall, 'best_ms': min(wall), 'cpu_ms': cpu}), flush=True)
    return out


def load_dit(a, wan):
    folder = Path(a.folder)
    config = {k: v for k, v in json.loads((folder / 'config.json').read_text()).items() if not k.startswith('_')}
    state = {}
    # Official parameters are float32; plain bf16 (diffusers' pipelines) keeps them bf16.
    kind = torch.float32 if a.impl == 'official' or a.precision == 'f32' else torch.bfloat16
    with safe_open(str(folder / 'diffusion_pytorch_model.safetensors'), 'pt') as f:
        for k in f.keys():
            state[k] = f.get_tensor(k).to(a.device, kind)
    if a.impl == 'official':
        with torch.device('meta'):
            model = wan.model.WanModel(**config)
        model.freqs = torch.cat([wan.model.rope_params(1024, n) for n in (44, 42, 42)], 1)
        model.load_state_dict(state, assign=True)
        return model.eval()
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
    model = WanTransformer3DModel(num_layers=config['num_layers'], num_attention_heads=config['num_heads'], attention_head_dim=128,
                                  ffn_dim=config['ffn_dim'], in_channels=16, out_channels=16, text_dim=4096)
    state = convert_wan_transformer_to_diffusers(state)
    keep = model.state_dict()  # norms and modulation stay float32, as diffusers does
    model.load_state_dict({k: v.to(keep[k].dtype) if 'norm' in k or 'scale_shift' in k else v for k, v in state.items()}, assign=True)
    return model.eval()


def run_dit(a, wan):
    w, h = map(int, a.size.split('x'))
    shape = (16, (a.frames - 1) // 4 + 1, h // 8, w // 8)
    x = common.uniform('full.input.x', shape, 3**0.5).to(a.device)
    context = common.uniform('full.input.context', (a.text_rows, 4096), 1.0).to(a.device)
    t = torch.tensor([a.t], dtype=torch.float32, device=a.device)
    tokens = shape[1] * (shape[2] // 2) * (shape[3] // 2)
    print(f'{tokens} tokens')
    model = load_dit(a, wan)
    if not a.rules:
        wan.model.flash_attention = sdpa
    if a.impl == 'official':
        forward = lambda: model([x], t=t, context=[context], seq_len=tokens)[0]
    else:
        kind = torch.bfloat16 if a.precision == 'bf16' else torch.float32
        padded = torch.cat([context, context.new_zeros(512 - a.text_rows, 4096)])[None].to(kind)
        forward = lambda: model(x[None].to(kind), t, padded, return_dict=False)[0][0].float()
    with torch.no_grad() if a.impl == 'diffusers' else Run(a):
        v = timed(a, forward, x=x, t=t, context=context)
    return dict(x=x, t=t, context=context, v=v)


def run_t5(a, wan):
    """Layer by layer, so that a float32 run needs one layer's memory."""
    state = torch.load(Path(a.folder) / 'models_t5_umt5-xxl-enc-bf16.pth', mmap=True, weights_only=True)
    layers = sum(k.endswith('norm1.weight') for k in state)
    u = gen.uniform('full.input.ids', (a.text_rows,))
    ids = torch.from_numpy((3 + (u + 1) * 0.5 * (T5['vocab'] - 3)).astype(np.int64))
    ids[-1] = 1
    kind = torch.float32 if a.precision == 'f32' else torch.bfloat16
    c = T5

    def forward():
        x = state['token_embedding.weight'][ids][None].to(kind)
        with torch.device('meta'):
            block = wan.t5.T5SelfAttention(c['dim'], c['dim_attn'], c['dim_ffn'], c['num_heads'], c['num_buckets'], False, 0.0)
        for i in range(layers):
            p = f'blocks.{i}.'
            start = clock()
            block.load_state_dict({k[len(p):]: v.to(kind) for k, v in state.items() if k.startswith(p)}, assign=True)
            a.aside += clock() - start
            x = block.eval()(x)
        norm = wan.t5.T5LayerNorm(c['dim'])
        norm.weight.data = state['norm.weight'].to(kind)
        return norm(x)[0]

    with common.official_run('pure' if kind == torch.bfloat16 and a.rules else 'f32'):
        return dict(ids=ids, context=timed(a, forward, ids=ids))


def run_vae(a, wan):
    wrapper = wan.vae.WanVAE(vae_pth=str(Path(a.folder) / 'Wan2.1_VAE.pth'), device='cpu')
    w, h = map(int, a.size.split('x'))
    if a.part == 'vae.decode':
        names, shape, scale = ('latent', 'video'), (16, (a.frames - 1) // 4 + 1, h // 8, w // 8), 1.75
    else:
        names, shape, scale = ('video', 'latent'), (3, a.frames, h, w), 1.0
    value = common.uniform(f'full.input.{names[0]}', shape, scale)
    with common.official_run('f32'):
        out = timed(a, lambda: getattr(wrapper, a.part[4:])([value])[0], **{names[0]: value})
    return {names[0]: value, names[1]: out}


def run(a):
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.part.startswith('vae'):
        a.precision = 'f32'  # as officially
    wan = common.load_official(a.wan21, 'wan21')
    out = {'dit': run_dit, 't5': run_t5, 'vae.decode': run_vae, 'vae.encode': run_vae}[a.part](a, wan)
    for k, v in out.items():
        print(f'{k}: {list(v.shape)} std {v.float().std(correction=0):.3f} max {v.float().abs().max():.3f}')
    if a.output:
        common.save(a.output, out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest='command', required=True)
    w = sub.add_parser('write')
    w.add_argument('folder')
    w.add_argument('--parts', nargs='+', choices=['dit', 't5', 'vae'], default=['dit', 't5', 'vae'])
    w.add_argument('--dit-type', choices=['bf16', 'f32'], default='bf16')
    w.add_argument('--model', choices=MODELS, default='t2v-1.3b')
    w.add_argument('--dit-layers', '--layers', type=int)
    w.add_argument('--shards', type=int, help='files of each transformer; default: as published')
    w.add_argument('--t5-layers', type=int)
    w.add_argument('--wan21')
    w.add_argument('--wan22')
    r = sub.add_parser('run')
    r.add_argument('folder')
    r.add_argument('part', choices=['dit', 't5', 'vae.decode', 'vae.encode'])
    r.add_argument('--wan21', required=True)
    r.add_argument('--size', default='480x320')
    r.add_argument('--frames', type=int, default=17)
    r.add_argument('--text-rows', type=int, default=77)
    r.add_argument('--t', type=float, default=875.0)
    r.add_argument('--precision', choices=['f32', 'bf16'], default='bf16')
    r.add_argument('--rules', action='store_true', help="round as a GPU does, instead of the device's own bf16")
    r.add_argument('--impl', choices=['official', 'diffusers'], default='official')
    r.add_argument('--device', default='cpu')
    r.add_argument('--threads', type=int)
    r.add_argument('--repeat', type=int, default=1)
    r.add_argument('--serve', action='store_true', help='a forward for each line of standard input, instead of --repeat')
    r.add_argument('--inputs', help='write the inputs here before the first forward')
    r.add_argument('-o', '--output')
    a = p.parse_args()
    (write if a.command == 'write' else run)(a)


if __name__ == '__main__':
    main()
