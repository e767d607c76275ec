"""Discriminator and adversarial losses against closed forms."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from leadline.nn.gan_losses import discriminator_loss, generator_loss, gradient_penalty
from leadline.nn.patch_discriminator import PatchDiscriminator

REAL, FAKE = torch.tensor([2.0, -0.5]), torch.tensor([0.25, -3.0])


def test_non_saturating_is_cross_entropy():
    ones, zeros = torch.ones(2), torch.zeros(2)
    expected = F.binary_cross_entropy_with_logits(REAL, ones) + F.binary_cross_entropy_with_logits(FAKE, zeros)
    torch.testing.assert_close(discriminator_loss("non_saturating", REAL, FAKE), expected)
    expected = F.binary_cross_entropy_with_logits(FAKE, ones)
    torch.testing.assert_close(generator_loss("non_saturating", FAKE), expected)


@pytest.mark.parametrize(
    ("kind", "discriminator", "generator"),
    [
        ("least_squares", (1.0 + 2.25) / 4 + (0.0625 + 9.0) / 4, (0.5625 + 16.0) / 4),
        ("hinge", (0.0 + 1.5) / 2 + (1.25 + 0.0) / 2, 1.375),
        ("wasserstein", -1.375 - 0.75, 1.375),
    ],
)
def test_losses_by_hand(kind, discriminator, generator):
    assert discriminator_loss(kind, REAL, FAKE).item() == pytest.approx(discriminator)
    assert generator_loss(kind, FAKE).item() == pytest.approx(generator)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="hinge"):
        generator_loss("hinges", FAKE)


def test_gradient_penalty_of_a_linear_discriminator():
    """Its gradient is its weight everywhere."""
    layer = nn.Linear(12, 1)
    real, fake = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    penalty = gradient_penalty(lambda x: layer(x.flatten(1)), real, fake)
    assert penalty.item() == pytest.approx((layer.weight.norm().item() - 1) ** 2, rel=1e-5)
    penalty.backward()
    assert layer.weight.grad is not None


def test_spectral_norm_holds_the_largest_singular_value_at_one():
    torch.manual_seed(0)
    network = PatchDiscriminator(3, width=8)
    for _ in range(100):  # power iteration takes a step per forward while training
        network(torch.rand(1, 3, 32, 32))
    for layer in network.eval().layers:
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_a_logit_sees_70_pixels():
    network = PatchDiscriminator(1, width=4, spectral=True).eval()
    image = torch.rand(1, 1, 160, 160, requires_grad=True)
    logits = network(image)
    assert logits.shape == (1, 1, 18, 18)
    logits[0, 0, 9, 9].backward()
    rows = image.grad[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 == 70
