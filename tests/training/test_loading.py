"""The stream of batches: a function of the plan and the step, and nothing else."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import leadline.data.procedural
from leadline.data.augment import AugmentConfig
from leadline.data.batch import StereoBatch
from leadline.data.loading import BatchStream, Plan, Source, Stretch, scene_config
from leadline.data.sample import Sample
from leadline.data.tasks.stereo import from_sample, random_window
from leadline.errors import UserError


def numbered(seed: int, indices: list[int], size: tuple[int, int], config=None, device="cpu") -> StereoBatch:
    """Scenes whose disparity is their number."""
    count = len(indices)
    image = torch.rand(count, 3, *size)
    number = torch.tensor(indices).float().view(-1, 1, 1, 1).expand(count, 1, *size).clone()
    known = torch.ones_like(number, dtype=torch.bool)
    return StereoBatch(image, image, number, known, ~known)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadline.data.procedural, "render_stereo", numbered)


PLAN = Plan((Source("procedural"),), (Stretch(20, 4, (8, 12), (10, 16)),), seed=5)


def numbers(plan: Plan, start: int = 0) -> list[list[int]]:
    return [batch.disparity[:, 0, 0, 0].int().tolist() for batch in BatchStream(plan, start)]


def flat(steps: list[list[int]]) -> list[int]:
    return [number for step in steps for number in step]


@pytest.mark.usefixtures("scenes")
def test_each_scene_once_without_reuse() -> None:
    seen = flat(numbers(PLAN))
    assert sorted(seen) == list(range(80))


@pytest.mark.usefixtures("scenes")
@pytest.mark.parametrize("reuse", [2, 3])
def test_reuse(reuse: int) -> None:
    steps = 2 * reuse**2
    plan = replace(PLAN, reuse=reuse, stretches=(Stretch(steps, 4, (8, 12), (10, 16)),))
    seen = numbers(plan)
    assert all(len(set(step)) == 4 for step in seen)  # no scene twice in a step
    counts = np.bincount(flat(seen))
    assert (counts == reuse).all()
    assert len(counts) * reuse == 4 * steps


@pytest.mark.usefixtures("scenes")
def test_ranks_have_scenes_of_their_own() -> None:
    two = [flat(numbers(replace(PLAN, rank=rank, ranks=2))) for rank in range(2)]
    assert sorted(two[0] + two[1]) == list(range(160))


@pytest.mark.usefixtures("scenes")
def test_stretches_follow_one_another_with_new_scenes() -> None:
    plan = replace(PLAN, reuse=2, stretches=(Stretch(5, 2, (8, 12), (8, 12)), Stretch(3, 3, (4, 4), (6, 6))))
    batches = list(BatchStream(plan))
    assert [tuple(b.left.shape) for b in batches] == [(2, 3, 8, 12)] * 5 + [(3, 3, 4, 4)] * 3
    first = {n for step in numbers(plan)[:5] for n in step}
    second = {n for step in numbers(plan)[5:] for n in step}
    assert not first & second


AUGMENTED = AugmentConfig(brightness=0.2, noise=0.1, scale=(0.8, 1.2), occluders=0.5, vertical_jitter=1.0, flip=0.5)


def equal(one: StereoBatch, two: StereoBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(two).values(), strict=True))


@pytest.mark.parametrize("reuse", [1, 2])
def test_the_stream_from_any_step_is_the_same_stream(reuse: int) -> None:
    config = {"max_disparity": 16.0}
    stretches = (Stretch(5, 2, (16, 20), (20, 24)), Stretch(4, 1, (20, 20), (20, 24)))
    plan = Plan((Source("procedural", scenes=config),), stretches, 5, reuse, AUGMENTED)
    whole = list(BatchStream(plan))
    assert len(whole) == plan.batches == 9
    for start in (1, 4, 5, 7, 9):
        rest = list(BatchStream(plan, start))
        assert len(rest) == 9 - start
        assert all(equal(a, b) for a, b in zip(whole[start:], rest, strict=True))
    assert all(equal(a, b) for a, b in zip(whole, BatchStream(plan, workers=2), strict=True))
    assert not equal(whole[0], next(iter(BatchStream(replace(plan, seed=6)))))


def folder_of_pairs(folder: Path) -> str:
    for name, grey in (("a", 40), ("b", 80)):
        (folder / name).mkdir()
        for view in ("left", "right"):
            cv2.imwrite(str(folder / name / f"{view}.png"), np.full((20, 30, 3), grey, np.uint8))
        np.savez(folder / name / "disparity.npz", disparity=np.full((20, 30), 3, np.float32))
    return f"folder:{folder}"


@pytest.mark.usefixtures("scenes")
def test_a_mix_by_weight(tmp_path: Path) -> None:
    sources = (Source("procedural", weight=3.0), Source(folder_of_pairs(tmp_path), weight=1.0))
    plan = Plan(sources, (Stretch(40, 5, (8, 8), (12, 12)),), seed=1)
    batches = list(BatchStream(plan))
    real = torch.cat([(b.left.amax((1, 2, 3)) - b.left.amin((1, 2, 3))) < 1e-6 for b in batches])
    assert all(len(batch) == 5 for batch in batches)
    assert 0.15 < real.float().mean().item() < 0.35
    greys = torch.cat([b.left[:, 0, 0, 0] for b in batches])[real]
    assert set((greys * 255).round().int().tolist()) == {40, 80}


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'max_disparity'"):
        scene_config({"max_disparty": 9})
    with pytest.raises(UserError, match=r"scenes\.max_disparity"):
        scene_config({"max_disparity": "far"})
    with pytest.raises(UserError, match="absent"):
        BatchStream(replace(PLAN, sources=(Source(f"folder:{tmp_path}/absent"),)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_told_in_one_line(tmp_path: Path, workers: int) -> None:
    source = Source(folder_of_pairs(tmp_path))
    stream = BatchStream(replace(PLAN, sources=(source,)), workers=workers)
    for name in ("a", "b"):
        (tmp_path / name / "left.png").write_bytes(b"no image")
    with pytest.raises(UserError) as error:
        list(stream)
    assert "left.png" in str(error.value)
    assert "\n" not in str(error.value)


def test_samples_become_batches() -> None:
    left = np.full((6, 8, 3), 32768, np.uint16)
    truth = np.arange(48, dtype=np.float32).reshape(6, 8)
    pair = from_sample(Sample("s", (left, left[..., 0]), truth, truth > 3))
    assert pair.left.shape == pair.right.shape == (1, 3, 6, 8)
    assert pair.left.max().item() == pytest.approx(32768 / 65535)
    assert torch.equal(pair.disparity[0, 0], torch.from_numpy(truth))
    assert int(pair.valid.sum()) == 44
    assert not from_sample(Sample("s", (left, left))).valid.any()
    with pytest.raises(UserError, match="of one size"):
        from_sample(Sample("s", (left, left[:4])))


def test_a_small_pair_is_enlarged_with_its_disparity() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    pair = from_sample(Sample("s", (image, image), np.full((10, 20), 2, np.float32), np.ones((10, 20), bool)))
    window = random_window(pair, (30, 25), torch.Generator())
    assert window.left.shape[-2:] == (30, 25)
    assert torch.allclose(window.disparity, torch.tensor(6.0))  # three times as high, so three times as wide
