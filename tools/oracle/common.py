"""What every oracle script of the model part shares: the official modules, attention and autocast on the CPU, files."""
import argparse
import importlib
import json
import math
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

import gen

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / 'tests' / 'golden' / 'model'


# ---- the official modules --------------------------------------------------------------------------------------------


def load_official(folder, alias):
    """Import the modules of one official checkout under `alias`, without running its package __init__ files (they pull
    in every pipeline and CUDA-only packages)."""
    folder = Path(folder)
    if not (folder / 'wan' / 'modules' / 'model.py').is_file():
        sys.exit(f'{folder}: not a checkout of the official code (no wan/modules/model.py)')
    for name, sub in ((alias, 'wan'), (f'{alias}.modules', 'wan/modules'), (f'{alias}.utils', 'wan/utils')):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / sub)]
        sys.modules[name] = package
    saved = torch.cuda.current_device, torch.cuda.amp.autocast, torch.amp.autocast
    torch.cuda.current_device = lambda: 'cpu'  # a default argument of T5EncoderModel calls it at import
    torch.cuda.amp.autocast = torch.amp.autocast = Autocast  # decorators
    try:
        names = {'model': 'modules.model', 't5': 'modules.t5', 'vae': 'modules.vae' if alias == 'wan21' else
                 'modules.vae2_1', 'unipc': 'utils.fm_solvers_unipc', 'dpm': 'utils.fm_solvers'}
        mods = {k: importlib.import_module(f'{alias}.{v}') for k, v in names.items()}
    finally:
        torch.cuda.current_device, torch.cuda.amp.autocast, torch.amp.autocast = saved
    mods['model'].flash_attention = plain_attention
    return types.SimpleNamespace(**mods)


def stand_ins():
    """Modules that the pipelines import and that are not needed: EasyDict and to_tensor are the only things used of them."""

    class Settings(dict):
        __setattr__ = dict.__setitem__

        def __getattr__(self, name):
            if name not in self:
                raise AttributeError(name)
            return self[name]

    def to_tensor(image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)

    made = {n: types.ModuleType(n) for n in ('easydict', 'imageio', 'torchvision', 'torchvision.transforms',
                                             'torchvision.transforms.functional')}
    made['easydict'].EasyDict = Settings
    made['torchvision'].transforms = made['torchvision.transforms']
    made['torchvision.transforms'].functional = made['torchvision.transforms.functional']
    made['torchvision.transforms.functional'].to_tensor = to_tensor
    return made


def load_pipeline(alias, name):
    """A pipeline's module (text2video, ...) of a checkout that load_official has seen, and its package's WAN_CONFIGS."""
    made = stand_ins()
    saved = {n: sys.modules.get(n) for n in made}
    sys.modules.update(made)
    try:
        module = importlib.import_module(f'{alias}.{name}')
        configs = importlib.import_module(f'{alias}.configs').WAN_CONFIGS
    finally:
        for n, m in saved.items():
            sys.modules.pop(n)
            if m is not None:
                sys.modules[n] = m
    module.tqdm = lambda steps: steps
    return module, configs


def arguments(doc, wan22=False):
    p = argparse.ArgumentParser(description=doc)
    p.add_argument('--wan21', required=True, metavar='DIR', help='checkout of the official Wan2.1 code')
    p.add_argument('--wan22', required=wan22, metavar='DIR', help='checkout of the official Wan2.2 code')
    return p


# ---- attention -------------------------------------------------------------------------------------------------------

PRECISION = 'f32'  # how plain_attention works: 'f32', 'f64', or 'bf16' as the CUDA kernel does


def plain_attention(q, k, v, q_lens=None, k_lens=None, dropout_p=0., softmax_scale=None, q_scale=None, causal=False,
                    window_size=(-1, -1), deterministic=False, dtype=torch.bfloat16, version=None):
    """flash_attention's arguments and meaning, as a plain softmax. q [B, Lq, N, D], k v [B, Lk, N, D].
    f32, f64: everything in that type. bf16: q, k, v rounded to bf16, float32 scores and sums, probabilities rounded to bf16
    before the second product, output rounded to bf16 and returned in q's type, which is what the kernel does."""
    assert dropout_p == 0 and q_lens is None
    out_type = q.dtype
    half = PRECISION == 'bf16'
    if half:
        q, k, v = (bf16_round(u) for u in (q, k, v))
    q, k, v = (u.double() if PRECISION == 'f64' else u.float() for u in (q, k, v))
    if q_scale is not None:
        q = q * q_scale
    scale = softmax_scale if softmax_scale is not None else q.size(-1)**-0.5
    out = q.new_zeros(*q.shape[:3], v.size(-1))
    with no_autocast():
        for b in range(q.size(0)):
            n = int(k_lens[b]) if k_lens is not None else k.size(1)
            for h in range(q.size(2)):
                s = q[b, :, h] @ k[b, :n, h].T * scale
                mask = window_mask(q.size(1), n, causal, window_size)
                if mask is not None:
                    s = s.masked_fill(~mask, float('-inf'))
                p = torch.exp(s - s.amax(1, keepdim=True).clamp(min=-1e30))
                total = p.sum(1, keepdim=True)
                p = bf16_round(p) if half else p
                out[b, :, h] = torch.where(total > 0, p @ v[b, :n, h] / total, 0.)
    return (out.bfloat16() if half else out).to(out_type)


def window_mask(lq, lk, causal, window):
    """True where query i may see key j; both aligned at the bottom right, as flash-attention does. None: everywhere."""
    left, right = window
    if causal:
        right = 0
    if left < 0 and right < 0:
        return None
    i, j = torch.arange(lq)[:, None] + lk - lq, torch.arange(lk)[None]
    mask = torch.ones(lq, lk, dtype=torch.bool)
    if left >= 0:
        mask &= j >= i - left
    if right >= 0:
        mask &= j <= i + right
    return mask


def bf16_round(x):
    return x.to(torch.bfloat16).to(torch.float32)


# ---- CUDA autocast on the CPU ----------------------------------------------------------------------------------------


class Autocast:
    """Stands in for torch.cuda.amp.autocast and torch.amp.autocast('cuda'): it only notes the region's type, and
    CudaRules obeys. Usable as a context manager and as a decorator, as the official code does."""
    stack = [None]  # type of the products in the innermost region; None: no autocast

    def __init__(self, *args, dtype=torch.bfloat16, enabled=True, **kwargs):
        self.type = dtype if enabled else None

    def __enter__(self):
        Autocast.stack.append(self.type)

    def __exit__(self, *exc):
        Autocast.stack.pop()

    def __call__(self, function):

        def wrapped(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapped


def no_autocast():
    return Autocast(enabled=False)


PRODUCTS = {torch.nn.functional.linear, torch.nn.functional.conv3d, torch.conv3d, torch.nn.functional.conv2d, torch.conv2d,
            torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.mm}


class CudaRules(TorchFunctionMode):
    """The products of CUDA's autocast list, computed as a GPU does: bf16 operands, float32 accumulation, bias added in
    float32, one rounding at the end. A CPU's own bf16 products differ from machine to machine; these do not.
    Products of bf16 tensors outside autocast (T5) follow the same rule. einsum of one operand (unpatchify) is left in
    float32: CUDA would round the finished output to bf16 there, which only costs accuracy (spec: dit.md 8)."""

    def __torch_function__(self, function, types_, args=(), kwargs=None):
        kwargs = kwargs or {}
        product = function in PRODUCTS or (function is torch.einsum and len(args) > 2)
        if not product:
            return function(*args, **kwargs)
        target = Autocast.stack[-1]
        if target is None:
            target = next(a.dtype for a in args if isinstance(a, torch.Tensor))
        if target == torch.bfloat16:
            args, kwargs = cast(args, bf16_round), cast(kwargs, bf16_round)
            return function(*args, **kwargs).to(torch.bfloat16)
        return function(*cast(args, torch.Tensor.float), **cast(kwargs, torch.Tensor.float))


def cast(values, how):
    one = lambda v: how(v) if isinstance(v, torch.Tensor) and v.is_floating_point() else v
    return {k: one(v) for k, v in values.items()} if isinstance(values, dict) else tuple(one(v) for v in values)


class official_run:
    """with official_run('f32'): every product in float32, autocast regions without effect.
    with official_run('bf16'): the official run on a GPU, i.e. inside autocast(bfloat16).
    with official_run('f64'): as f32, with attention in float64 (for operations alone).
    with official_run('pure'): bf16 tensors without autocast (the T5 of the official pipeline).
    with official_run('pipeline'): as bf16, for whole pipelines, which open their autocast regions themselves."""

    def __init__(self, precision):
        self.precision = precision
        self.rules = CudaRules() if precision in ('bf16', 'pure', 'pipeline') else None

    def __enter__(self):
        global PRECISION
        self.saved = PRECISION, torch.cuda.amp.autocast, torch.amp.autocast, Autocast.stack
        PRECISION = {'pure': 'f32', 'pipeline': 'bf16'}.get(self.precision, self.precision)
        torch.cuda.amp.autocast = torch.amp.autocast = Autocast
        Autocast.stack = [torch.bfloat16 if self.precision == 'bf16' else None]
        self.grad = torch.no_grad()
        self.grad.__enter__()
        if self.rules:
            self.rules.__enter__()

    def __exit__(self, *exc):
        global PRECISION
        if self.rules:
            self.rules.__exit__(*exc)
        self.grad.__exit__(*exc)
        PRECISION, torch.cuda.amp.autocast, torch.amp.autocast, Autocast.stack = self.saved


# ---- weights and files -----------------------------------------------------------------------------------------------


def uniform(name, shape, scale=1.0, offset=0.0):
    return torch.from_numpy(gen.uniform(name, tuple(shape), scale, offset))


def fill(module, prefix, rule):
    """Set every parameter of an official module from the generator: stream `prefix` + its name, rule(name, shape) ->
    (scale, offset, bf16?)."""
    state = {}
    for name, p in module.state_dict().items():
        scale, offset, half = rule(name, tuple(p.shape))
        w = uniform(prefix + name, p.shape, scale, offset)
        state[name] = w.bfloat16() if half else w
    module.load_state_dict({k: v.float() for k, v in state.items()})
    module.float().eval().requires_grad_(False)
    return state


def fan_in(shape):
    return int(math.prod(shape[1:]))


def save(path, tensors, **metadata):
    """Write tensors (floats become F32, integers I64, bytes stay) in name order."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ready = {}
    for k in sorted(tensors):
        v = tensors[k]
        v = torch.as_tensor(np.asarray(v) if not isinstance(v, torch.Tensor) else v).detach()
        v = v.to(torch.float32) if v.is_floating_point() else v if v.dtype == torch.uint8 else v.to(torch.int64)
        assert torch.isfinite(v).all(), f'{path}: {k} is not finite'
        ready[k] = v.clone().contiguous()
    save_file(ready, str(path), metadata={k: str(v) for k, v in metadata.items()} or None)
    if len(metadata) > 1:
        sort_metadata(path)
    os.chmod(path, 0o644)
    show = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f'{show}: {len(ready)} tensors, {os.path.getsize(path) / 1024:.0f} KiB', flush=True)


def sort_metadata(path):
    """safetensors writes metadata in an order of its own in each run."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:8 + n])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data[8 + n:])


def error(a, b):
    """(max|a-b| / max|b|, relative L2) of a against the truth b, in float64."""
    a, b = a.detach().double().flatten(), b.detach().double().flatten()
    return float((a - b).abs().max() / b.abs().max()), float((a - b).norm() / b.norm())
