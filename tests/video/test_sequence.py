import numpy as np
import pytest
from video.clips import moving

from leadline.classical_frames import ClassicalInterpolation
from leadline.video.sequence import CUT_BELOW, STATIC_ABOVE, Gap, fill_gaps, similarity

MEAN = ClassicalInterpolation("mean")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def steps(frames, times=(0.5,), **options):
    return list(fill_gaps(MEAN, frames, list(times), **options))


def test_similarity():
    frames = moving(2)
    assert similarity(frames[0], frames[0]) == pytest.approx(1)
    assert CUT_BELOW < similarity(*frames) < STATIC_ABOVE
    assert similarity(noise(1), noise(2)) < CUT_BELOW


def test_motion_is_filled():
    frames = moving(4)
    found = steps(frames, (0.25, 0.5))
    assert [step.gap for step in found] == [Gap.MOTION] * 3 + [None]
    assert [step.number for step in found] == [0, 1, 2, 3]
    for k in range(3):
        expected = np.rint(0.75 * frames[k].astype(float) + 0.25 * frames[k + 1])
        assert np.abs(found[k].between[0].astype(float) - expected).max() <= 1
        assert (found[k].frame == frames[k]).all()


def test_a_cut_repeats_the_frame_before():
    frames = [*moving(2), noise(1), noise(1)]
    found = steps(frames, static=False)
    assert [step.gap for step in found] == [Gap.MOTION, Gap.CUT, Gap.MOTION, None]
    assert (found[1].between[0] == frames[1]).all()
    assert steps(frames, cuts=False, static=False)[1].gap is Gap.MOTION


def test_a_frame_shown_twice_becomes_the_middle():
    a, b, c = moving(3)
    found = steps([a, a, b, c])
    assert [step.gap for step in found] == [Gap.STATIC, Gap.MOTION, Gap.MOTION, None]
    middle = (a.astype(float) + b) / 2
    assert np.abs(found[1].frame - middle).max() <= 1
    assert np.abs(found[0].between[0] - (a + middle) / 2).max() <= 1
    assert (found[2].frame == b).all()
    assert (found[3].frame == c).all()
    kept = steps([a, a, b, c], static=False)
    assert (kept[1].frame == a).all()


def test_still_frames_at_the_end_stay():
    a, b = moving(2)
    found = steps([a, b, b])
    assert [step.gap for step in found] == [Gap.MOTION, Gap.MOTION, None]
    assert (found[1].between[0] == b).all()


@pytest.mark.parametrize("count", [0, 1])
def test_short_sequences(count):
    assert [step.gap for step in steps(moving(count))] == [None] * count
