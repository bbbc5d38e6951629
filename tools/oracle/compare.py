"""Run `wan eval` on every golden of the model part and print how far it is from the truth.

    python compare.py --wan build/wan [--precision f32 bf16] [--only PATTERN] [--device D] [--isa I] [--work DIR]

Needs numpy and safetensors; torch only for the `wide` transformer (with --wan22). A line per output: max|a-b|/max|b|, relative L2, cosine
against the float32 truth; in bf16 also the official bf16 error and the ratio of ours to it. Exits 1 when a part fails or a
line is over its limit (f32: 1e-4 relative L2 for T5, DiT and VAE, 2e-6 for single operations; bf16: 1.2 times the official error)."""
import argparse
import fnmatch
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

GOLDEN = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'model'
DUMPED = ('patch', 'time', 'time_proj', 'text', 'block.', 'head', 'embed', 'conv1', 'down.', 'middle.', 'up.')


class Part:
    """One `wan eval` call: which part, what it reads of the golden (name there -> name in the file), what it must write."""

    def __init__(self, golden, part, reads, writes, args=(), model=None, precisions=('f32', 'f32x', 'bf16'), limit=1e-4):
        self.golden, self.part, self.reads, self.writes = golden, part, reads, writes
        self.args, self.model, self.precisions, self.limit = list(args), model, precisions, limit


def load(path):
    with safe_open(str(path), 'np') as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}


VAES = {'vae21': 'tiny-t2v', 'vae22': 'vae22_tiny.pth'}


def parts(wide):
    """Every call, from the files that are there."""
    same = lambda *names: {n: n for n in names}
    for path in sorted(GOLDEN.glob('*.safetensors')):
        name, (tensors, meta) = path.stem, load(path)
        args = meta.get('args', '').split()
        if name.startswith('t5_'):
            yield Part(name, 't5', same('ids'), same('context'), model='tiny-t2v')
        elif name.startswith('dit_width'):
            continue  # no `wan eval` part runs one block: tests/model does
        elif name.startswith('dit_'):
            model = meta.get('model') or (wide if meta.get('weights') == 'wide' else None)
            if model is None:
                print(f'{name}: skipped, give --wan22 (its weights are not in git)')
                continue
            inputs = [k for k in ('x', 't', 'context', 'y', 'clip_fea') if k in tensors]
            expert = ['--expert', meta['expert']] if 'expert' in meta else []
            yield Part(name, 'dit', same(*inputs), same('v'), expert, model=model)
        elif name.startswith(('vae21_encode', 'vae22_encode')):
            yield Part(name, 'vae.encode', same('video'), same('latent'), model=VAES[name[:5]])
        elif name.startswith(('vae21_decode', 'vae22_decode')):
            yield Part(name, 'vae.decode', same('latent'), same('video'), model=VAES[name[:5]])
        elif name.startswith('attention_'):
            yield Part(name, 'attention', same(*(k for k in ('q', 'k', 'v', 'k_lens') if k in tensors)), same('out'),
                       args, precisions=('f32', 'bf16'), limit=2e-6)
        elif name.startswith('rope_'):
            yield Part(name, 'rope', same('x', 'grid_sizes'), {'x': 'out'}, args, precisions=('f32',), limit=2e-6)
        elif name.startswith('rmsnorm'):
            yield Part(name, 'rmsnorm', same('x', 'weight'), {'x': 'out'}, args, precisions=('f32',), limit=2e-6)
        elif name.startswith('sinusoid'):
            yield Part(name, 'sinusoid', same('position'), same('embedding'), args, precisions=('f32',), limit=2e-6)
        elif name.startswith('pipeline_'):
            if 'model' in meta:  # Wan2.2
                picture = ['--image', str(GOLDEN / meta['picture'])] if 'picture' in meta else []
                yield Part(name, 'generate', same('noise', 'context', 'context_null'), same('latent'), args + picture,
                           model=meta['model'], precisions=('f32', 'bf16'))
                continue
            yield Part(name, 'solve', {'noise': 'x', 'v': 'v'}, same('x'), args[:6], precisions=('f32',), limit=2e-6)
            yield Part(name, 'generate', same('noise', 'context', 'context_null'), {'latent': 'x'}, args, model='tiny-t2v',
                       precisions=('f32', 'bf16'))


def dumped(call, name, got, tensors):
    """An intermediate in the golden's layout: `wan eval` dumps the VAE's as [T, H, W, C] and one row per distinct timestep."""
    truth = tensors[name]
    if call.part.startswith('vae'):
        return np.moveaxis(got, -1, 0)
    if name == 'time' and len(got) != len(truth):
        _, first, which = np.unique(tensors['t'], return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # rows stand in the order of their first token
        return got[order[which]] if len(got) == len(first) else got
    return got


def errors(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    size = np.linalg.norm(b)
    cosine = a @ b / (np.linalg.norm(a) * size) if size and np.linalg.norm(a) else float(not size)
    return np.abs(a - b).max() / np.abs(b).max(), np.linalg.norm(a - b) / size, cosine


def command(wan, call, precision, work, extra):
    """The command line; its files lie in `work`."""
    tensors, _ = load(GOLDEN / f'{call.golden}.safetensors')
    model = ['-m', str(GOLDEN / call.model)] if call.model else []
    if call.part == 'generate':
        save_file({'noise': tensors['noise']}, str(work / 'noise.safetensors'))
        save_file({k: tensors[k] for k in ('context', 'context_null')}, str(work / 'context.safetensors'))
        return [wan, 'generate', *model, '--noise', str(work / 'noise.safetensors'), '--context', str(work / 'context.safetensors'),
                '--save-latents', str(work / 'out.safetensors'), *call.args, '--precision', precision, *extra], tensors
    save_file({to: np.ascontiguousarray(tensors[k]) for k, to in call.reads.items()}, str(work / 'in.safetensors'))
    options = ['--precision', precision] if call.part not in ('solve',) else []
    dump = ['--dump', str(work / 'dump.safetensors')] if call.model and any(k.startswith(DUMPED) for k in tensors) else []
    return [wan, 'eval', call.part, *model, '-i', str(work / 'in.safetensors'), '-o', str(work / 'out.safetensors'), *options,
            *call.args, *dump, *extra], tensors


def check(wan, call, precision, extra):
    """Rows (name, max error, relative L2, cosine, official bf16 L2 or None, good) of one call, or the reason of failure."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        line, tensors = command(wan, call, precision, work, extra)
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode != 0:
            return f'exit {done.returncode}: {done.stderr.strip()[-200:]}\n    {" ".join(line)}'
        got, _ = load(work / 'out.safetensors')
        dump = load(work / 'dump.safetensors')[0] if (work / 'dump.safetensors').exists() else {}
    rows = []
    wanted = [(n, g, got) for n, g in call.writes.items()]
    if precision == 'f32':
        wanted += [(k, k, dump) for k in tensors if k.startswith(DUMPED) and k in dump]
    for name, golden, where in wanted:
        if name not in where:
            return f'no tensor {name} in the output'
        if where is dump:
            where = {name: dumped(call, name, where[name], tensors)}
        last = call.part == 'generate' and golden == 'x'  # the sample after the last step
        truth = tensors[golden][-1] if last else tensors[golden]
        if where[name].shape != truth.shape:
            return f'{name} is {list(where[name].shape)}, should be {list(truth.shape)}'
        e = errors(where[name], truth)
        rough = tensors.get(f'{golden}_bf16')
        official = None
        if precision == 'bf16' and rough is not None:
            official = errors(rough[-1] if last else rough, truth)[1]
        limit = 1.2 * official if official else call.limit if precision == 'f32' else 0.05 if precision == 'bf16' else 1e-3
        rows.append((name, *e, official, bool(e[1] <= limit)))
    return rows


def make_wide(folder, wan22):
    here = Path(__file__).resolve().parent
    subprocess.run([sys.executable, str(here / 'tiny.py'), '--wan21', wan22, '--wan22', wan22, '--wide', folder], check=True,
                   stdout=subprocess.DEVNULL)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--wan', required=True, help='the program')
    p.add_argument('--precision', nargs='+', default=['f32', 'f32x', 'bf16'], choices=['f32', 'f32x', 'bf16'])
    p.add_argument('--only', default='*', help='golden names, with wildcards')
    p.add_argument('--wan22', help='checkout of the official Wan2.2 code, for the `wide` transformer')
    p.add_argument('--device')
    p.add_argument('--isa')
    p.add_argument('--threads')
    a = p.parse_args()
    extra = [o for k in ('device', 'isa', 'threads') if getattr(a, k) for o in (f'--{k}', getattr(a, k))]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        if a.wan22:
            make_wide(folder, a.wan22)
        print(f'{"golden":28} {"part":11} {"prec":5} {"tensor":11} {"max":>9} {"rel L2":>9} {"cosine":>12} {"official":>9} ratio')
        for call in parts(folder if a.wan22 else None):
            for precision in a.precision:
                if not fnmatch.fnmatch(call.golden, a.only) or precision not in call.precisions:
                    continue
                head = f'{call.golden:28} {call.part:11} {precision:5}'
                rows = check(a.wan, call, precision, extra)
                if isinstance(rows, str):
                    bad += 1
                    print(f'{head} FAILED: {rows}')
                    continue
                for name, most, l2, cosine, official, good in rows:
                    bad += not good
                    tail = f'{official:9.2e} {l2 / official:5.2f}' if official else ''
                    print(f'{head} {name:11} {most:9.2e} {l2:9.2e} {cosine:12.9f} {tail}{"" if good else "  OVER"}')
    print(f'{bad} bad' if bad else 'all good')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
