"""Write every golden again: runs each oracle script beside this one that has a main and is not a tool of its own.

    python tools/oracle/make_all.py --wan21 path/to/Wan2.1 --wan22 path/to/Wan2.2 [--only NAME ...] [--skip NAME ...]
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST = ['tiny', 'vae22']  # the others read their checkpoints
TOOLS = ['make_all', 'common', 'gen', 'compare', 'fullsize', 'clean_diff']  # modules, and programs that write no golden


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--wan21', required=True, metavar='DIR')
    p.add_argument('--wan22', required=True, metavar='DIR')
    p.add_argument('--only', nargs='+', default=[], metavar='NAME')
    p.add_argument('--skip', nargs='+', default=[], metavar='NAME')
    a = p.parse_args()
    names = FIRST + sorted(f.stem for f in HERE.glob('*.py') if f.stem not in TOOLS + FIRST)
    names = [n for n in names if "__name__ == '__main__'" in (HERE / f'{n}.py').read_text().replace('"', "'")]
    for n in a.only + a.skip:
        if n not in names:
            sys.exit(f'{n}: no such oracle; there are {", ".join(names)}')
    for n in names:
        if (a.only and n not in a.only) or n in a.skip:
            continue
        print(f'== {n}', flush=True)
        start = time.time()
        # A script that needs no official code simply does not declare these options.
        wants = (HERE / f'{n}.py').read_text()
        options = [o for k in ('wan21', 'wan22') if f'--{k}' in wants or 'common.arguments' in wants
                   for o in (f'--{k}', getattr(a, k))]
        if subprocess.run([sys.executable, str(HERE / f'{n}.py'), *options]).returncode != 0:
            sys.exit(f'{n}: failed')
        print(f'   {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()
