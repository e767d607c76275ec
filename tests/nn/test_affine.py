"""Ranges, rounding, clamping and gradients, against closed forms and torch's own fake quantisation."""

import pytest
import torch

from leadline.nn.quantize.affine import Grid, from_codes, scale_and_zero, to_codes
from leadline.nn.quantize.fake import Quantizer, whole_numbers
from leadline.nn.quantize.observers import OBSERVERS, Histogram, find_range

T = torch.tensor


def test_grids():
    assert (Grid(8, True).low, Grid(8, True).high) == (-128, 127)
    assert (Grid(8, True, narrow=True).low, Grid(4, True, narrow=True).low) == (-127, -7)
    assert (Grid(4, False).low, Grid(4, False).high) == (-8, 7)


def test_scales_and_zero_points_in_closed_form():
    scale, zero = scale_and_zero(T(-1.0), T(0.5), Grid(8, True))
    assert scale.item() == pytest.approx(1 / 127)
    assert zero == 0
    scale, zero = scale_and_zero(T(0.0), T(2.55), Grid(8, False))
    assert scale.item() == pytest.approx(0.01)
    assert zero == -128
    scale, zero = scale_and_zero(T(-1.0), T(3.0), Grid(4, False))
    assert scale.item() == pytest.approx(4 / 15)
    assert zero == -4  # -8 + 3.75, rounded
    assert scale_and_zero(T(5.0), T(10.0), Grid(8, False))[1] == -128  # widened to hold 0
    assert scale_and_zero(T(0.0), T(0.0), Grid(8, False))[0] == 1


def test_zero_is_kept_exactly_and_halves_go_to_even():
    for low, high in [(-1.0, 2.0), (0.0, 3.0), (-5.0, 0.1)]:
        grid = Grid(8, False)
        scale, zero = scale_and_zero(T(low), T(high), grid)
        assert from_codes(to_codes(T(0.0), scale, zero, grid), scale, zero) == 0
    codes = to_codes(T([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9]), T(1.0), T(0), Grid(8, True))
    assert codes.tolist() == [0, 2, 2, 0, -2, 127, -128]


def test_forward_and_gradient_are_those_of_torch_where_it_has_them():
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(1000, generator=generator)).requires_grad_()
    scale, zero = T([0.03125]), T([7], dtype=torch.int32)  # a power of two: torch multiplies by the reciprocal
    ours = whole_numbers(x, scale, zero, Grid(8, False)) * scale
    theirs = torch.fake_quantize_per_tensor_affine(x, scale.item(), 7, -128, 127)
    assert torch.equal(ours, theirs)
    weights = torch.randn(1000, generator=generator)
    (one,) = torch.autograd.grad((ours * weights).sum(), x, retain_graph=True)
    (two,) = torch.autograd.grad((theirs * weights).sum(), x)
    torch.testing.assert_close(one, two)


def test_the_learned_scale_follows_lsq():
    x = T([0.26, -0.9, 9.0, -9.0])
    quantizer = Quantizer(Grid(4, True))
    quantizer.set(T([0.1]), T([0]))
    whole, scale = quantizer(x)
    (whole * scale).sum().backward()
    # LSQ, eq. 3: round(x/s) - x/s within, the code at the ends; d scale / d stretch = scale ln 2
    expected = (3 - 2.6) + 0 + 7 + -8  # -0.9 / 0.1 = -9 lies beyond -8 as well
    expected += -8
    assert quantizer.stretch.grad.item() == pytest.approx(expected * 0.1 * 0.6931472, rel=1e-4)


def test_a_dynamic_range_is_that_of_the_tensor():
    quantizer = Quantizer(Grid(8, False), dynamic=True)
    for high in (1.0, 10.0):
        x = torch.linspace(-1, high, 50)
        whole, scale = quantizer(x)
        assert scale.item() == pytest.approx((high + 1) / 255)
        assert (whole * scale - x).abs().max() <= 0.51 * scale.item()


@pytest.mark.parametrize("observer", OBSERVERS)
def test_observers_stay_within_what_was_seen_and_ignore_a_lone_outlier(observer):
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(100_000, generator=generator), T([60.0])])
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    low, high = find_range(histogram, observer, Grid(8, False))
    assert histogram.minimum - 1e-6 <= low < -1
    assert 1 < high <= histogram.maximum + 1e-6
    if observer == "minmax":
        assert high == pytest.approx(60)
    elif observer in ("percentile", "kl"):  # for the squared error it may be worth its codes
        assert high < 30


@pytest.mark.parametrize("observer", ["mse", "histogram"])
def test_error_observers_err_less(observer):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(200_000, generator=generator).pow(3)  # heavy tails

    def error(ends, grid):
        scale, zero = scale_and_zero(T(ends[0]), T(ends[1]), grid)
        return (from_codes(to_codes(values, scale, zero, grid), scale, zero) - values).square().mean().item()

    grid = Grid(4, True)
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    assert error(find_range(histogram, observer, grid), grid) < 0.8 * error(find_range(histogram, "minmax", grid), grid)


def test_percentile_in_closed_form():
    values = torch.linspace(0, 1, 1_000_001)
    histogram = Histogram(0.0, 1.0)
    histogram.add(values)
    low, high = find_range(histogram, "percentile", Grid(8, False))
    assert low == pytest.approx(0.00005, abs=1 / 2048)
    assert high == pytest.approx(0.99995, abs=1 / 2048)
