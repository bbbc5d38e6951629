"""Goldens of whole short text-to-video runs with tiny-t2v: official T5, transformer, schedulers and VAE. README.md:
pipeline."""
import torch

import common
import tiny

SHAPE = (16, 2, 4, 6)  # latent: 5 frames of 48 x 32 pixels
STEPS, SHIFT, GUIDANCE = 4, 5.0, 5.0


def encode(model, name, n):
    u = common.uniform(f'input.pipeline.{name}', (n,))
    ids = (3 + ((u + 1) * 0.5 * (tiny.T5['vocab'] - 3))).long()
    ids[-1] = 1
    with common.official_run('f32'):
        return ids, model(ids[None], torch.ones(1, n, dtype=torch.long))[0]


def make_scheduler(wan, solver):
    how = dict(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
    if solver == 'unipc':
        s = wan.unipc.FlowUniPCMultistepScheduler(**how)
        s.set_timesteps(STEPS, device='cpu', shift=SHIFT)
        return s, s.timesteps
    s = wan.dpm.FlowDPMSolverMultistepScheduler(**how)
    return s, wan.dpm.retrieve_timesteps(s, device='cpu', sigmas=wan.dpm.get_sampling_sigmas(STEPS, SHIFT))[0]


def denoise(wan, model, solver, precision, noise, context, context_null):
    """(timesteps, the guided v of each step, the sample after each step). The solver works in float32 in either precision (CUDA's autocast
    would round UniPC's einsum to bf16; spec schedulers.md)."""
    scheduler, timesteps = make_scheduler(wan, solver)
    x, samples, vs = noise, [], []
    tokens = SHAPE[1] * SHAPE[2] * SHAPE[3] // 4
    for t in timesteps:
        with common.official_run(precision):
            v_c, v_u = (model([x], t=t[None], context=[c], seq_len=tokens)[0] for c in (context, context_null))
        v = v_u + GUIDANCE * (v_c - v_u)
        x = scheduler.step(v[None], t, x[None], return_dict=False)[0][0]
        samples.append(x)
        vs.append(v)
    return timesteps, torch.stack(vs), torch.stack(samples)


def main():
    a = common.arguments(__doc__).parse_args()
    wan = common.load_official(a.wan21, 'wan21')
    t5, _ = tiny.t5(wan.t5)
    model, _ = tiny.dit(wan.model, tiny.TINY, 'tiny.')
    vae = tiny.vae(wan.vae)
    ids, context = encode(t5, 'ids', 13)
    ids_null, context_null = encode(t5, 'ids_null', 5)
    noise = common.uniform('input.pipeline.noise', SHAPE, 3**0.5)
    for solver in ('unipc', 'dpm++'):
        timesteps, v, x = denoise(wan, model, solver, 'f32', noise, context, context_null)
        _, _, rough = denoise(wan, model, solver, 'bf16', noise, context, context_null)
        with common.official_run('f32'):
            video = vae.decode([x[-1]])[0]
        print(f'{solver}: timesteps {timesteps.tolist()}, latent std {x[-1].std():.2f}, official bf16 %.2e %.2e' %
              common.error(rough[-1], x[-1]))
        out = dict(noise=noise, context=context, context_null=context_null, timesteps=timesteps, v=v, x=x, x_bf16=rough)
        if solver == 'unipc':
            out.update(ids=ids, ids_null=ids_null, video=video)
        common.save(common.GOLDEN / f'pipeline_{"unipc" if solver == "unipc" else "dpm"}.safetensors', out,
                    args=f'--solver {solver} --steps {STEPS} --shift {SHIFT} --guidance {GUIDANCE} --size 48x32 --frames 5')


if __name__ == '__main__':
    main()
