"""Muon: momentum whose matrices are replaced by their nearest (semi-)orthogonal ones before the step.

PyTorch's own class computes in bf16, which is very slow on CPUs without bf16 instructions; this one stays in f32 and
handles all matrices of one shape in one batch.
"""

import torch

QUINTIC = (3.4445, -4.7750, 2.0315)      # Newton-Schulz coefficients that drive singular values to about 1
ITERATIONS = 5


def orthogonalise(g):
    """[n, rows, cols] -> the same with all singular values near 1."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices, and kernels as matrices with a row for each output channel.  The step has the root mean square an Adam step
    would have, so one learning rate serves both."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.flatten(1).shape), []).append(p)
            for shape, members in shapes.items():
                updates = orthogonalise(torch.stack([self.momentum(p, group["momentum"]).flatten(1) for p in members]))
                for p, u in zip(members, updates):
                    p.add_(u.view_as(p), alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)

    def momentum(self, p, beta):
        state = self.state[p]
        m = state.setdefault("momentum", torch.zeros_like(p))
        m.lerp_(p.grad, 1 - beta)
        return p.grad.lerp(m, beta)      # Nesterov's look ahead
