"""Schedules and solver runs of the official code, for tests/sample: writes tests/golden/sample/schedules.json and
runs.f32. Usage: schedule.py --wan22 DIR (a checkout of the official Wan2.2 code; Wan2.1's solvers are the same files).

schedules.json: a list of {solver, steps, shift, sigmas [N + 1], timesteps [N]}.
runs.f32: float32, little endian; for each of runs (solver, steps, shift) in the order of RUNS: the starting sample
[24], then for each step the model output [24] and the sample after the step [24]. Shape of a sample: [2, 3, 2, 2].
Euler is not official; its schedule and runs are those of diffusers' FlowMatchEulerDiscreteScheduler."""
import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'golden' / 'sample'
SHAPE = (2, 3, 2, 2)
SCHEDULES = [(n, s) for s in (1.0, 3.0, 5.0, 8.0, 12.0, 16.0) for n in (1, 2, 3, 4, 5, 8, 20, 25, 30, 40, 50)]
SCHEDULES += [(92, 12.0), (251, 5.0), (100, 2.5), (7, 0.5)]
RUNS = [(solver, n, s) for solver in ('unipc', 'dpm++', 'euler')
        for n, s in ((1, 5.0), (2, 5.0), (3, 1.0), (5, 3.0), (20, 8.0), (50, 5.0), (40, 12.0), (50, 16.0))]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(official, solver, n, shift):
    """A scheduler with its timesteps set the way the official pipelines set them."""
    if solver == 'unipc':
        s = official['fm_solvers_unipc'].FlowUniPCMultistepScheduler(
            num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
        s.set_timesteps(n, device='cpu', shift=shift)
    elif solver == 'dpm++':
        dpm = official['fm_solvers']
        s = dpm.FlowDPMSolverMultistepScheduler(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
        dpm.retrieve_timesteps(s, device='cpu', sigmas=dpm.get_sampling_sigmas(n, shift))
    else:
        s = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
        s.set_timesteps(sigmas=np.linspace(1, 0, n + 1)[:n])
    return s


def run(s, rng, n):
    """Random model outputs around a smooth path, so that differences of x0 are small as they are in a real run."""
    x = torch.from_numpy(rng.standard_normal(SHAPE).astype(np.float32))
    drift = torch.from_numpy(rng.standard_normal(SHAPE).astype(np.float32))
    rows = [x]
    s.set_begin_index(0)  # with many steps the first two integer timesteps can be equal
    for i in range(n):
        noise = torch.from_numpy(rng.standard_normal(SHAPE).astype(np.float32))
        v = drift + 0.5 * torch.sin(x) + 0.05 * noise
        x = s.step(v, s.timesteps[i], x, return_dict=False)[0]
        assert x.dtype == torch.float32
        rows += [v, x]
    return np.stack([r.numpy().ravel() for r in rows])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--wan22', required=True, metavar='DIR', help='checkout of the official Wan2.2 code')
    utils = Path(p.parse_args().wan22) / 'wan' / 'utils'
    official = {name: load(utils / f'{name}.py') for name in ('fm_solvers', 'fm_solvers_unipc')}
    OUT.mkdir(parents=True, exist_ok=True)
    schedules = []
    for solver in ('unipc', 'dpm++', 'euler'):
        for n, shift in SCHEDULES:
            s = make(official, solver, n, shift)
            schedules.append({'solver': solver, 'steps': n, 'shift': shift,
                              'sigmas': [float(f'{v:.9g}') for v in s.sigmas.double().tolist()],
                              'timesteps': [float(f'{v:.9g}') for v in s.timesteps.double().tolist()]})
    lines = ',\n'.join(json.dumps(s) for s in schedules)
    (OUT / 'schedules.json').write_text(f'[\n{lines}\n]\n')
    rng = np.random.Generator(np.random.PCG64(2024))
    rows = [run(make(official, solver, n, shift), rng, n) for solver, n, shift in RUNS]
    np.concatenate(rows).astype('<f4').tofile(OUT / 'runs.f32')


if __name__ == '__main__':
    main()
