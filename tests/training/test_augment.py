"""Augmentation: the geometry stays true, and the same generator gives the same batch."""

import math

import pytest
import torch

from leadline.data.augment import AugmentConfig, change_colour, sharpen, shift_rows
from leadline.data.batch import StereoBatch
from leadline.data.tasks.stereo import augment
from leadline.nn.warp import inside, warp_to_left

DISPARITY = 6.0


def waves(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A smooth picture that has a value everywhere, between pixels too."""
    return torch.stack([0.5 + 0.4 * torch.sin(x / 5 + y / 7), 0.5 + 0.3 * torch.cos(x / 6 - y / 4), 0.5 + 0 * x])


def pairs(count: int = 3, height: int = 60, width: int = 90) -> StereoBatch:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    left, right = waves(x, y).expand(count, -1, -1, -1), waves(x + DISPARITY, y).expand(count, -1, -1, -1)
    truth = torch.full((count, 1, height, width), DISPARITY)
    return StereoBatch(left, right, truth, torch.ones_like(truth, dtype=torch.bool), x.expand_as(truth) < DISPARITY)


def drawn(config: AugmentConfig, seed: int = 0, crop: tuple[int, int] = (40, 64)) -> StereoBatch:
    return augment(pairs(), crop, config, torch.Generator().manual_seed(seed))


GEOMETRY = AugmentConfig(scale=(0.7, 1.6), stretch=0.2, flip=0.5)


@pytest.mark.parametrize("seed", range(4))
def test_the_disparity_still_matches_the_images(seed: int) -> None:
    batch = drawn(GEOMETRY, seed)
    assert batch.left.shape == (3, 3, 40, 64)
    warped = warp_to_left(batch.right, batch.disparity)
    mask = inside(batch.disparity) * batch.valid
    mask[..., :3] = mask[..., -3:] = 0  # the windows' borders are interpolated against nothing
    error = ((warped - batch.left).abs() * mask).amax()
    assert error < 0.02
    factors = batch.disparity.amax((1, 2, 3)) / DISPARITY
    assert len(set(factors.tolist())) == 3
    assert ((factors > 0.66) & (factors < 2.0)).all()


def test_flips_do_happen_and_keep_the_pair() -> None:
    scenes = pairs(40)
    flipped = augment(scenes, (60, 90), AugmentConfig(flip=0.5), torch.Generator().manual_seed(0))
    turned = [torch.equal(flipped.left[i], scenes.left[i].flip(1)) for i in range(40)]
    assert 8 < sum(turned) < 32
    for i, turn in enumerate(turned):
        assert torch.equal(flipped.right[i], scenes.right[i].flip(1) if turn else scenes.right[i])


@pytest.mark.parametrize(
    "config",
    [
        GEOMETRY,
        AugmentConfig(brightness=0.2, contrast=0.2, saturation=0.2, gamma=0.3, asymmetric=0.5),
        AugmentConfig(sharpen=2.0),
        AugmentConfig(noise=0.05),
        AugmentConfig(occluders=1.0),
        AugmentConfig(vertical_jitter=2.0),
    ],
    ids=["geometry", "colour", "sharpen", "noise", "occluders", "jitter"],
)
def test_repeatable_in_range_and_different_by_seed(config: AugmentConfig) -> None:
    one, again, other = drawn(config), drawn(config), drawn(config, seed=1)
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert not torch.equal(one.right, other.right)
    assert one.left.min() >= 0
    assert one.left.max() <= 1


def test_nothing_asked_nothing_changed() -> None:
    scenes = pairs()
    batch = augment(scenes, (60, 90), AugmentConfig(), torch.Generator())
    assert all(torch.equal(getattr(batch, name), getattr(scenes, name)) for name in vars(scenes))


def test_occluders_are_on_the_right_view_alone() -> None:
    scenes = pairs()
    batch = augment(scenes, (60, 90), AugmentConfig(occluders=1.0), torch.Generator().manual_seed(0))
    changed = (batch.right != scenes.right).any(1).float().mean((1, 2))
    assert torch.equal(batch.left, scenes.left)
    assert ((changed > 0) & (changed < 0.2)).all()


def test_asymmetric_colour_differs_between_the_views() -> None:
    config = AugmentConfig(brightness=0.2)
    same, apart = drawn(config), drawn(AugmentConfig(brightness=0.2, asymmetric=1.0))
    grey = slice(2, 3)  # constant in both views
    assert torch.allclose(same.left[:, grey], same.right[:, grey])
    assert (apart.left[:, grey] - apart.right[:, grey]).abs().amax((1, 2, 3)).min() > 1e-3


def test_sharpening_by_frequency() -> None:
    """The finest stripes grow by the whole factor, stripes twice as wide by half of it, both views alike."""
    columns = torch.arange(64)
    fine, wide = 0.5 + 0.1 * (1 - 2 * (columns % 2)), 0.5 + 0.1 * (1 - 2 * (columns // 2 % 2))
    views = [stripes.expand(8, 3, 16, 64).float() for stripes in (fine, wide, fine)]
    same, twice_as_wide, right = sharpen(views, 2.0, torch.Generator().manual_seed(0))
    factor = (same[:, 0, 8, 32] - 0.5) / 0.1
    assert ((factor > 1) & (factor < 3)).all()
    assert len(set(factor.tolist())) == 8
    assert torch.equal(same, right)
    assert torch.allclose((twice_as_wide[:, 0, 8, 32] - 0.5) / 0.1, 1 + (factor - 1) / 2, atol=1e-4)


def test_colour_by_hand() -> None:
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    none = torch.zeros(1, 4)

    def change(**amounts: float) -> list[float]:
        wanted = none.clone()
        for name, value in amounts.items():
            wanted[0, ["brightness", "contrast", "saturation", "gamma"].index(name)] = value
        return change_colour(image, wanted)[0, :, 0, 0].tolist()

    assert change() == pytest.approx([0.2, 0.4, 0.6], abs=1e-6)
    assert change(brightness=0.1) == pytest.approx([0.3, 0.5, 0.7], abs=1e-6)
    assert change(contrast=-1.0) == pytest.approx([0.4, 0.4, 0.4], abs=1e-6)
    assert change(gamma=math.log(2)) == pytest.approx([0.04, 0.16, 0.36], abs=1e-6)
    grey = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    assert change(saturation=-1.0) == pytest.approx([grey] * 3, abs=1e-6)


def test_rows_are_shifted_by_parts_of_a_pixel() -> None:
    ramp = torch.arange(10.0).view(1, 1, 10, 1).expand(2, 3, 10, 4)
    moved = shift_rows(ramp, torch.tensor([1.0, -0.5]))
    assert moved[0, 0, :, 0].tolist() == pytest.approx([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert moved[1, 0, :, 0].tolist() == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9])
