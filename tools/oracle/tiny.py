"""The tiny checkpoints: official layout, names and file kinds, random weights from the generator (gen.py).

tests/golden/model/tiny-t2v/          a whole T2V checkpoint folder, in git
tests/golden/model/tiny-t2v-text32/   the same transformer with text_len 32 (links to the same shards)
tests/golden/model/tiny-t2v-a14b/     two experts, in folders of their own; tokenizer, T5 and VAE 2.1 are links
tests/golden/model/tiny-i2v-a14b/     the same experts with 36 input channels (links to all but the patch embeddings)
tests/golden/model/tiny-ti2v/         one transformer for latents of 48 channels; VAE 2.2 is a link
make_wide(folder)                     the `wide` transformer (two heads of 128, 36 input channels); not in git
"""
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

import common

TINY = dict(model_type='t2v', text_len=512, in_dim=16, dim=128, ffn_dim=320, freq_dim=256, out_dim=16, num_heads=2,
            num_layers=3, eps=1e-6)
WIDE = dict(model_type='i2v', text_len=512, in_dim=36, dim=256, ffn_dim=384, freq_dim=256, out_dim=16, num_heads=2,
            num_layers=2, eps=1e-6)
A14B = dict(model_type='t2v', text_len=512, in_dim=16, dim=80, ffn_dim=112, freq_dim=64, out_dim=16, num_heads=2,
            num_layers=2, eps=1e-6)
TI2V = dict(model_type='ti2v', text_len=512, in_dim=48, dim=96, ffn_dim=144, freq_dim=64, out_dim=48, num_heads=2,
            num_layers=2, eps=1e-6)
EXPERTS = 'high', 'low'
TEXT_DIM = 64  # not in config.json, as officially: readers take it from text_embedding.0.weight
T5 = dict(vocab=512, dim=64, dim_attn=64, dim_ffn=160, num_heads=4, num_layers=3, num_buckets=32, shared_pos=False,
          dropout=0.0)
VAE_WIDTH = 6


# ---- sizes of the weights: every term must matter, and activations stay near 1 ---------------------------------------


def dit_rule(name, shape):
    """(scale, offset, stored as bf16) of a transformer weight; see README.md, "Weights"."""
    last = name.rsplit('.', 2)
    if 'norm_q' in name or 'norm_k' in name:
        return 0.5, 1.5, False
    if name.endswith('norm3.weight'):
        return 0.25, 1.0, False
    if name.endswith('modulation'):
        return 0.5, 0.0, False
    if len(shape) == 1:
        return 0.25, 0.0, False
    gain = 0.5 if name.startswith('time_projection') else 1.0
    full = ('patch_embedding', 'time_embedding', 'head.head', 'blocks.0.self_attn')
    return gain * (3.0 / common.fan_in(shape))**0.5, 0.0, not name.startswith(full)


def small_rule(name, shape):
    """Of the Wan2.2 transformers: as dit_rule, but all of the blocks' matrices are stored as BF16."""
    scale, offset, _ = dit_rule(name, shape)
    full = len(shape) == 1 or name.endswith('modulation') or name.startswith(('patch_embedding', 'time_embedding', 'head'))
    return scale, offset, not full


def t5_rule(name, shape):
    if len(shape) == 1:
        return 0.25, 1.0, True
    if 'embedding' in name:  # tokens, and the table of relative positions
        return 2.0, 0.0, True
    gain = 0.5 if name.endswith('attn.q.weight') else 1.0
    return gain * (3.0 / common.fan_in(shape))**0.5, 0.0, True


def vae_rule(name, shape):
    if name.endswith('gamma'):
        return 0.25, 1.0, False
    if name.endswith('bias'):
        return 0.25, 0.0, False
    gain = 0.9 if name.startswith('decoder.head') else 1.4  # SiLU takes about half of the variance
    return gain * (3.0 / common.fan_in(shape))**0.5, 0.0, False


# ---- models ----------------------------------------------------------------------------------------------------------


def dit(official, config, prefix):
    """(official WanModel in float32, its state as stored). Wan2.1's and Wan2.2's class give the same weights."""
    c = dict(config)
    if c['model_type'] == 'i2v' and official.__name__.startswith('wan21'):
        raise ValueError("Wan2.1's i2v needs CLIP features")
    model = official.WanModel(text_dim=TEXT_DIM, **c)
    return model, common.fill(model, prefix, dit_rule)


def dit22(official, config, prefix):
    """(official WanModel of Wan2.2 in float32, its state as stored)."""
    model = official.WanModel(text_dim=TEXT_DIM, **config)
    return model, common.fill(model, prefix, small_rule)


def expert(official, task, which):
    """An expert of tiny-t2v-a14b or tiny-i2v-a14b (`task`: t2v, i2v): the same but for the patch embedding."""
    if task == 't2v':
        return dit22(official, A14B, f'a14b.{which}.')
    model, state = dit22(official, {**A14B, 'model_type': 'i2v', 'in_dim': 36}, f'a14b.{which}.')
    patch = common.fill(model.patch_embedding, f'a14b.{which}.i2v.patch_embedding.',
                        lambda name, shape: small_rule(f'patch_embedding.{name}', shape))
    return model, {**state, **{f'patch_embedding.{k}': v for k, v in patch.items()}}


def ti2v(official):
    return dit22(official, TI2V, 'ti2v.')


def t5(official):
    model = official.T5Encoder(**T5)
    return model, common.fill(model, 't5.', t5_rule)


def vae(official, path=None):
    """The official wrapper (WanVAE or Wan2_1_VAE) around a VAE of width VAE_WIDTH; `path`: where its .pth lies or goes."""
    path = path or common.GOLDEN / 'tiny-t2v' / 'Wan2.1_VAE.pth'
    if not Path(path).exists():
        model = official.WanVAE_(dim=VAE_WIDTH, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
                                 temperal_downsample=[False, True, True], dropout=0.0)
        save_pth(path, common.fill(model, 'vae.', vae_rule))
    make = official._video_vae
    official._video_vae = lambda **kw: make(dim=VAE_WIDTH, **kw)
    try:
        wrapper = getattr(official, 'WanVAE', None) or official.Wan2_1_VAE
        return wrapper(vae_pth=str(path), device='cpu')
    finally:
        official._video_vae = make


# ---- files -----------------------------------------------------------------------------------------------------------


def save_pth(path, state):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({k: v.clone() for k, v in state.items()}, path)
    print(f'{path.name}: {len(state)} tensors, {path.stat().st_size / 1024:.0f} KiB')


def save_config(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    text = {'_class_name': 'WanModel', '_diffusers_version': '0.30.0', **config}
    (folder / 'config.json').write_text(json.dumps(dict(sorted(text.items())), indent=2) + '\n')


INDEX = 'diffusion_pytorch_model.safetensors.index.json'


def save_shards(folder, state, later=(('blocks.1', 'blocks.2', 'head'),), links={}):
    """diffusion_pytorch_model-0000i-of-0000n.safetensors and the index. `later`: beginnings of the names in the second and
    following shards; the rest is in the first. `links`: number of a shard -> the file that it links to."""
    names = [f'diffusion_pytorch_model-{i + 1:05}-of-{len(later) + 1:05}.safetensors' for i in range(len(later) + 1)]
    where = {k: names[next((i + 1 for i, start in enumerate(later) if k.startswith(start)), 0)] for k in sorted(state)}
    for i, name in enumerate(names):
        if i + 1 in links:
            link(folder / name, links[i + 1] + name)
            continue
        save_file({k: state[k].contiguous() for k in where if where[k] == name}, str(folder / name),
                  metadata={'format': 'pt'})
        (folder / name).chmod(0o644)
        print(f'{name}: {(folder / name).stat().st_size / 1024:.0f} KiB')
    total = sum(v.numel() * v.element_size() for v in state.values())
    index = {'metadata': {'total_size': total}, 'weight_map': where}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + '\n')
    return names


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.symlink(target, path)


def make_wide(folder, official):
    folder = Path(folder)
    save_config(folder, WIDE)
    save_shards(folder, dit(official, WIDE, 'wide.')[1])


def make(wan21):
    folder = common.GOLDEN / 'tiny-t2v'
    save_config(folder, TINY)
    names = save_shards(folder, dit(wan21.model, TINY, 'tiny.')[1])
    other = common.GOLDEN / 'tiny-t2v-text32'
    save_config(other, {**TINY, 'text_len': 32})
    for name in names + [INDEX]:
        link(other / name, f'../tiny-t2v/{name}')
    save_pth(folder / 'models_t5_umt5-xxl-enc-bf16.pth', t5(wan21.t5)[1])
    (folder / 'Wan2.1_VAE.pth').unlink(missing_ok=True)
    vae(wan21.vae)


TOKENIZER = common.ROOT / 'tests' / 'golden' / 'text' / 'old.json'  # its 510 tokens fit the text encoder's 512


def link_parts(folder, vae, target):
    """Text encoder, tokenizer and VAE of a Wan2.2 folder."""
    t5 = 'models_t5_umt5-xxl-enc-bf16.pth'
    link(folder / t5, f'../tiny-t2v/{t5}')
    link(folder / 'google' / 'umt5-xxl' / 'tokenizer.json', '../../../../text/' + TOKENIZER.name)
    link(folder / vae, target)


def make22(official):
    everything_else = ('blocks', 'head', 'text', 'time'),
    for task in ('t2v', 'i2v'):
        folder = common.GOLDEN / f'tiny-{task}-a14b'
        link_parts(folder, 'Wan2.1_VAE.pth', '../tiny-t2v/Wan2.1_VAE.pth')
        for which in EXPERTS:
            model, state = expert(official, task, which)
            name = f'{which}_noise_model'
            save_config(folder / name, {k: model.config[k] for k in A14B})
            save_shards(folder / name, state, everything_else, {2: f'../../tiny-t2v-a14b/{name}/'} if task == 'i2v' else {})
    folder = common.GOLDEN / 'tiny-ti2v'
    link_parts(folder, 'Wan2.2_VAE.pth', '../vae22_tiny.pth')
    save_config(folder, TI2V)
    save_shards(folder, ti2v(official)[1], (('blocks.0',), ('blocks.1', 'head')))


if __name__ == '__main__':
    p = common.arguments(__doc__)
    p.add_argument('--wide', metavar='DIR', help='write the `wide` transformer there (needs --wan22) and nothing else')
    a = p.parse_args()
    if a.wide:
        if not a.wan22:
            sys.exit('--wide needs --wan22')
        make_wide(a.wide, common.load_official(a.wan22, 'wan22').model)
    else:
        make(common.load_official(a.wan21, 'wan21'))
        if a.wan22:
            make22(common.load_official(a.wan22, 'wan22').model)
