"""Goldens of single operations for `wan eval`: attention, rope, rmsnorm, sinusoid, from the official functions.
README.md: parts."""
import torch

import common


def uniform(case, name, shape, scale=1.0, offset=0.0):
    return common.uniform(f'input.{case}.{name}', shape, scale, offset)


def save(case, tensors, **options):
    """`options`: the arguments of `wan eval` beside the tensors, as metadata `args`."""
    args = ' '.join(f'--{k}' if v is True else f'--{k} {v}' for k, v in options.items())
    common.save(common.GOLDEN / f'{case}.safetensors', tensors, **({'args': args} if args else {}))


def attention(case, q_shape, lk, k_lens=None, scale=None, causal=False, window=None):
    """The official contract of flash_attention (common.plain_attention) in float64, and as the bf16 kernel."""
    b, lq, n, d = q_shape
    q, k, v = (uniform(case, s, (b, length, n, d), w) for s, length, w in (('q', lq, 3.), ('k', lk, 3.), ('v', lk, 1.)))
    tensors = {'q': q, 'k': k, 'v': v}
    if k_lens:
        tensors['k_lens'] = torch.tensor(k_lens)
    how = dict(k_lens=tensors.get('k_lens'), softmax_scale=scale, causal=causal, window_size=window or (-1, -1))
    with common.official_run('f64'):
        tensors['out'] = common.plain_attention(q.double(), k.double(), v.double(), **how)
    with common.official_run('bf16'):
        tensors['out_bf16'] = common.plain_attention(q, k, v, **how)
    options = {'scale': scale, 'causal': causal or None, 'window': window and ','.join(map(str, window))}
    print(f'{case}: bf16 %.2e %.2e' % common.error(tensors['out_bf16'], tensors['out']))
    save(case, tensors, **{k: v for k, v in options.items() if v is not None})


def rope(case, official, shape, grids, start=0):
    """Official rope_apply; a first frame other than 0 shifts the table of the time axis."""
    b, length, n, d = shape
    t, h, w = (official.rope_params(1024, a) for a in (d - 4 * (d // 6), 2 * (d // 6), 2 * (d // 6)))
    freqs = torch.cat([t[start:start + 900], h[:900], w[:900]], 1)
    x, grid = uniform(case, 'x', shape), torch.tensor(grids)
    with common.official_run('f32'):
        out = official.rope_apply(x, grid, freqs)
    save(case, {'x': x, 'grid_sizes': grid, 'out': out}, **({'start': start} if start else {}))


def rmsnorm(case, official, shape, eps, scale=1.0):
    norm = official.WanRMSNorm(shape[-1], eps=eps)
    norm.weight.data = uniform(case, 'weight', shape[-1:], 0.5, 1.0)
    x = uniform(case, 'x', shape, scale)
    with common.official_run('f32'):
        save(case, {'x': x, 'weight': norm.weight, 'out': norm(x)}, eps=eps)


def sinusoid(case, official, position, dim):
    p = torch.tensor(position, dtype=torch.float32)
    with common.official_run('f32'):
        save(case, {'position': p, 'embedding': official.sinusoidal_embedding_1d(dim, p)}, dim=dim)


def main():
    a = common.arguments(__doc__).parse_args()
    model = common.load_official(a.wan21, 'wan21').model
    attention('attention_plain', (1, 11, 1, 128), 26)
    attention('attention_lens', (2, 9, 3, 24), 21, k_lens=[21, 5], scale=0.25)
    attention('attention_causal', (1, 13, 2, 32), 13, causal=True)
    attention('attention_causal_more_keys', (1, 7, 1, 32), 19, causal=True)
    attention('attention_causal_no_key', (1, 19, 1, 32), 7, causal=True)  # the first 12 rows see nothing: 0
    attention('attention_window', (1, 30, 2, 16), 30, window=(4, 2))
    attention('attention_window_left', (1, 12, 1, 16), 25, window=(6, -1))
    attention('attention_window_lens', (2, 10, 1, 16), 24, k_lens=[24, 9], window=(3, 3))
    rope('rope_128', model, (1, 31, 1, 128), [[2, 3, 5]])  # one token past the grid
    rope('rope_64', model, (2, 12, 2, 64), [[2, 3, 2], [1, 5, 2]])
    rope('rope_start', model, (1, 24, 1, 128), [[3, 2, 4]], start=20)
    rope('rope_far', model, (1, 84, 1, 32), [[1, 1, 84]])
    rope('rope_frames', model, (1, 28, 1, 128), [[14, 1, 2]], start=3)  # frames 3 to 16
    rmsnorm('rmsnorm', model, (3, 7, 96), 1e-6)
    rmsnorm('rmsnorm_small', model, (5, 33), 1e-5, 0.004)  # eps matters
    sinusoid('sinusoid', model, [0., 1., 92., 487., 612.625, 875., 999., 1000.], 256)
    sinusoid('sinusoid_32', model, [0.5, 999.], 32)


if __name__ == '__main__':
    main()
