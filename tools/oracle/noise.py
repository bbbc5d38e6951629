"""torch.randn on the CPU, for tests/sample: writes tests/golden/sample/randn_cpu.json, a list of
{seed (decimal string), n, first: index of the first value kept, values}. Values of draws of 16 or more depend in the
last bits on the machine's instruction set, since torch has a vectorised path of its own."""
import json
from pathlib import Path

import torch

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'sample'
DRAWS = [(seed, n) for seed in (0, 42, 2**32 + 5, 2**63 - 1) for n in (1, 2, 9, 15, 16, 17, 20, 31, 32, 37, 100)]
LONG = [(42, 48 * 3 * 4 * 6), (7, 100003)]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed, n in DRAWS + LONG:
        g = torch.Generator('cpu')
        g.manual_seed(seed)
        x = torch.randn(n, generator=g, dtype=torch.float32)
        for first in ([0] if n <= 100 else [0, n // 2, n - 32]):
            values = [float(f'{v:.9g}') for v in x[first:first + (100 if n <= 100 else 32)].double().tolist()]
            rows.append({'seed': str(seed), 'n': n, 'first': first, 'values': values})
    lines = ',\n'.join(json.dumps(r) for r in rows)
    (OUT / 'randn_cpu.json').write_text(f'[\n{lines}\n]\n')


if __name__ == '__main__':
    main()
