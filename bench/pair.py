"""One part of a model, by PyTorch and by `wan eval`, in turn on the same files: times, memory, and how far apart they are.

The machine's load changes from minute to minute, so the two take turns and what counts is their ratio. PyTorch is one process that
stays (its start, imports, loading and first forward are not counted); ours is a new `wan eval` each time, counted whole: start, mapping the
file, reading the input, computing, writing the output. Both are given the same number of threads."""
import argparse
import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ORACLE = Path(__file__).resolve().parents[1] / 'tools' / 'oracle'
sys.path.insert(0, str(ORACLE))
import compare  # noqa: E402  (errors(), load())

MIB = 1 << 20


class Watch(threading.Thread):
    """Highest memory of a process (bytes): `rss` with the file pages it has mapped, `anon` what it allocated itself.
    From /proc, ten times a second; None where there is no /proc."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.rss, self.anon, self.over = Path(f'/proc/{pid}/status'), None, None, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            try:
                lines = self.path.read_text().splitlines()
            except OSError:
                return
            have = {k: int(v.split()[0]) << 10 for k, _, v in (s.partition(':') for s in lines) if k in ('VmHWM', 'RssAnon')}
            self.rss, self.anon = (max(a or 0, have.get(k, 0)) for a, k in ((self.rss, 'VmHWM'), (self.anon, 'RssAnon')))

    def stop(self):
        self.over.set()
        self.join()


class Theirs:
    """The process that runs PyTorch; forward() makes it run the part once."""

    def __init__(self, args):
        self.process = subprocess.Popen([sys.executable, str(ORACLE / 'fullsize.py'), 'run', *args, '--serve'], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)  # nothing after finish()
        self.watch = Watch(self.process.pid)
        self.answer('ready')

    def answer(self, key):
        for line in self.process.stdout:
            value = json.loads(line) if line.startswith('{') else {}
            if key in value:
                return value
        sys.exit(f'PyTorch ended early, exit {self.process.wait()}')

    def forward(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return self.answer('ms')

    def finish(self):
        """Let it write its output and go."""
        self.process.stdin.close()
        self.answer('best_ms')
        self.process.stdout.read()
        self.watch.stop()
        if self.process.wait():
            sys.exit(f'PyTorch: exit {self.process.returncode}')


def ours(command):
    """Run the program once; wall and processor time (ms) and memory (bytes) of the whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    out, err = process.communicate()  # it says little: no pipe can fill
    ms = (time.perf_counter() - start) * 1000
    watch.stop()
    if process.returncode:
        sys.exit(f'{" ".join(command)}: exit {process.returncode}: {err.strip()}')
    return {'ms': ms, 'rss': watch.rss, 'anon': watch.anon, 'said': out + err}


def cpu_of_children():
    t = os.times()
    return (t.children_user + t.children_system) * 1000


def mib(n):
    return f'{n / MIB:.0f} MiB' if n else '?'


def options(doc, pytorch=True):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--wan', required=True, help='the program')
    p.add_argument('-m', '--model', required=True, help='checkpoint folder, official layout')
    p.add_argument('--threads', type=int, default=os.cpu_count())
    if not pytorch:
        return p
    p.add_argument('--wan21', required=True, metavar='DIR', help='checkout of the official Wan2.1 code')
    p.add_argument('--rounds', type=int, default=3, help='how often the two take turns')
    p.add_argument('--cold', action='store_true', help="count PyTorch's first forward too: half the time where one takes minutes")
    p.add_argument('--ours', nargs='+', default=None, metavar='P', help='precisions of `wan eval`')
    p.add_argument('--keep', metavar='DIR', help='leave inputs and outputs here')
    p.add_argument('--truth', metavar='FILE', help='an output of a float32 run: say how far both are from it')
    return p


def table(rounds, names):
    """Times of all rounds, then the medians and ratios."""
    print(f'\n{"round":6}' + ''.join(f'{n:>22}' for n in names))
    for i, r in enumerate(rounds):
        print(f'{i + 1:<6}' + ''.join(f'{r[n]["ms"]:10.0f} ({r[n]["cpu_ms"]:7.0f})' + '  ' for n in names))
    print('milliseconds, wall (processor)\n')
    first = names[0]
    for n in names[1:]:
        ratio = {k: [r[first][k] / r[n][k] for r in rounds] for k in ('ms', 'cpu_ms')}
        text = ', '.join(f'{what} {statistics.median(ratio[k]):.2f} ({min(ratio[k]):.2f} to {max(ratio[k]):.2f})'
                         for k, what in (('ms', 'wall'), ('cpu_ms', 'processor time')))
        print(f'{first} / {n}: {text}')


def distances(rows):
    print(f'\n{"":34}{"max":>10}{"rel L2":>10}{"cosine":>14}')
    for name, a, b in rows:
        most, l2, cosine = compare.errors(a, b)
        print(f'{name:34}{most:10.2e}{l2:10.2e}{cosine:14.9f}')


def run(a, part, output, theirs, theirs_args, precisions):
    """Both run `part` a.rounds times in turn. `theirs` is what to call PyTorch's run; theirs_args are fullsize.py's."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(a.keep or work)
        folder.mkdir(parents=True, exist_ok=True)
        put, got = folder / 'in.safetensors', folder / 'pytorch.safetensors'
        other = Theirs([a.model, part, '--wan21', a.wan21, '--threads', str(a.threads), '--inputs', str(put), '-o', str(got), *theirs_args])
        names = {f'wan {p}': (p, folder / f'wan_{p}.safetensors') for p in (a.ours or precisions)}
        command = lambda p, out: [a.wan, 'eval', part, '-m', a.model, '-i', str(put), '-o', str(out), '--precision', p, '--threads',
                                  str(a.threads)]
        print(f'{a.threads} threads', flush=True)
        if not a.cold:
            other.forward()
        rounds, memory = [], {}
        for _ in range(a.rounds):
            r = {theirs: other.forward()}
            for n, (p, out) in names.items():
                before = cpu_of_children()
                r[n] = ours(command(p, out))
                r[n]['cpu_ms'] = cpu_of_children() - before
                memory[n] = r[n]
            rounds.append(r)
            print(json.dumps({k: {u: round(v[u]) for u in ('ms', 'cpu_ms')} for k, v in r.items()}), flush=True)
        other.finish()
        table(rounds, [theirs, *names])
        print(f'\npeak memory, with mapped files / allocated:\n  {theirs}: {mib(other.watch.rss)} / {mib(other.watch.anon)}')
        for n, m in memory.items():
            print(f'  {n}: {mib(m["rss"])} / {mib(m["anon"])}')
        values = {theirs: got, **{n: out for n, (_, out) in names.items()}}
        values = {n: compare.load(f)[0][output] for n, f in values.items()}
        rows = [(f'{n} against {theirs}', values[n], values[theirs]) for n in names]
        if a.truth:
            truth = compare.load(a.truth)[0][output]
            rows += [(f'{n} against the truth', v, truth) for n, v in values.items()]
        distances(rows)
