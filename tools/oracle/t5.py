"""Goldens of the text encoder: tiny-t2v's T5, ids -> context, in float32 and as the official run (bf16). README.md: t5."""
import torch

import common
import gen
import tiny

LENGTHS = (1, 7, 40, 200)


def ids(n):
    """n token ids ending in </s> (1), drawn from the generator."""
    u = gen.uniform(f'input.t5.{n}', (n,))
    v = 3 + ((u + 1) * 0.5 * (tiny.T5['vocab'] - 3)).astype(int)
    v[-1] = 1
    return torch.from_numpy(v)[None]


def run(model, tokens, hooks=None):
    handles = [m.register_forward_hook(lambda m, i, o, k=k: hooks.__setitem__(k, o[0])) for k, m in (
        [('embed', model.token_embedding)] + [(f'block.{i}', b) for i, b in enumerate(model.blocks)] if hooks is not None
        else [])]
    out = model(tokens, torch.ones_like(tokens))[0]
    for h in handles:
        h.remove()
    return out


def main():
    a = common.arguments(__doc__).parse_args()
    wan = common.load_official(a.wan21, 'wan21')
    model, _ = tiny.t5(wan.t5)
    half, _ = tiny.t5(wan.t5)
    half = half.bfloat16()  # exact: the weights are stored so
    for n in LENGTHS:
        tokens, dump = ids(n), {}
        with common.official_run('f32'):
            truth = run(model, tokens, dump)
            # the pipeline pads to 512 and masks: the same rows
            padded = torch.cat([tokens, tokens.new_zeros(1, 512 - n)], 1)
            full = model(padded, (torch.arange(512) < n).long()[None])[0, :n]
        with common.official_run('pure'):
            rough = run(half, tokens)
            assert rough.dtype == torch.bfloat16
        print(f't5 n={n}: padded to 512 %.1e, official bf16 %.1e %.1e' %
              (common.error(full, truth)[0], *common.error(rough, truth)))
        out = {'ids': tokens[0], 'context': truth, 'context_bf16': rough}
        if n == 40:
            out.update(dump)
        common.save(common.GOLDEN / f't5_{n}.safetensors', out)


if __name__ == '__main__':
    main()
