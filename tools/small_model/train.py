"""From nothing to the two small models: python tools/small_model/train.py --out models --work DIR

Every stage keeps its state in DIR and goes on from there when started again; seeds are fixed.  On one thread of one kind
of processor and one version of PyTorch a run gives the same weights again, however often it was interrupted.
--only ti2v can run beside --only t2v once that one has its text encoder, and waits for nothing else.
"""

import argparse
import os
import shutil

import torch

import export
import forms
import latents
import shapes
import tokenizer
import train_dit
import train_text
import train_vae

# The text-to-video transformer learns from wide clips with its text encoder, then goes on with more clips and the encoder fixed.
FIRST = train_dit.Plan(2400, 32, 2e-3, 0.7, text=True, templates=shapes.FIRST_TEMPLATES)
MORE = train_dit.Plan(1000, 32, 1e-3, 0.4, text=False)
# The other one starts from that text encoder and those blocks.
IMAGE = train_dit.Plan(2000, 32, 1.5e-3, 0.4, text=False)
STATISTICS = 512, 128                    # clips that latents of either form are scaled by


def recorder(work):
    record = open(f"{work}/log.txt", "a", buffering=1)

    def log(line):
        print(line, flush=True)
        record.write(line + "\n")

    return log


def wide(index):
    return shapes.wide_clip(index)


def clip_maker(form):
    return lambda index: shapes.make_clip(latents.FIRST + index, form.room)


def autoencoder(folder, form, clips, log):
    """Trained, written to the folder and read back, so that all that follows sees what is shipped."""
    path = f"{folder}/{form.vae_file}"
    if not os.path.exists(path):
        vae = train_vae.train(form, f"{folder}.vae.pt", log)
        export.write_vae(path + ".new", form, vae, *latents.statistics(form, vae, clips))
        os.replace(path + ".new", path)
        log(train_vae.evaluate(form, export.read_vae(path, form)))
    return export.read_vae(path, form)


def first(work, log):
    """The text encoder and the first text-to-video transformer, in WORK/first."""
    folder, form = f"{work}/first", forms.T2V
    if os.path.exists(f"{folder}/done"):
        return folder
    os.makedirs(folder, exist_ok=True)
    tokenizer.make(f"{work}/tokenizer")
    vae = autoencoder(folder, form, [wide(i) for i in range(STATISTICS[0])], log)
    torch.manual_seed(2)
    model = train_dit.TextToVideo(form.size)
    model.t5.load_state_dict(train_text.train(work, f"{work}/tokenizer", log))
    export.write_text(folder, model.t5, f"{work}/tokenizer")
    shards = shapes.WIDE_CLIPS // latents.SHARD
    stock = latents.Stock(f"{work}/wide", form, vae, wide, 1, shards, start=shards)
    train_dit.train(f"{work}/first.pt", form, FIRST, model, stock.at, export.read_text(folder)[1], log)
    export.write_text(folder, model.t5, f"{work}/tokenizer")
    export.write_dit(folder, form, model.dit)
    open(f"{folder}/done", "w").close()
    return folder


def text_to_video(work, out, log):
    form, start = forms.T2V, first(work, log)
    vae, model = export.read_vae(f"{start}/{form.vae_file}", form), export.read_dit(start, form)
    stock = latents.Stock(f"{work}/t2v-clips", form, vae, clip_maker(form), 12, 24)
    train_dit.train(f"{work}/more.pt", form, MORE, model, stock.at, export.read_text(start)[1], log)
    publish(out, start, start, form, model.dit, log)


def text_and_image_to_video(work, out, log):
    form, text = forms.TI2V, first(work, log)
    folder = f"{work}/ti2v"
    os.makedirs(folder, exist_ok=True)
    vae = autoencoder(folder, form, [clip_maker(form)(i) for i in range(STATISTICS[1])], log)
    torch.manual_seed(5)
    model, known = train_dit.TextToVideo(form.size), export.read_dit(text, forms.T2V)
    model.t5 = known.t5
    # all but what meets the latents of another autoencoder
    fits = {k: v for k, v in known.dit.state_dict().items() if not k.startswith(("patch_embedding.", "head.head."))}
    model.dit.load_state_dict(fits, strict=False)
    stock = latents.Stock(f"{work}/ti2v-clips", form, vae, clip_maker(form), 12, 32)
    train_dit.train(f"{work}/ti2v.pt", form, IMAGE, model, stock.at, export.read_text(text)[1], log)
    publish(out, text, folder, form, model.dit, log)


def publish(out, text, vae, form, dit, log):
    """A model folder from the text parts of one folder, the autoencoder of another, and the transformer."""
    os.makedirs(out, exist_ok=True)
    shutil.copytree(f"{text}/{export.TOKENIZER}", f"{out}/{export.TOKENIZER}", dirs_exist_ok=True)
    shutil.copyfile(f"{text}/{export.T5_FILE}", f"{out}/{export.T5_FILE}")
    shutil.copyfile(f"{vae}/{form.vae_file}", f"{out}/{form.vae_file}")
    export.write_dit(out, form, dit)
    log(f"written: {export.sizes(out)}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="folder for the model folders shapes-t2v and shapes-ti2v")
    p.add_argument("--work", required=True, help="folder for checkpoints and logs")
    p.add_argument("--only", choices=("t2v", "ti2v"), help="one of the two")
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads)
    log = recorder(args.work)
    if args.only != "ti2v":
        text_to_video(args.work, f"{args.out}/shapes-t2v", log)
    if args.only != "t2v":
        text_and_image_to_video(args.work, f"{args.out}/shapes-ti2v", log)


if __name__ == "__main__":
    main()
