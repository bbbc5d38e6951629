"""From nothing to a loadable Wan2.1 model folder: python tools/small_model/train.py --out models/shapes-t2v --work DIR

Every stage keeps its state in DIR and goes on from there when started again; seeds are fixed.  On one thread of one kind
of processor and one version of PyTorch a run gives the same weights again, however often it was interrupted.
"""

import argparse
import os

import torch

import export
import latents
import sample
import tokenizer
import train_dit
import train_vae


def recorder(work):
    record = open(f"{work}/log.txt", "a", buffering=1)

    def log(line):
        print(line, flush=True)
        record.write(line + "\n")

    return log


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", required=True, help="model folder to write")
    p.add_argument("--work", required=True, help="folder for checkpoints and logs")
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads)
    log = recorder(args.work)

    tokenizer_folder = f"{args.work}/tokenizer"
    tokenizer.make(tokenizer_folder)
    vae = train_vae.train(args.work, log)
    log(f"vae psnr {train_vae.evaluate(vae)[0]:.2f} dB")
    latents.make_all(vae, args.work, log)
    model = train_dit.train(args.work, tokenizer_folder, log)

    export.write(args.out, args.work, vae, model)
    parts = export.load(args.out)
    log(f"written: {export.sizes(args.out)}; vae psnr {train_vae.evaluate(parts[0])[0]:.2f} dB")
    sample.sheet(sample.generate(parts, sample.PROMPTS, 25, 3.0, 0), f"{args.work}/samples.png")
    colour, back = sample.measure(parts, 25, 3.0)
    log(f"shape colour {colour:.2f}, background colour {back:.2f}")


if __name__ == "__main__":
    main()
