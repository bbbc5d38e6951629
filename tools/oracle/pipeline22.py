"""Goldens of whole short runs of the official Wan2.2 pipelines with the tiny models: T2V-A14B, I2V-A14B, TI2V-5B from text
and from an image. README.md: pipeline22."""
import importlib
from contextlib import ExitStack

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

import common
import images
import tiny
import vae22

PROMPT, NEGATIVE, SEED = 'a red kite over the sea', 'blurry, ugly', 11
PICTURES = {'rgb': (88, 60), 'palette': (52, 75), 'alpha': (70, 110)}  # width, height


# ---- the official pipelines, with tiny parts -------------------------------------------------------------------------


class Tokenizer:
    """AutoTokenizer.from_pretrained of the folders' tokenizer, which is one file."""

    @staticmethod
    def from_pretrained(path):
        return PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token='<pad>', eos_token='</s>', unk_token='<unk>')


class Recorder:
    """What a pipeline hands to its parts."""

    def __init__(self):
        self.inputs, self.timesteps, self.experts = [], [], []  # of each step
        self.y = self.z = self.latent = None


def watch_model(model, name, record):
    """Note the inputs of each step (of its first pass). The output goes on."""

    def note(module, args, kwargs):
        x, t = args[0][0], kwargs['t']
        if not record.inputs or not torch.equal(record.inputs[-1], x):
            record.inputs.append(x.clone())
            record.timesteps.append(t.clone())
            record.experts.append(name)
            record.y = kwargs['y'][0].clone() if 'y' in kwargs else None

    return model.register_forward_pre_hook(note, with_kwargs=True)


class Vae:
    """The official wrapper, noting what goes in and out."""

    def __init__(self, wrapper, record):
        self.wrapper, self.record, self.model = wrapper, record, wrapper.model

    def encode(self, videos):
        out = self.wrapper.encode(videos)
        self.record.z = out[0].clone()
        return out

    def decode(self, latents):
        self.record.latent = latents[0].clone()
        return self.wrapper.decode(latents)


def solver_in_float32(base):
    """CUDA's autocast would round UniPC's einsum to bf16 (spec: schedulers.md); ours does not, and must not be allowed that
    much."""

    class Solver(base):

        def step(self, *args, **kwargs):
            with common.no_autocast():
                return super().step(*args, **kwargs)

    return Solver


class Official:
    """The official code and the tiny parts."""

    def __init__(self, checkout):
        self.wan = common.load_official(checkout, 'wan22')
        self.wan.vae22 = importlib.import_module('wan22.modules.vae2_2')
        tokenizers = importlib.import_module('wan22.modules.tokenizers')
        tokenizers.AutoTokenizer = Tokenizer
        t5 = self.wan.t5.T5EncoderModel.__new__(self.wan.t5.T5EncoderModel)
        t5.model, _ = tiny.t5(self.wan.t5)
        t5.text_len = 512
        t5.tokenizer = tokenizers.HuggingfaceTokenizer(name=tiny.TOKENIZER, seq_len=t5.text_len, clean='whitespace')
        self.t5 = t5
        self.vaes = {(4, 8, 8): tiny.vae(self.wan.vae), (4, 16, 16): vae22.wrapper(self.wan.vae22)}

    def pipeline(self, file, name, task, models, record, handles):
        """An instance of the class `name`, everything set that its __init__ sets."""
        module, self.configs = common.load_pipeline('wan22', file)
        for k in ('FlowUniPCMultistepScheduler', 'FlowDPMSolverMultistepScheduler'):
            base = getattr(module, k)
            setattr(module, k, base if base.__name__ == 'Solver' else solver_in_float32(base))
        config = self.configs[task]
        p = object.__new__(getattr(module, name))
        p.config, p.device, p.rank, p.sp_size, p.t5_cpu, p.init_on_cpu = config, torch.device('cpu'), 0, 1, False, False
        p.num_train_timesteps, p.param_dtype = config.num_train_timesteps, config.param_dtype
        p.vae_stride, p.patch_size, p.sample_neg_prompt = config.vae_stride, config.patch_size, config.sample_neg_prompt
        p.text_encoder, p.vae = self.t5, Vae(self.vaes[config.vae_stride], record)
        if 'boundary' in config:
            p.boundary = config.boundary
        for k, m in models.items():
            setattr(p, k, m)
            handles.callback(watch_model(m, k, record).remove)
        return p

    def t2v(self, *how):
        models = {f'{e}_noise_model': tiny.expert(self.wan.model, 't2v', e)[0] for e in tiny.EXPERTS}
        return self.pipeline('text2video', 'WanT2V', 't2v-A14B', models, *how)

    def i2v(self, *how):
        models = {f'{e}_noise_model': tiny.expert(self.wan.model, 'i2v', e)[0] for e in tiny.EXPERTS}
        return self.pipeline('image2video', 'WanI2V', 'i2v-A14B', models, *how)

    def ti2v(self, *how):
        return self.pipeline('textimage2video', 'WanTI2V', 'ti2v-5B', {'model': tiny.ti2v(self.wan.model)[0]}, *how)

    def run(self, make, precision, picture, size, **how):
        """(record, video) of one call of generate()."""
        record = Recorder()
        with ExitStack() as handles:
            p = make(record, handles)
            if picture:
                how.update(img=Image.open(picture_path(picture)).convert('RGB'), max_area=size[0] * size[1])
            else:
                how['size'] = size
            handles.enter_context(common.official_run(precision))
            video = p.generate(PROMPT, seed=SEED, offload_model=False, **how)
        return record, video


# ---- pictures --------------------------------------------------------------------------------------------------------


def picture_path(kind):
    return common.GOLDEN / f'picture_{kind}.png'


def write_pictures():
    for seed, (kind, (w, h)) in enumerate(PICTURES.items()):
        pixels = images.picture(w, h, 4 if kind == 'alpha' else 3, seed + 20)
        if kind == 'palette':
            image = Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE)
            index, table = np.asarray(image)[:, :, None], bytes(image.getpalette()[:3 * 64])
            data = images.png(index, 8, 3, before=images.chunk(b'PLTE', table))
        else:
            data = images.png(pixels, 8, 6 if kind == 'alpha' else 2)
        picture_path(kind).write_bytes(data)


# ---- goldens ---------------------------------------------------------------------------------------------------------


def text_contexts(official, negative):
    with common.official_run('f32'):
        return [official.t5([text], torch.device('cpu'))[0] for text in (PROMPT, negative)]


def to_bytes(video):
    """Frames [T, H, W, 3] as the official program hands them to the video writer."""
    return ((video + 1) / 2 * 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def psnr(a, b):
    """Of each frame of two clips of bytes."""
    d = (a.double() - b.double()).square().mean((1, 2, 3)).clamp(min=1e-9)
    return 10 * torch.log10(255**2 / d)


def check_inputs(run, noise, picture):
    """What the official code is known to do, so that a golden of something else is not written."""
    first = run.inputs[0]
    if not picture or run.y is not None:
        assert torch.equal(first, noise)
    if picture and run.y is None:  # TI2V: the first frame is given, and stays
        assert all(torch.equal(x[:, :1], run.z) for x in [*run.inputs, run.latent]) and torch.equal(first[:, 1:], noise[:, 1:])
        tokens = first[0, 0].numel() // 4
        assert all((t[0, :tokens] == 0).all() and (t[0, tokens:] == t[0, -1]).all() and t[0, -1] > 0 for t in run.timesteps)


def golden(official, name, model, size, frames, steps, shift, guidance, picture=None, solver='unipc', negative=NEGATIVE,
           keep=('x', 'frames')):
    make, task = {'tiny-t2v-a14b': (official.t2v, 't2v-A14B'), 'tiny-i2v-a14b': (official.i2v, 'i2v-A14B'),
                  'tiny-ti2v': (official.ti2v, 'ti2v-5B')}[model]
    how = dict(frame_num=frames, sampling_steps=steps, shift=shift, guide_scale=guidance, n_prompt=negative, sample_solver=solver)
    run, video = official.run(make, 'f32', picture, size, **how)
    rough, rough_video = official.run(make, 'pipeline', picture, size, **how)
    x = torch.stack(run.inputs[1:] + [run.latent])
    noise = torch.randn(*x.shape[1:], generator=torch.Generator('cpu').manual_seed(SEED))
    check_inputs(run, noise, picture)
    context, context_null = text_contexts(official, negative or official.configs[task].sample_neg_prompt)
    experts = [k.split('_')[0] for k in run.experts]
    out = dict(noise=noise, context=context, context_null=context_null, latent=run.latent, latent_bf16=rough.latent,
               timesteps=torch.stack([t.flatten()[-1] for t in run.timesteps]).long())
    if run.z is not None:
        out['z' if run.y is None else 'y'] = run.z if run.y is None else run.y
    frames_bf16 = to_bytes(rough_video)
    more = dict(x=x, video=video, frames=to_bytes(video), psnr_bf16=psnr(frames_bf16, to_bytes(video)))
    out.update({k: more[k] for k in keep})
    error = common.error(rough.latent, run.latent)
    print(f'{name}: {list(video.shape)}, steps {out["timesteps"].tolist()} {" ".join(experts)}, latent std {run.latent.std():.2f}, '
          f'video std {video.std():.2f} clamped {(video.abs() == 1).float().mean():.3f}; official bf16 {error[0]:.1e} {error[1]:.1e}, '
          f'PSNR {more["psnr_bf16"].min():.1f}')
    scale = ','.join(f'{g:g}' for g in (guidance if isinstance(guidance, tuple) else (guidance,)))
    about = dict(model=model, prompt=PROMPT, negative=negative, seed=SEED, experts=' '.join(experts),
                 args=f'--solver {solver} --steps {steps} --shift {shift:g} --guidance {scale} --size {size[0]}x{size[1]} --frames {frames}')
    if picture:
        about['picture'] = picture_path(picture).name
    common.save(common.GOLDEN / f'{name}.safetensors', out, **about)


def main():
    a = common.arguments(__doc__, wan22=True).parse_args()
    write_pictures()
    official = Official(a.wan22)
    # The official boundaries in runs that cross them, and guidance scales (low noise, high noise); those with DPM++ have a
    # step on the boundary, which is the high-noise expert's.
    golden(official, 'pipeline_t2v_a14b', 'tiny-t2v-a14b', (48, 32), 9, 6, 12.0, (3.0, 4.0), keep=('x', 'video'))
    golden(official, 'pipeline_t2v_a14b_dpm', 'tiny-t2v-a14b', (32, 48), 5, 4, 7.0, (2.0, 4.5), solver='dpm++')
    golden(official, 'pipeline_i2v_a14b', 'tiny-i2v-a14b', (32, 64), 9, 4, 5.0, (3.5, 3.5), 'rgb', negative='')
    golden(official, 'pipeline_i2v_a14b_dpm', 'tiny-i2v-a14b', (64, 32), 5, 4, 3.0, (2.0, 4.5), 'palette', solver='dpm++',
           keep=('x', 'video'))
    golden(official, 'pipeline_ti2v_text', 'tiny-ti2v', (64, 96), 9, 4, 5.0, 5.0)
    golden(official, 'pipeline_ti2v_image', 'tiny-ti2v', (64, 64), 9, 4, 5.0, 5.0, 'rgb')
    golden(official, 'pipeline_ti2v_image_dpm', 'tiny-ti2v', (64, 96), 5, 5, 5.0, 3.0, 'alpha', solver='dpm++', negative='')
    # Longer clips, frame by frame.
    long = ('frames', 'psnr_bf16')
    golden(official, 'pipeline_i2v_a14b_long', 'tiny-i2v-a14b', (48, 32), 33, 4, 5.0, (3.5, 3.5), 'alpha', keep=long)
    golden(official, 'pipeline_ti2v_image_long', 'tiny-ti2v', (64, 32), 33, 4, 5.0, 5.0, 'palette', keep=long)


if __name__ == '__main__':
    main()
