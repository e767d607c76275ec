"""The losses against closed forms and other libraries."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from leadline.data.batch import StereoBatch
from leadline.errors import UserError
from leadline.nn.warp import inside, warp_to_left
from leadline.training.losses import Kind, Outputs, TotalLoss, make_loss, names
from leadline.training.losses.distribution import disparity_cross_entropy, shrink
from leadline.training.losses.self_supervised import census, left_right, photometric, smoothness, ssim

POINTWISE = {
    "l1": lambda e: abs(e),
    "l2": lambda e: e**2,
    "smooth_l1": lambda e: 0.5 * e**2 if abs(e) < 1 else abs(e) - 0.5,
    "huber": lambda e: 0.5 * e**2 if abs(e) < 1 else abs(e) - 0.5,
    "charbonnier": lambda e: math.sqrt(e**2 + 1e-6),
}


def maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    prediction, truth = (torch.rand(2, 1, 6, 8, generator=draw) * 10 for _ in range(2))
    return prediction.requires_grad_(), truth, torch.rand(2, 1, 6, 8, generator=draw) < 0.6


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_losses(name: str) -> None:
    prediction, truth, valid = maps()
    value = make_loss(name).function(prediction, truth, valid)
    errors = (prediction - truth)[valid].tolist()
    assert value.item() == pytest.approx(sum(POINTWISE[name](e) for e in errors) / len(errors), rel=1e-5)


def test_options_are_used() -> None:
    prediction, truth, valid = maps()
    errors = (prediction - truth)[valid].abs().tolist()
    huber = [0.5 * e**2 if e < 3 else 3 * (e - 1.5) for e in errors]
    value = make_loss("huber", delta=3.0).function(prediction, truth, valid)
    assert value.item() == pytest.approx(sum(huber) / len(huber), rel=1e-5)


@pytest.mark.parametrize("name", POINTWISE)
def test_nothing_valid_is_zero_with_a_gradient(name: str) -> None:
    prediction, truth, valid = maps()
    value = make_loss(name).function(prediction, truth * float("nan"), torch.zeros_like(valid))
    value.backward()
    assert value.item() == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


@pytest.mark.parametrize("name", POINTWISE)
def test_what_is_not_valid_does_not_count(name: str) -> None:
    prediction, truth, valid = maps()
    spoiled = torch.where(valid, truth, float("nan"))
    call = make_loss(name).function
    value = call(prediction, spoiled, valid)
    value.backward()
    assert value.item() == call(prediction, truth, valid).item()
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad[~valid] == 0).all()


def test_cross_entropy_is_least_at_the_laplacian() -> None:
    truth = torch.full((1, 1, 8, 8), 9.0)
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    planes = torch.arange(6.0)
    laplacian = torch.exp(-(planes - 9.0 / 4).abs())
    laplacian = laplacian / laplacian.sum()
    scores = torch.log(laplacian).view(1, 6, 1, 1).expand(1, 6, 2, 2).clone().requires_grad_()
    value = disparity_cross_entropy(scores, 4.0, truth, valid)
    value.backward()
    assert value.item() == pytest.approx(-(laplacian * laplacian.log()).sum().item(), rel=1e-5)  # its entropy
    assert scores.grad.abs().max() < 1e-6


def test_cross_entropy_leaves_out_what_no_plane_reaches() -> None:
    scores = torch.randn(1, 6, 2, 2, requires_grad=True)
    truth = torch.full((1, 1, 8, 8), 100.0)
    value = disparity_cross_entropy(scores, 4.0, truth, torch.ones(1, 1, 8, 8, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert (scores.grad == 0).all()


def test_shrink_takes_a_median_that_is_there() -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(8 * 12).reshape(1, 1, 8, 12).astype(np.float32)
    valid = rng.random((1, 1, 8, 12)) < 0.3
    valid[..., :4, :4] = False
    small, known = shrink(torch.from_numpy(truth), torch.from_numpy(valid), (2, 3))
    for row in range(2):
        for column in range(3):
            cell = (0, 0, slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
            values = sorted(truth[cell][valid[cell]])
            assert bool(known[0, 0, row, column]) == bool(values)
            assert float(small[0, 0, row, column]) == (values[(len(values) - 1) // 2] if values else 0)
    with pytest.raises(UserError, match="do not divide a crop"):
        shrink(torch.from_numpy(truth), torch.from_numpy(valid), (3, 3))


def test_warp_follows_numpy_interpolation() -> None:
    draw = torch.Generator().manual_seed(1)
    values, disparity = torch.rand(1, 2, 5, 16, generator=draw), torch.rand(1, 1, 5, 16, generator=draw) * 12 - 2
    warped, mask = warp_to_left(values, disparity), inside(disparity)
    for row in range(5):
        x = np.arange(16) - disparity[0, 0, row].numpy()
        there = (x >= 0) & (x <= 15)
        assert np.array_equal(mask[0, 0, row].numpy() > 0, there)
        for channel in range(2):
            expected = np.interp(x, np.arange(16), values[0, channel, row].numpy()) * there
            np.testing.assert_allclose(warped[0, channel, row].numpy(), expected, atol=1e-5)


def scene(disparity: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A random texture seen with one disparity everywhere."""
    wide = torch.rand(1, 3, 24, 80, generator=torch.Generator().manual_seed(2))
    return wide[..., 16 - disparity : 64 - disparity], wide[..., 16:64]


def test_ssim_is_scikit_images() -> None:
    one, two = scene(3)
    ours = ssim(one, two)[0].permute(1, 2, 0).numpy()
    _, theirs = structural_similarity(
        one[0].permute(1, 2, 0).numpy(),
        two[0].permute(1, 2, 0).numpy(),
        win_size=3,
        data_range=1.0,
        channel_axis=2,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(ours[1:-1, 1:-1], theirs[1:-1, 1:-1], atol=2e-4)


@pytest.mark.parametrize("call", [photometric, census], ids=["photometric", "census"])
def test_image_losses_are_least_at_the_true_disparity(call) -> None:
    left, right = scene(5)
    values = [call(torch.full((1, 1, 24, 48), float(d)), left, right).item() for d in range(12)]
    assert np.argmin(values) == 5
    assert values[5] < 1e-4


def test_census_is_blind_to_exposure_and_photometric_is_not() -> None:
    left, right = scene(5)
    disparity = torch.full((1, 1, 24, 48), 5.0)
    assert census(disparity, left * 0.5, right * 0.5 + 0.3).item() < 1e-3
    assert photometric(disparity, left * 0.5, right * 0.5 + 0.3).item() > 0.02


def test_census_by_hand() -> None:
    left, right = (torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(i)) for i in (3, 4))
    value = census(torch.zeros(1, 1, 5, 5), left, right, window=3)
    grey = [(255 * (i[0, 0] * 0.299 + i[0, 1] * 0.587 + i[0, 2] * 0.114)).tolist() for i in (left, right)]
    total = []
    for y in range(1, 4):
        for x in range(1, 4):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    bits = [g[y + dy][x + dx] - g[y][x] for g in grey]
                    soft = [b / math.sqrt(0.81 + b * b) for b in bits]
                    distance = (soft[0] - soft[1]) ** 2
                    total.append(distance / (0.1 + distance))
    assert value.item() == pytest.approx(sum(total) / len(total), rel=1e-4)


def test_image_losses_with_everything_outside_are_zero_with_a_gradient() -> None:
    left, right = scene(5)
    for call in (photometric, census):
        prediction = torch.full((1, 1, 24, 48), 1000.0, requires_grad=True)
        value = call(prediction, left, right)
        value.backward()
        assert value.item() == 0
        assert torch.isfinite(prediction.grad).all()


def test_smoothness_forgives_edges_of_the_image() -> None:
    disparity = torch.ones(1, 1, 8, 16)
    disparity[..., 8:] = 3
    flat = torch.full((1, 3, 8, 16), 0.5)
    edged = flat.clone()
    edged[..., 8:] = 1.0
    # One step of 2 px in each of 8 rows of 15 differences, in units of the mean, 2 px.
    assert smoothness(disparity, flat, flat).item() == pytest.approx(1 / 15, rel=1e-4)
    assert smoothness(disparity, edged, flat).item() == pytest.approx(math.exp(-5) / 15, rel=1e-4)
    assert smoothness(disparity * 7, flat, flat).item() == pytest.approx(1 / 15, rel=1e-4)


def test_left_right_is_zero_where_the_views_agree() -> None:
    left = torch.full((1, 1, 4, 20), 4.0)
    assert left_right(left, torch.full((1, 1, 4, 20), 4.0)).item() == 0
    assert left_right(left, torch.full((1, 1, 4, 20), 5.5)).item() == pytest.approx(1.5)


def batch_of(truth: torch.Tensor, valid: torch.Tensor) -> StereoBatch:
    image = torch.rand(len(truth), 3, *truth.shape[-2:])
    return StereoBatch(image, image, truth, valid, torch.zeros_like(valid))


def test_sequence_and_scale_weights() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    batch = batch_of(truth, torch.ones_like(truth, dtype=torch.bool))
    predictions = [torch.full_like(truth, e) for e in (4.0, 2.0, 1.0)]
    outputs = Outputs(predictions)
    assert TotalLoss([{"name": "l1", "gamma": 0.5}])(outputs, batch)[0].item() == pytest.approx(1 + 1 + 1)
    assert TotalLoss([{"name": "l1", "over": "last"}])(outputs, batch)[0].item() == 1
    terms = [{"name": "l1", "scale_weights": [1.0, 0.0, 2.0]}, {"name": "l2", "over": "last", "weight": 10.0}]
    total, shares = TotalLoss(terms)(outputs, batch)
    assert total.item() == 4 + 2 + 10
    assert {name: value.item() for name, value in shares.items()} == {"l1": 6, "l2": 10}
    with pytest.raises(UserError, match="scale_weights has 2 values, the network gives 3"):
        TotalLoss([{"name": "l1", "scale_weights": [1.0, 2.0]}])(outputs, batch)


def test_truth_beyond_the_network_is_left_out_and_small_predictions_are_enlarged() -> None:
    truth = torch.tensor([[[[1.0, 1.0], [1.0, 50.0]]]])
    batch = batch_of(truth, torch.ones_like(truth, dtype=torch.bool))
    total, _ = TotalLoss([{"name": "l1"}], limit=32.0)(Outputs([torch.full((1, 1, 1, 1), 3.0)]), batch)
    assert total.item() == 2


def test_names_and_options_are_checked() -> None:
    assert {"l1", "l2", "smooth_l1", "huber", "charbonnier", "disparity_cross_entropy"} <= set(names())
    assert {"photometric", "census", "smoothness", "left_right"} <= set(names())
    assert make_loss("left_right").kind is Kind.BOTH_VIEWS
    with pytest.raises(UserError, match="did you mean 'charbonnier'"):
        make_loss("charboner")
    with pytest.raises(UserError, match="unknown option of loss huber 'dleta': did you mean 'delta'"):
        make_loss("huber", dleta=1)
    with pytest.raises(UserError, match="takes none"):
        make_loss("l1", beta=1)
