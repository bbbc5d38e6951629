"""Small weight files written by PyTorch and safetensors themselves: tests/golden/io/.

plain.pth        dict of tensors: F32, BF16, F16, I64, U8, BOOL, F64, scalar, empty, and F8_E4M3 (the version 3 form)
views.pth        not contiguous, expanded, and several tensors in one storage
module.pth       {"state_dict": OrderedDict with _metadata, "step": 7}; nn.Parameter; nested dict of a second module
protocol4.pth    the same tensors as plain.pth, pickled with protocol 4 (short strings, frames, memoize)
legacy.pth       the format before PyTorch 1.6
deflated.pth     plain.pth packed again with compression
big_endian.pth   plain.pth with its byteorder entry changed
types.safetensors       one tensor of each type, odd lengths, metadata
sharded/                two shards and their index
Every float tensor holds k / 4 - 1 for its element k, integers k, so that the tests need no second file. A run gives the same bytes again.
"""
import json
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'io'


def ramp(*shape, dtype=torch.float32):
    n = int(torch.tensor(shape).prod()) if shape else 1
    k = torch.arange(n, dtype=torch.float64)
    if dtype.is_floating_point:
        k = k / 4 - 1
    elif dtype is torch.bool:
        k = k % 2
    return k.to(dtype).reshape(shape)


def plain():
    return {
        'f32': ramp(2, 3), 'bf16': ramp(3, 2, dtype=torch.bfloat16), 'f16': ramp(5, dtype=torch.float16),
        'i64': ramp(4, dtype=torch.int64), 'u8': ramp(7, dtype=torch.uint8), 'bool': ramp(3, dtype=torch.bool),
        'f64': ramp(2, dtype=torch.float64), 'scalar': ramp(), 'empty': torch.zeros(0, 4),
        'f8': ramp(6).to(torch.float8_e4m3fn),
    }


def views():
    base = ramp(4, 6)
    return {'base': base, 'transposed': base.t(), 'column': base[:, 2], 'block': base[1:3, 1:5], 'rows': base[2:],
            'expanded': base[:1].expand(3, 6), 'permuted': ramp(2, 3, 4).permute(2, 0, 1)}


def module():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(ramp(*p.shape))
    state = net.state_dict()
    state['parameter'] = torch.nn.Parameter(ramp(3))
    state['nested'] = OrderedDict(inner=ramp(2))
    return {'state_dict': state, 'step': 7, 'big': 2**40, 'rate': 0.5, 'size': torch.Size([1, 2]), 'none': None,
            'list': [1, 'x', (True, False)], 'device': torch.device('cpu'), 'dtype': torch.bfloat16}


def repack(name, change, method=zipfile.ZIP_STORED):
    """plain.pth again, entry by entry; change(entry name, bytes) -> bytes."""
    source = zipfile.ZipFile(OUT / 'plain.pth')
    with zipfile.ZipFile(OUT / name, 'w', method) as z:
        for entry in source.infolist():
            info = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            z.writestr(info, change(entry.filename, source.read(entry)))


def sharded():
    folder = OUT / 'sharded'
    folder.mkdir(exist_ok=True)
    shards = {'model-00001-of-00002.safetensors': {'a.weight': ramp(2, 2), 'b.weight': ramp(3, dtype=torch.bfloat16)},
              'model-00002-of-00002.safetensors': {'c.weight': ramp(5)}}
    for name, tensors in shards.items():
        save_file(tensors, str(folder / name), metadata={'format': 'pt'})
    where = {k: name for name, tensors in shards.items() for k in tensors}
    index = {'metadata': {'total_size': 42}, 'weight_map': where}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index, indent=2) + '\n')


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    torch.save(plain(), OUT / 'plain.pth')
    torch.save(views(), OUT / 'views.pth')
    torch.save(module(), OUT / 'module.pth')
    torch.save({k: v for k, v in plain().items() if k != 'f8'}, OUT / 'protocol4.pth', pickle_protocol=4)
    if not (OUT / 'legacy.pth').exists():  # its storage keys are addresses: different in every run
        torch.save({'w': ramp(3)}, OUT / 'legacy.pth', _use_new_zipfile_serialization=False)
    repack('deflated.pth', lambda name, data: data, zipfile.ZIP_DEFLATED)
    repack('big_endian.pth', lambda name, data: b'big' if name.endswith('byteorder') else data)
    types = {k: v for k, v in plain().items() if k != 'scalar'}
    types |= {'f8_e5m2': ramp(5).to(torch.float8_e5m2), 'i32': ramp(3, dtype=torch.int32),
              'i16': ramp(3, dtype=torch.int16), 'i8': ramp(3, dtype=torch.int8), 'scalar': ramp()}
    save_file(types, str(OUT / 'types.safetensors'), metadata={'note': 'quote " backslash \\ é'})
    sharded()
    for path in sorted(OUT.rglob('*')):
        if path.is_file():
            path.chmod(0o644)
            print(f'{path.relative_to(OUT)}: {path.stat().st_size} bytes')


if __name__ == '__main__':
    main()
