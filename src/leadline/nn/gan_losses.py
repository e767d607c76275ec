"""Adversarial losses: what a discriminator and a generator minimise, by kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

KINDS = ("non_saturating", "least_squares", "hinge", "wasserstein")


def discriminator_loss(kind: str, real: Float[Tensor, "*shape"], fake: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """What the discriminator minimises, given its logits for real and for generated images.

    non_saturating: softplus(-real) + softplus(fake), the cross-entropy (Goodfellow et al., NeurIPS 2014);
    least_squares: ((real - 1)^2 + fake^2) / 2 (Mao et al., ICCV 2017);
    hinge: relu(1 - real) + relu(1 + fake) (Lim and Ye, 2017; Miyato et al., ICLR 2018);
    wasserstein: fake - real (Arjovsky et al., ICML 2017), to which `gradient_penalty` belongs.
    """
    if kind == "non_saturating":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "least_squares":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    raise ValueError(f"adversarial loss {kind!r} is not one of {', '.join(KINDS)}")


def generator_loss(kind: str, fake: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """What the generator minimises, given the discriminator's logits for its images.

    non_saturating: softplus(-fake); least_squares: (fake - 1)^2 / 2; hinge and wasserstein: -fake.
    """
    if kind == "non_saturating":
        return F.softplus(-fake).mean()
    if kind == "least_squares":
        return (fake - 1).square().mean() / 2
    if kind in ("hinge", "wasserstein"):
        return -fake.mean()
    raise ValueError(f"adversarial loss {kind!r} is not one of {', '.join(KINDS)}")


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor], real: Float[Tensor, "b ..."], fake: Float[Tensor, "b ..."]
) -> Float[Tensor, ""]:
    """(|gradient| - 1)^2 of the discriminator at random points between real and generated images; weigh it by 10.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
    """
    share = torch.rand((real.shape[0],) + (1,) * (real.dim() - 1), device=real.device, dtype=real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
