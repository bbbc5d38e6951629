"""Goldens of the transformer: the official forward in float32 and as on a GPU under bf16 autocast. README.md: dit."""
import torch

import common
import tiny

F32, BF16 = torch.float32, torch.bfloat16


def uniform(case, name, shape, scale=1.0, offset=0.0):
    return common.uniform(f'input.{case}.{name}', shape, scale, offset)


def forward(model, x, t, context, y=None):
    """One official forward, seq_len = the number of tokens. Returns (v, intermediates, type of every module's output)."""
    dump, types = {}, {}
    names = {'patch_embedding': 'patch', 'time_embedding': 'time', 'time_projection': 'time_proj',
             'text_embedding': 'text', 'head': 'head', **{f'blocks.{i}': f'block.{i}' for i in range(len(model.blocks))}}

    def note(module, inputs, output, name):
        types[name] = output.dtype
        if name in names:
            dump[names[name]] = output[0].float()

    handles = [m.register_forward_hook(lambda m, i, o, n=n: note(m, i, o, n)) for n, m in model.named_modules() if n]
    tokens = x.shape[1] * (x.shape[2] // 2) * (x.shape[3] // 2)
    extra = {'y': [y]} if y is not None else {}
    v = model([x], t=t[None] if t.numel() == tokens > 1 else t, context=[context], seq_len=tokens, **extra)[0]
    for h in handles:
        h.remove()
    dump['patch'] = dump['patch'].flatten(1).T
    dump['text'] = dump['text'][:context.shape[0] + 1]  # one row stands for all the padding
    dump['time'] = dump['time'].reshape(-1, model.dim)
    dump['time_proj'] = dump['time_proj'].reshape(-1, 6, model.dim)
    return v, dump, types


def check_types(types):
    """spec dit.md 8: which type each step of the autocast run gives."""
    expect = {'patch_embedding': BF16, 'time_embedding': F32, 'time_projection': F32, 'text_embedding.0': BF16,
              'text_embedding.1': BF16, 'text_embedding.2': BF16, 'blocks.0.norm1': BF16, 'blocks.0.self_attn.q': BF16,
              'blocks.0.self_attn.norm_q': F32, 'blocks.0.self_attn.norm_k': F32, 'blocks.0.self_attn.v': BF16,
              'blocks.0.self_attn.o': BF16, 'blocks.0.norm3': F32, 'blocks.0.cross_attn.norm_q': F32,
              'blocks.0.cross_attn': BF16, 'blocks.0.norm2': F32, 'blocks.0.ffn.0': BF16, 'blocks.0.ffn.1': BF16,
              'blocks.0.ffn.2': BF16, 'blocks.0': F32, 'blocks.1.norm1': F32, 'head.norm': F32, 'head.head': F32}
    wrong = {k: types[k] for k, v in expect.items() if types[k] != v}
    assert not wrong, wrong


def case(name, net, x, t, context, y=None, dump=False, **metadata):
    out = {'x': x, 't': t, 'context': context}
    if y is not None:
        out['y'] = y
    with common.official_run('f32'):
        v, mid, types = forward(net, x, t, context, y)
        assert set(types.values()) == {F32}
    with common.official_run('bf16'):
        rough, mid_bf16, types = forward(net, x, t, context, y)
        check_types(types)
    out.update(v=v, v_bf16=rough)
    if dump:
        out.update({k: u for k, u in mid.items() if k != 'time_proj' or len(t) == 1})
        out.update({f'bf16.{k}': u for k, u in mid_bf16.items() if dump == 'both' and not k.startswith('time')})
    print(f'{name}: |v| max {v.abs().max():.2f} std {v.std():.2f}; official bf16 %.2e %.2e; blocks std ' %
          common.error(rough, v) + ' '.join(f'{mid[k].std():.2f}' for k in sorted(mid) if k.startswith('block')))
    common.save(common.GOLDEN / f'{name}.safetensors', out, **metadata)


def text(name, n):
    return uniform(name, 'context', (n, tiny.TEXT_DIM), 1.5)


def main():
    a = common.arguments(__doc__, wan22=True).parse_args()
    w21, w22 = common.load_official(a.wan21, 'wan21'), common.load_official(a.wan22, 'wan22')
    folder = dict(model='tiny-t2v')
    model, state = tiny.dit(w21.model, tiny.TINY, 'tiny.')
    noise = lambda name, f, h, w, c=16: uniform(name, 'x', (c, f, h, w), 1.75)
    t = lambda v: torch.tensor([v], dtype=F32)
    n = 'dit_main'
    case(n, model, noise(n, 3, 6, 10), t(487.), text(n, 13), dump='both', **folder)
    n = 'dit_odd'  # trailing rows and columns are dropped
    case(n, model, noise(n, 2, 7, 9), t(999.), text(n, 1), **folder)
    n = 'dit_image'  # one frame, t = 0
    case(n, model, noise(n, 1, 10, 6), t(0.), text(n, 40), **folder)
    n = 'dit_long'  # more tokens than one tile of anything
    case(n, model, noise(n, 3, 10, 12), t(92.), text(n, 77), **folder)

    model, _ = tiny.dit(w21.model, {**tiny.TINY, 'text_len': 32}, 'tiny.')
    for rows in (1, 13, 32):
        n = f'dit_text32_{rows}'
        case(n, model, noise(n, 2, 4, 6), t(761.), text(n, rows), model='tiny-t2v-text32')

    # Wan2.2: a timestep per token
    model, _ = tiny.dit(w22.model, tiny.TINY, 'tiny.')
    n = 'dit_tokens2'  # as TI2V: 0 for the first frame's tokens, t for the others
    steps = torch.tensor([0.] * 6 + [812.] * 12)
    case(n, model, noise(n, 3, 4, 6), steps, text(n, 13), dump='f32', **folder)
    n = 'dit_tokens'  # all different, fractions included
    case(n, model, noise(n, 3, 4, 6), uniform(n, 't', (18,), 480., 500.), text(n, 7), **folder)
    n = 'dit_fraction'  # one fractional timestep
    case(n, model, noise(n, 1, 4, 6), t(612.625), text(n, 7), **folder)

    # The tiny models of Wan2.2: each expert, with and without a condition, and TI2V with 0 for the first frame's tokens
    for task in ('t2v', 'i2v'):
        for which, step in zip(tiny.EXPERTS, (937., 624.)):
            n = f'dit_{task}_{which}'
            y = uniform(n, 'y', (20, 2, 4, 6)) if task == 'i2v' else None
            case(n, tiny.expert(w22.model, task, which)[0], noise(n, 2, 4, 6), t(step), text(n, 9), y=y,
                 model=f'tiny-{task}-a14b', expert=which)
    n = 'dit_ti2v'
    case(n, tiny.ti2v(w22.model)[0], noise(n, 3, 4, 6, 48), torch.tensor([0.] * 6 + [833.] * 12), text(n, 11), model='tiny-ti2v')

    # Wan2.2 I2V-A14B's form: 16 + 20 channels in, heads of 128; weights from the generator, not in git
    model, _ = tiny.dit(w22.model, tiny.WIDE, 'wide.')
    n = 'dit_wide'
    case(n, model, noise(n, 3, 8, 8), t(875.), text(n, 21), y=uniform(n, 'y', (20, 3, 8, 8)), weights='wide')


if __name__ == '__main__':
    main()
