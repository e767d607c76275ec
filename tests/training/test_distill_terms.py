"""What is imitated, against closed forms, torch.distributions and NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional

from leadline.errors import UserError
from leadline.training.distill import make_term, names
from leadline.training.distill.distribution import correlation, distribution, interpolation_weights, resample, volume
from leadline.training.distill.features import attention, hint, relational, similarity
from leadline.training.distill.target import target
from leadline.training.distill.teachers import Taught, combine


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(*shape)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distribution_is_the_divergence_of_torch(temperature: float) -> None:
    student, teacher = torch.randn(2, 7, 3, 4), torch.randn(2, 7, 3, 4)
    found = distribution(student, 2.0, [(teacher, 2.0)], ones(2, 1, 12, 16), temperature)
    p, q = (Categorical(logits=(s / temperature).permute(0, 2, 3, 1)) for s in (teacher, student))
    torch.testing.assert_close(found, temperature**2 * kl_divergence(p, q).mean())


def test_distribution_at_a_high_temperature_compares_the_scores() -> None:
    student, teacher = torch.randn(1, 9, 2, 2), torch.randn(1, 9, 2, 2)
    found = distribution(student, 1.0, [(teacher, 1.0)], ones(1, 1, 2, 2), 1000.0)
    difference = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    assert float(found) == pytest.approx(float(difference.square().mean() / 2), rel=2e-2)


def test_several_teachers_are_averaged_as_distributions() -> None:
    student = torch.randn(1, 5, 2, 2)
    teachers = [torch.randn(1, 5, 2, 2) for _ in range(3)]
    found = distribution(student, 1.0, [(scores, 1.0) for scores in teachers], ones(1, 1, 2, 2))
    mean = torch.stack([scores.softmax(1) for scores in teachers]).mean(0)
    torch.testing.assert_close(found, distribution(student, 1.0, [(mean.log(), 1.0)], ones(1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("count", "step", "new", "spacing"),
    [(48, 4.0, 48, 4.0), (96, 2.0, 48, 4.0), (24, 8.0, 48, 4.0), (40, 3.0, 25, 4.0)],
)
def test_resampling_keeps_mass_and_mean(count: int, step: float, new: int, spacing: float) -> None:
    at = torch.linspace(0.2, 0.6, 4)[None, :] * (count - 1)
    shares = functional.softmax(-(torch.arange(count)[None, :, None] - at[:, None]).abs() * step / 4, 1)
    shares = shares.view(1, count, 2, 2)
    moved = resample(shares, step, (new, 2, 2), spacing)
    torch.testing.assert_close(moved.sum(1), ones(1, 2, 2))
    before = (shares * torch.arange(count).view(1, -1, 1, 1) * step).sum(1)
    after = (moved * torch.arange(new).view(1, -1, 1, 1) * spacing).sum(1)
    torch.testing.assert_close(before, after, atol=0.4, rtol=0)  # what lies near the ends moves a little
    if (count, step) == (new, spacing):
        torch.testing.assert_close(moved, shares)


def test_resampling_by_hand() -> None:
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1)  # at 0, 2, 4, 6 px
    coarse = resample(shares, 2.0, (2, 1, 1), 4.0).flatten()  # planes at 0 and 4 px; 6 px is beyond
    torch.testing.assert_close(coarse, torch.tensor([0.1 + 0.1, 0.1 + 0.3 + 0.4]))
    fine = resample(shares, 2.0, (7, 1, 1), 1.0).flatten()
    torch.testing.assert_close(fine.sum(), torch.tensor(1.0))
    torch.testing.assert_close(fine[2], torch.tensor(0.2 / 2))  # each plane spreads over 1/2, 1, 1/2 of its height
    torch.testing.assert_close(fine[3], torch.tensor(0.2 / 4 + 0.3 / 4))


def test_another_resolution_keeps_the_mass() -> None:
    shares = torch.randn(2, 6, 8, 12).softmax(1)
    for size in ((4, 6), (16, 24), (8, 6)):
        torch.testing.assert_close(resample(shares, 1.0, (6, *size), 1.0).sum(1), ones(2, *size))


def test_scores_are_interpolated_between_planes() -> None:
    line = torch.arange(5.0) * 3 + 1  # linear in disparity
    weights = interpolation_weights(5, 4.0, 9, 2.0)
    torch.testing.assert_close(weights @ line, torch.arange(9.0) * 1.5 + 1)


def test_volume_is_one_minus_pearson_and_blind_to_scale() -> None:
    student, teacher = torch.randn(2, 9, 3, 4), torch.randn(2, 9, 3, 4)
    found = volume(student, 1.0, [(teacher, 1.0)], ones(2, 1, 3, 4))
    flat = [x.permute(0, 2, 3, 1).reshape(-1, 9).double().numpy() for x in (student, teacher)]
    expected = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(*flat, strict=True)])
    assert float(found) == pytest.approx(expected, abs=1e-5)
    assert float(volume(3 * teacher - 2, 1.0, [(teacher, 1.0)], ones(2, 1, 3, 4))) == pytest.approx(0, abs=1e-5)
    assert correlation(student, -student).mean() == pytest.approx(-1, abs=1e-5)


def test_target_kinds_by_hand() -> None:
    student = torch.tensor([3.0, 10.0, 0.0, 7.0]).view(1, 1, 1, 4)
    teacher = torch.tensor([3.5, 6.0, torch.inf, 7.0]).view(1, 1, 1, 4)
    weight = torch.tensor([1.0, 0.5, 0.0, 1.0]).view(1, 1, 1, 4)
    expected = {
        "l1": (0.5 + 0.5 * 4) / 2.5,
        "l2": (0.25 + 0.5 * 16) / 2.5,
        "smooth_l1": (0.125 + 0.5 * 3.5) / 2.5,
        "log": (math.log(4.5 / 4) + 0.5 * math.log(11 / 7)) / 2.5,
    }
    for kind, value in expected.items():
        assert float(target(student, teacher, weight, kind)) == pytest.approx(value, rel=1e-5), kind


def test_scale_invariant_forgives_a_factor_as_told() -> None:
    depth = torch.rand(2, 1, 4, 5) + 1
    for balance in (0.0, 0.85, 1.0):
        found = float(target(2 * depth, depth, ones(2, 1, 4, 5), "scale_invariant", balance=balance))
        assert found == pytest.approx(math.sqrt(1 - balance) * math.log(2), abs=1e-4)


def test_what_is_not_trusted_does_not_count() -> None:
    student, teacher = torch.randn(1, 1, 4, 4, requires_grad=True), torch.randn(1, 1, 4, 4)
    weight = ones(1, 1, 4, 4)
    weight[..., :2] = 0
    teacher[..., :2] = torch.nan
    target(student, teacher, weight).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert not student.grad[..., :2].any()
    assert float(target(student.detach(), teacher, 0 * weight)) == 0


def test_hint_is_relative_to_the_teacher() -> None:
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = ((student - teacher) ** 2).sum() / (teacher**2).sum()
    torch.testing.assert_close(hint(student, teacher), expected)
    torch.testing.assert_close(hint(7 * student, 7 * teacher), expected)


def test_attention_by_hand() -> None:
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 8, 4, 5)
    maps = [(x.double() ** 2).sum(1).flatten(1).numpy() for x in (student, teacher)]
    one, two = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps)
    assert float(attention(student, teacher)) == pytest.approx(((one - two) ** 2).sum(1).mean(), rel=1e-5)
    assert float(attention(student, 5 * student)) == pytest.approx(0, abs=1e-10)


def test_similarity_by_hand() -> None:
    student, teacher = torch.randn(3, 2, 2, 2), torch.randn(3, 4, 2, 2)

    def grams(x: np.ndarray) -> np.ndarray:
        gram = x @ x.T
        return gram / np.linalg.norm(gram, axis=1, keepdims=True)

    one, two = (grams(x.flatten(1).numpy()) for x in (student, teacher))
    found = float(similarity(student, teacher, "images"))
    assert found == pytest.approx(((one - two) ** 2).sum() / 9, rel=1e-4)  # |difference|² / b²
    places = [x.flatten(2).transpose(1, 2).numpy() for x in (student, teacher)]
    units = [x / np.linalg.norm(x, axis=2, keepdims=True) for x in places]
    cosines = [np.einsum("bic,bjc->bij", x, x) for x in units]
    expected = ((cosines[0] - cosines[1]) ** 2).mean()
    assert float(similarity(student, teacher, "places")) == pytest.approx(expected, rel=1e-4)


def test_relational_by_hand() -> None:
    student, teacher = torch.randn(1, 2, 2, 2), torch.randn(1, 5, 2, 2)

    def relations(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        points = x[0].flatten(1).T.double().numpy()
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        cosines = np.zeros((4, 4, 4))
        for j in range(4):
            for i in range(4):
                for k in range(4):
                    if j not in (i, k):
                        a, b = points[i] - points[j], points[k] - points[j]
                        cosines[j, i, k] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return distances / distances[~np.eye(4, dtype=bool)].mean(), cosines

    (d1, a1), (d2, a2) = relations(student), relations(teacher)
    huber = [float(functional.huber_loss(torch.tensor(x), torch.tensor(y))) for x, y in ((d1, d2), (a1, a2))]
    assert float(relational(student, teacher, distance=1.0, angle=0.0)) == pytest.approx(huber[0], rel=1e-4)
    assert float(relational(student, teacher, distance=1.0, angle=2.0)) == pytest.approx(
        huber[0] + 2 * huber[1], rel=1e-4
    )


@pytest.mark.parametrize("places", [3, 12, 400])
def test_relations_do_not_depend_on_turns_and_scale(places: int) -> None:
    student = torch.randn(2, 6, 4, 5, requires_grad=True)
    turn = torch.linalg.qr(torch.randn(6, 6)).Q
    turned = 3 * torch.einsum("dc,bchw->bdhw", turn, student.detach())
    value = relational(student, turned, places=places)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-9)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert float(similarity(student.detach(), turned, places=max(places, 4))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["attention", "similarity", "relational"])
def test_sizes_may_differ(name: str) -> None:
    smooth = nn.functional.interpolate(torch.randn(2, 4, 3, 5), scale_factor=8, mode="bilinear")
    half = nn.functional.avg_pool2d(smooth, 2)
    value = float(make_term(name).function(half, smooth))
    assert value < 0.1 * float(make_term(name).function(half.flip(3), smooth))


def test_an_ensemble_by_numpy() -> None:
    predictions = torch.randn(3, 2, 1, 4, 5)
    taught = [Taught(p, ones(2, 1, 4, 5)) for p in predictions]
    mean, median = (combine(taught, how, None) for how in ("mean", "median"))
    np.testing.assert_allclose(mean.prediction, predictions.numpy().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(median.prediction, np.median(predictions.numpy(), 0), rtol=1e-5, atol=1e-6)
    spread = combine(taught, "mean", 0.5)
    np.testing.assert_allclose(spread.trust, np.exp(-predictions.numpy().std(0) / 0.5), rtol=1e-4)


def test_in_an_ensemble_those_who_know_speak() -> None:
    sure, unsure = ones(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])
    taught = [Taught(torch.tensor([[[[1.0, 1.0]]]]), sure), Taught(torch.tensor([[[[3.0, 99.0]]]]), unsure)]
    for how in ("mean", "median"):
        lesson = combine(taught, how, None)
        torch.testing.assert_close(lesson.prediction, torch.tensor([[[[2.0, 1.0]]]]))
        torch.testing.assert_close(lesson.trust, sure)


def test_names_and_options_are_checked() -> None:
    assert names() == ["attention", "distribution", "hint", "relational", "similarity", "target", "volume"]
    with pytest.raises(UserError, match="did you mean 'attention'"):
        make_term("atention")
    with pytest.raises(UserError, match=r"distill distribution: temperature: .* greater than 0, got -1"):
        make_term("distribution", temperature=-1)
    with pytest.raises(UserError, match="did you mean 'temperature'"):
        make_term("distribution", temprature=2.0)
