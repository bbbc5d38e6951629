"""The VAE: the official module (float32) and `wan eval vae.decode` or `vae.encode` in turn.

    python vae.py decode|encode --wan build/cli/wan -m DIR --wan21 DIR [--size 256x256 --frames 5] [--ours f32x]"""
import pair


def main():
    p = pair.options(__doc__)
    p.add_argument('what', choices=['decode', 'encode'])
    p.add_argument('--size', default='256x256')
    p.add_argument('--frames', default='5')
    a = p.parse_args()
    output = {'decode': 'video', 'encode': 'latent'}[a.what]
    pair.run(a, f'vae.{a.what}', output, 'official f32', ['--size', a.size, '--frames', a.frames], ['f32x'])


if __name__ == '__main__':
    main()
