"""The transformer: PyTorch (the official module, or diffusers) and `wan eval dit` in turn.

    python dit.py --wan build/cli/wan -m DIR --wan21 DIR [--size 480x320 --frames 9] [--impl diffusers --precision bf16] [--ours f32 bf16]

--rules makes the official module round as a GPU does: for numbers, not for times."""
import pair


def main():
    p = pair.options(__doc__)
    p.add_argument('--size', default='480x320')
    p.add_argument('--frames', default='9')
    p.add_argument('--text-rows', default='77')
    p.add_argument('--impl', choices=['official', 'diffusers'], default='official')
    p.add_argument('--precision', choices=['f32', 'bf16'], default='f32', help="PyTorch's")
    p.add_argument('--rules', action='store_true')
    a = p.parse_args()
    args = ['--size', a.size, '--frames', a.frames, '--text-rows', a.text_rows, '--impl', a.impl, '--precision', a.precision]
    pair.run(a, 'dit', 'v', f'{a.impl} {a.precision}', args + ['--rules'] * a.rules, ['f32', 'bf16'])


if __name__ == '__main__':
    main()
