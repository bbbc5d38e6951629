"""Goldens of one transformer block at each true width, about 2,000 tokens at the far end of the official grid. Weights and
inputs come from the generator on both sides; the file holds a sample of the outputs. README.md: dit_width."""
import torch

import common
import gen

# width, ffn, heads, whole grid (F, H, W in tokens), the box at its far end that is computed
WIDTHS = {
    '1.3b': (1536, 8960, 12, (21, 30, 52), (2, 20, 50)),
    '5b': (3072, 14336, 24, (31, 22, 40), (3, 20, 34)),
    '14b': (5120, 13824, 40, (21, 45, 80), (2, 20, 50)),
}
TEXT_ROWS, TEXT_LEN = 77, 512
SAMPLE, SAMPLE_MID = 2048, 512


def rule(name, shape):
    """(scale, offset, bf16?) of a block's weight: as tiny.py's, every matrix bf16."""
    if 'norm_q' in name or 'norm_k' in name:
        return 0.5, 1.5, False
    if name.endswith('norm3.weight'):
        return 0.25, 1.0, False
    if name.endswith('modulation'):
        return 0.5, 0.0, False
    if len(shape) == 1:
        return 0.25, 0.0, False
    return (3.0 / common.fan_in(shape))**0.5, 0.0, True


def build(official, name):
    dim, ffn, heads, grid, box = WIDTHS[name]
    with torch.device('meta'):
        block = official.WanAttentionBlock('t2v_cross_attn', dim, ffn, heads, (-1, -1), True, True, 1e-6)
    state = {}
    for k, p in block.state_dict().items():
        scale, offset, half = rule(k, tuple(p.shape))
        w = gen.uniform(f'width.{name}.{k}', tuple(p.shape), scale, offset)
        state[k] = torch.from_numpy(gen.bf16_round(w) if half else w)
    block.load_state_dict(state, assign=True)
    return block.eval().requires_grad_(False)


def inputs(official, name):
    dim, ffn, heads, grid, box = WIDTHS[name]
    tokens = box[0] * box[1] * box[2]
    stream = lambda k, shape, *how: torch.from_numpy(gen.uniform(f'width.{name}.input.{k}', shape, *how))
    text = stream('context', (TEXT_ROWS + 1, dim), 1.5)
    text = torch.cat([text[:TEXT_ROWS], text[TEXT_ROWS:].expand(TEXT_LEN - TEXT_ROWS, dim)])
    # the tables of the positions in the box, so that the official rope_apply counts from its corner
    d = dim // heads
    first = [g - b for g, b in zip(grid, box)]
    axes = [d - 4 * (d // 6), 2 * (d // 6), 2 * (d // 6)]
    table = [official.rope_params(1024, a) for a in axes]
    freqs = torch.cat([t[f:f + 900] for t, f in zip(table, first)], 1)
    return dict(x=stream('x', (1, tokens, dim), 2.0), e=stream('e0', (1, 6, dim), 0.5),
                seq_lens=torch.tensor([tokens]), grid_sizes=torch.tensor([box]), freqs=freqs, context=text[None],
                context_lens=None)


def run(block, kwargs):
    """(x after self attention, after cross attention, after the whole block), each [tokens, dim]."""
    mid = {}
    handles = [m.register_forward_pre_hook(lambda m, i, n=n: mid.__setitem__(n, i[0][0].clone()))
               for n, m in (('self', block.norm3), ('cross', block.norm2))]
    out = block(**kwargs)[0]
    for h in handles:
        h.remove()
    assert out.dtype == torch.float32
    return {**mid, 'out': out}


def main():
    p = common.arguments(__doc__)
    p.add_argument('--only', choices=WIDTHS, help='one width')
    a = p.parse_args()
    wan = common.load_official(a.wan21, 'wan21').model
    for name in [a.only] if a.only else WIDTHS:
        dim, ffn, heads, grid, box = WIDTHS[name]
        block, kwargs, file, whole = build(wan, name), inputs(wan, name), {}, {}
        for precision in ('f32', 'bf16'):
            with common.official_run(precision):
                whole[precision] = run(block, kwargs)
        for stage, truth in whole['f32'].items():
            rough = whole['bf16'][stage]
            index = torch.from_numpy(gen.sample_index(truth.numel(), SAMPLE if stage == 'out' else SAMPLE_MID))
            file[stage], file[f'{stage}_bf16'] = truth.flatten()[index], rough.flatten()[index]
            file[f'{stage}.norm'] = truth.double().norm().reshape(1)
            file[f'{stage}.max'] = truth.abs().max().reshape(1)
            errors = common.error(rough, truth)
            file[f'{stage}.error_bf16'] = torch.tensor(errors)
            print(f'width {name} {stage}: std {truth.std():.2f} max {truth.abs().max():.1f}, official bf16 %.2e %.2e' % errors)
        # One key: safetensors writes several in an order of its own each time.
        common.save(common.GOLDEN / f'dit_width_{name}.safetensors', file, block=f'dim {dim}, ffn {ffn}, heads {heads}, '
                    f'grid {"x".join(map(str, grid))}, box {"x".join(map(str, box))}')


if __name__ == '__main__':
    main()
