"""A short clip by `wan generate`, all stages at full size: time and processor time of each, peak memory, does the file play.

    python clip.py --wan build/cli/wan -m DIR [--size 320x192 --frames 9 --steps 4] [-o clip.mp4]

A folder with random weights has no tokenizer: both texts are random ids through `wan eval t5`, then `wan generate --context`. Every
line of the program is printed behind its time. Needs ffprobe."""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import pair
import gen  # of tools/oracle

TOKENS = {'context': 30, 'context_null': 126}  # a short prompt; the official negative one
VOCABULARY = 256384


def encode(a, folder):
    """Runs T5 on both texts; the file for --context."""
    context = {}
    for name, n in TOKENS.items():
        u = gen.uniform(f'bench.{name}', (n,))
        ids = (3 + (u + 1) * 0.5 * (VOCABULARY - 3)).astype(np.int64)
        ids[-1] = 1
        put, got = folder / f'{name}.ids.safetensors', folder / f'{name}.safetensors'
        save_file({'ids': ids}, str(put))
        before = pair.cpu_of_children()
        r = pair.ours([a.wan, 'eval', 't5', '-m', a.model, '-i', str(put), '-o', str(got), '--threads', str(a.threads)])
        print(f't5, {n} tokens: {r["ms"] / 1000:.1f} s, processor {(pair.cpu_of_children() - before) / 1000:.1f} s, '
              f'memory {pair.mib(r["rss"])} / {pair.mib(r["anon"])}', flush=True)
        context[name] = pair.compare.load(got)[0]['context']
    path = folder / 'context.safetensors'
    save_file(context, str(path))
    return path


def processor_seconds(pid):
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return float('nan')
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def generate(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = pair.Watch(process.pid)
    for line in process.stderr:
        print(f'{time.perf_counter() - start:8.1f} s ({processor_seconds(process.pid):7.1f} s)  {line}', end='', flush=True)
    code = process.wait()
    watch.stop()
    print(f'exit {code}, peak memory, with mapped files / allocated: {pair.mib(watch.rss)} / {pair.mib(watch.anon)}')
    if code:
        sys.exit(1)


def main():
    p = pair.options(__doc__, pytorch=False)
    p.add_argument('--size', default='320x192')
    p.add_argument('--frames', default='9')
    p.add_argument('--steps', default='4')
    p.add_argument('--context', help='this instead of random texts')
    p.add_argument('-o', '--output')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        context = a.context or encode(a, Path(work))
        output = a.output or f'{work}/clip.mp4'
        generate([a.wan, 'generate', '-m', a.model, '--context', str(context), '--size', a.size, '--frames', a.frames, '--steps', a.steps,
                  '--seed', '1', '--threads', str(a.threads), '-o', output])
        entries = 'stream=codec_name,width,height,nb_read_frames,avg_frame_rate'
        subprocess.run(['ffprobe', '-v', 'error', '-count_frames', '-show_entries', entries, '-of', 'compact', output], check=True)


if __name__ == '__main__':
    main()
