"""The text encoder: the official module and `wan eval t5` in turn.

    python t5.py --wan build/cli/wan -m DIR --wan21 DIR [--tokens 30] [--precision bf16] [--ours f32x]

In float32 PyTorch needs 22 GB for the weights; here it holds one layer at a time, and making that layer float32 is not in its time."""
import pair


def main():
    p = pair.options(__doc__)
    p.add_argument('--tokens', default='30')
    p.add_argument('--precision', choices=['f32', 'bf16'], default='f32', help="PyTorch's")
    p.add_argument('--rules', action='store_true', help='round as a GPU does: for numbers, not for times')
    a = p.parse_args()
    args = ['--text-rows', a.tokens, '--precision', a.precision]
    pair.run(a, 't5', 'context', f'official {a.precision}', args + ['--rules'] * a.rules, ['f32x'])


if __name__ == '__main__':
    main()
