"""Goldens of single operations: tests/golden/kernels/ops.safetensors, which tests/kernels/test_ref.c compares the
reference device with. Everything is computed by torch in float64 from float32 inputs and rounded once.

    python tools/oracle/kernels.py
"""
import torch
import torch.nn.functional as F

from common import ROOT, bf16_round, save, uniform, window_mask

T = {}


def make(name, *shape, scale=1.0):
    """A float32 input in (-scale, scale), kept under `name`; returned in float64."""
    T[name] = uniform('kernels.' + name, shape, scale)
    return T[name].double()


def keep(name, value):
    T[name] = value


def bf16(x):
    return bf16_round(x.float()).double()


def activations():
    x = torch.cat([torch.linspace(-30, 30, 241), torch.tensor([-100., -0., 1e-6, -1e-6, 100.])]).float()
    keep('act.x', x)
    x = x.double()
    keep('act.silu', F.silu(x))
    # the tanh form, 0.5 x (1 + tanh u): torch loses it to cancellation far below 0, where 1 + tanh u = 2 / (1 + exp(-2u))
    u = (2 / torch.pi)**0.5 * (x + 0.044715 * x**3)
    keep('act.gelu_tanh', torch.where(x > -3, F.gelu(x, approximate='tanh'), x / (1 + torch.exp(-2 * u))))
    # erfc likewise
    keep('act.gelu_erf', torch.where(x > -2, F.gelu(x), 0.5 * x * torch.special.erfc(-x * 0.5**0.5)))


def linear():
    x, w, b = make('linear.x', 5, 19), make('linear.w', 7, 19, scale=0.4), make('linear.b', 7)
    y = F.linear(x, w, b)
    keep('linear.none', y)
    keep('linear.silu', F.silu(y))
    keep('linear.gelu_tanh', F.gelu(y, approximate='tanh'))
    keep('linear.gelu_erf', F.gelu(y))
    keep('linear.bf16', F.linear(bf16(x), bf16(w), b))
    mul, add, table = make('linear.mul', 5, 7), make('linear.add', 5, 7), make('linear.table', 3, 4, 7)
    index = torch.tensor([2, 0, 1, 1, 2])
    keep('linear.index', index)
    y = F.gelu(F.linear(x, w, b), approximate='tanh') * mul
    keep('linear.all', add + table[index, 2] * y)
    keep('linear.gate', table[0, 3] * F.linear(x, w))


def norms():
    D = 21
    x, w, b = make('norm.x', 6, D, scale=2.0), make('norm.w', D), make('norm.b', D)
    x[2] += 5
    T['norm.x'] = x = x.float()
    x = x.double()
    table, index = make('norm.table', 2, 6, D), torch.tensor([0, 1, 1, 0, 1, 0])
    keep('norm.index', index)
    keep('norm.layer', F.layer_norm(x, (D,), w, b, eps=1e-6))
    keep('norm.layer_mod', F.layer_norm(x, (D,), eps=1e-6) * (1 + table[index, 4]) + table[index, 3])
    keep('norm.rms', F.rms_norm(x, (D,), w, eps=1e-5))
    keep('norm.l2', F.silu(F.normalize(x, dim=-1, eps=1e-12) * D**0.5 * w + b))
    keep('norm.zero', F.normalize(torch.zeros(1, D).double(), dim=-1, eps=1e-12))


def rope():
    n, heads, hd = 5, 3, 8
    x, w = make('qk.x', n, heads * hd, scale=2.0), make('qk.w', heads * hd)
    angle = make('qk.angle', 4, hd // 2, scale=3.0)
    turn = torch.polar(torch.ones_like(angle), angle)
    table = torch.view_as_real(turn).flatten(1).float()
    keep('qk.rope', table)
    turn = torch.view_as_complex(table.double().unflatten(1, (-1, 2)))
    index = torch.tensor([3, 0, 0, 2, 1])
    keep('qk.index', index)

    def apply(y, p):
        c = torch.view_as_complex(y.reshape(n, heads, hd // 2, 2).contiguous())
        return torch.view_as_real(c * turn[p][:, None]).flatten(2)

    y = F.rms_norm(x, (heads * hd,), w, eps=1e-6)
    keep('qk.norm', y)
    keep('qk.indexed', apply(y, index))
    keep('qk.cyclic', apply(x, torch.arange(n) % 4))


def attention():
    lq, lk, heads, hd = 7, 11, 2, 12
    q, k, v = (make(f'attention.{i}', n, heads, hd, scale=2.0) for i, n in (('q', lq), ('k', lk), ('v', lk)))

    def run(q, k, v, mask=None, **kw):
        out = F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (q, k, v)), attn_mask=mask, **kw)
        return out[0].transpose(0, 1)

    keep('attention.plain', run(q, k, v))
    keep('attention.scale', run(q, k, v, scale=0.75))
    keep('attention.bf16', run(bf16(q), bf16(k), bf16(v)))
    keep('attention.causal', run(q, k, v, window_mask(lq, lk, True, (-1, -1))))
    keep('attention.window', run(q, k, v, window_mask(lq, lk, False, (3, 1))))
    # more queries than keys: the first 4 rows see nothing and give 0
    out = run(q[:, :], k[:3], v[:3], window_mask(lq, 3, True, (-1, -1)))
    keep('attention.no_key', torch.where(torch.arange(lq)[:, None, None] < 4, 0., torch.nan_to_num(out)))
    R = 13
    bias = make('attention.bias', heads, 2 * R - 1)
    i, j = torch.arange(lq)[:, None], torch.arange(lk)[None]
    keep('attention.biased', run(q, k, v, bias[:, j - i + R - 1][None]))
    # a key of log weight log m is m equal keys
    count = torch.tensor([1, 1, 3, 1, 1, 0, 2, 1, 1, 1, 40])
    keep('attention.log_weight', count.double().log().clamp(min=-1e30))
    log_weight = T['attention.log_weight'] = T['attention.log_weight'].float()
    exact = log_weight.double()  # as rounded
    keep('attention.weighted', run(q, k, v, exact[None, None, None].expand(1, heads, lq, lk)))
    keep('attention.repeated', run(q, k.repeat_interleave(count, 0), v.repeat_interleave(count, 0)))
    # segments [3, 0, 4] of queries against [5, 2, 4] of keys
    keep('attention.segments', torch.cat([run(q[:3], k[:5], v[:5]), run(q[3:], k[7:], v[7:])]))


def conv():
    x, cache = make('conv.x', 3, 6, 7, 5), make('conv.cache', 2, 6, 7, 5)
    w, b = make('conv.w', 4, 5, 3, 3, 3, scale=0.3), make('conv.b', 4)
    w2 = make('conv.w2', 4, 5, 3, 3, scale=0.3)
    wt = make('conv.wt', 4, 5, 3, 1, 1, scale=0.3)

    def first(t):  # [T, H, W, C] -> [1, C, T, H, W]
        return t.permute(3, 0, 1, 2)[None]

    def last(t):
        return t[0].permute(1, 2, 3, 0)

    front = F.pad(first(x), (1, 1, 1, 1, 2, 0))
    keep('conv.causal', last(F.conv3d(front, w, b)))
    add = make('conv.add', 3, 6, 7, 4)
    cached = F.pad(torch.cat([first(cache), first(x)], 2), (1, 1, 1, 1))
    keep('conv.cached_add', last(F.conv3d(cached, w, b)) + add)
    half = F.pad(torch.cat([first(bf16(cache)), first(bf16(x))], 2), (1, 1, 1, 1))
    keep('conv.bf16', last(F.conv3d(half, bf16(w), b)))
    one = F.pad(torch.cat([first(cache[:1]), first(x)], 2), (1, 1, 1, 1, 1, 0))
    keep('conv.front_and_cache', last(F.conv3d(one, w)))
    frames = x.permute(0, 3, 1, 2)
    keep('conv.down', F.conv2d(F.pad(frames, (0, 1, 0, 1)), w2, b, stride=2).permute(0, 2, 3, 1))
    up = F.interpolate(frames, scale_factor=2, mode='nearest-exact')
    keep('conv.up', F.conv2d(up, w2, b, padding=1).permute(0, 2, 3, 1))
    keep('conv.time', last(F.conv3d(torch.cat([first(cache), first(x)], 2), wt, b, stride=(2, 1, 1))))
    keep('conv.wide_stride', last(F.conv3d(first(x), w, stride=(1, 2, 3), padding=(0, 2, 1))))


def elements():
    a, b = make('binary.a', 4, 3, 5), make('binary.b', 3, 5)
    keep('binary.add', a + b)
    keep('binary.sub', a - b)
    keep('binary.mul', a * b)
    keep('permute.out', a.permute(2, 0, 1))
    keep('concat.out', torch.cat([a, a[1:]]))
    index = torch.tensor([3, 0, 3, 1])
    keep('gather.index', index)
    keep('gather.out', F.embedding(index, a.flatten(1)))
    x = make('convert.x', 600, scale=1.0) * torch.logspace(-6, 2, 600).double()
    T['convert.x'] = x.float()
    for name, type_ in (('bf16', torch.bfloat16), ('f16', torch.float16), ('e4m3', torch.float8_e4m3fn),
                        ('e5m2', torch.float8_e5m2)):
        keep(f'convert.{name}', x.float().to(type_).float())


def main():
    for part in (activations, linear, norms, rope, attention, conv, elements):
        part()
    save(ROOT / 'tests' / 'golden' / 'kernels' / 'ops.safetensors', T)


if __name__ == '__main__':
    main()
