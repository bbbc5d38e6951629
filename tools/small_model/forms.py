"""The two models: their sizes, their autoencoders and the clips they learn from."""

from dataclasses import dataclass
from types import ModuleType

import dit
import shapes
import t5
import vae
import vae22
from train_vae import Phase


@dataclass(frozen=True)
class Form:
    size: dit.Size
    pixels: int
    room: shapes.Room
    image: float             # share of training clips whose first frame is given
    vae: ModuleType          # with VAE, Z, MEAN, STD
    vae_base: int
    vae_file: str
    # Small windows of many clips teach more per second than few whole frames; a batch of at least 2 keeps PyTorch on its fast 3D
    # convolution.
    vae_phases: tuple
    metadata: dict           # what the program takes as this model's defaults (docs/files.md)


DEFAULTS = {"wan.frames": "17", "wan.steps": "25", "wan.guidance": "2"}
T2V = Form(dit.Size("t2v", 128, 512, 4, 4, vae.Z, t5.DIM), 64, shapes.BIG, 0.0, vae, 16, "Wan2.1_VAE.pth",
           (Phase(1, 32, 16, 1200, 2e-3, 1.5e-3), Phase(5, 32, 8, 500, 1.5e-3, 1.2e-3), Phase(9, 32, 6, 450, 1.2e-3, 1e-3),
            Phase(17, 32, 4, 300, 1e-3, 4e-4), Phase(17, 64, 2, 60, 4e-4, 5e-5)),
           {"wan.size": "64x64", **DEFAULTS})
TI2V = Form(dit.Size("ti2v", 128, 512, 4, 4, vae22.Z, t5.DIM), 96, shapes.ROOMY, 0.6, vae22, 16, "Wan2.2_VAE.pth",
            (Phase(1, 64, 12, 700, 2e-3, 1.5e-3), Phase(9, 64, 4, 300, 1.5e-3, 1e-3), Phase(17, 64, 4, 200, 1e-3, 5e-5),
             Phase(5, 64, 8, 300, 7e-4, 3e-4, muon=True), Phase(17, 64, 4, 100, 3e-4, 0, muon=True),
             Phase(5, 64, 8, 350, 5e-4, 2e-4, muon=True), Phase(17, 64, 4, 80, 2e-4, 0, muon=True)),
            {"wan.size": "96x96", **DEFAULTS})


def latent_shape(form):
    """[C, F, h, w] of a clip"""
    side = form.pixels // form.vae.STRIDE
    return form.size.latent, 1 + (shapes.FRAMES - 1) // 4, side, side
