import numpy as np
import pytest
import torch

import leadline
from leadline import UserError
from leadline.classical_frames import ClassicalInterpolation
from leadline.predict import NetworkPredictor, Predictor, frames_between


def pattern(shift: float, size=(72, 100), dtype=np.uint8) -> np.ndarray:
    """A smooth colour pattern moved to the right by `shift` px."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(float)
    columns = columns - shift
    waves = [np.sin(columns / 6 + k) + np.cos(rows / 5 - k) + 0.5 * np.sin((rows + columns) / 11) for k in range(3)]
    white = np.iinfo(dtype).max
    return np.rint((0.5 + 0.18 * np.stack(waves, 2)) * white).astype(dtype)


def off(one: np.ndarray, two: np.ndarray, border: int = 16) -> float:
    """Mean absolute difference away from the border, of white."""
    inner = slice(border, -border)
    return np.abs(one.astype(float) - two)[inner, inner].mean() / np.iinfo(one.dtype).max


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("time", [0.2, 0.5, 0.9])
def test_dis_warp_moves_a_pattern_by_its_share_of_the_way(time, dtype):
    frames = pattern(0, dtype=dtype), pattern(6, dtype=dtype)
    found = leadline.load("dis-warp").predict(*frames, time=time)
    assert found.dtype == dtype
    assert off(found, pattern(6 * time, dtype=dtype)) < 0.003
    assert off(leadline.load("mean").predict(*frames, time=time), pattern(6 * time, dtype=dtype)) > 0.005


@pytest.mark.parametrize("name", ["mean", "dis-warp"])
def test_equal_frames_give_the_same_frame(name):
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    predictor = leadline.load(name)
    assert np.abs(predictor.predict(frame, frame).astype(int) - frame).max() <= 1
    grey = frame[..., 0]
    assert predictor.predict(grey, grey, time=0.3).shape == (50, 70, 3)
    tiny = frame[:5, :7]
    assert predictor.predict(tiny, tiny).shape == (5, 7, 3)


def test_the_mean_by_hand():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 200, np.uint8)
    assert (leadline.load("mean").predict(black, white, time=0.25) == 50).all()


class Middle(Predictor):
    """Knows the middle alone; frames hold their time."""

    task = leadline.Task.INTERPOLATION
    name = "middle"

    def __init__(self):
        self.asked = 0

    def _predict(self, frame0, frame1):
        self.asked += 1
        return np.rint((frame0.astype(float) + frame1) / 2).astype(frame0.dtype)


def test_other_times_by_halving():
    before, after = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    predictor = Middle()
    found = frames_between(predictor, before, after, [0.25, 0.5, 0.75])
    assert [frame[0, 0, 0] for frame in found] == [64, 128, 191]
    assert predictor.asked == 3  # quarters share the middle
    (third,) = frames_between(Middle(), before, after, [1 / 3])
    assert abs(third[0, 0, 0] / 255 - 1 / 3) <= 0.012
    assert third.dtype == np.uint8
    (deep,) = frames_between(Middle(), before.astype(np.uint16), after.astype(np.uint16) * 257, [0.125])
    assert deep.dtype == np.uint16
    assert deep[0, 0, 0] == 8192
    assert frames_between(Middle(), before, after, []) == []


@pytest.mark.parametrize("time", [0.0, 1.0, -0.5, 1.5, float("nan"), float("inf")])
def test_times_that_are_not_between(time):
    frame = np.zeros((8, 8, 3), np.uint8)
    for call in (
        lambda: leadline.load("mean").predict(frame, frame, time=time),
        lambda: frames_between(Middle(), frame, frame, [time]),
    ):
        with pytest.raises(UserError, match="does not lie between the frames") as error:
            call()
        assert "\n" not in str(error.value)


def test_times_and_tasks_that_do_not_go_together():
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UserError, match=r"knows the middle .* alone, not 0\.3"):
        Middle().predict(frame, frame, time=0.3)
    with pytest.raises(UserError, match="a time belongs to interpolation"):
        leadline.load("bm", num_disparities=16).predict(frame, frame, time=0.5)
    with pytest.raises(UserError, match="take a model for interpolation"):
        frames_between(leadline.load("bm", num_disparities=16), frame, frame, [0.5])
    with pytest.raises(UserError, match="num_disparities is for"):
        leadline.load("mean", num_disparities=16)
    with pytest.raises(UserError, match="did you mean 'dis-warp'"):
        ClassicalInterpolation("dis_warp")


def test_networks_are_given_their_time():
    torch.manual_seed(0)
    network = leadline.create("rife-m", teacher=False)
    predictor = NetworkPredictor(network, "cpu")
    assert predictor.takes_time
    frames = pattern(0, (40, 60)), pattern(2, (40, 60))
    early, late = (predictor.predict(*frames, time=time) for time in (0.1, 0.9))
    assert early.shape == (40, 60, 3)
    assert not np.array_equal(early, late)
    assert np.array_equal(predictor.predict(*frames), predictor.predict(*frames, time=0.5))
    direct = network(*(torch.from_numpy(np.pad(f, ((0, 8), (0, 4), (0, 0)), "edge")).permute(2, 0, 1)[None] / 255
                       for f in frames), torch.tensor(0.1).view(1, 1, 1, 1))  # fmt: skip
    expected = (direct[0, :, :40, :60].permute(1, 2, 0).detach().numpy() * 255).round()
    assert np.abs(early.astype(float) - expected).max() <= 1
    assert not NetworkPredictor(leadline.create("rife", teacher=False), "cpu").takes_time


def test_the_flow_that_is_found_on_the_way(tmp_path):
    torch.manual_seed(0)
    leadline.save(leadline.create("plumb-frame"), tmp_path / "a.safetensors")
    predictor = leadline.load(f"{tmp_path}/a.safetensors:flow", "cpu")
    assert predictor.task == "flow"
    flow = predictor.predict(pattern(0), pattern(6))
    assert flow.shape == (72, 100, 2)
    inner = flow[16:-16, 16:-16]
    assert abs(np.median(inner[..., 0]) - 6) < 0.3
    assert abs(np.median(inner[..., 1])) < 0.3
    leadline.save(leadline.create("rife-m", teacher=False), tmp_path / "b.safetensors")
    assert leadline.load(f"{tmp_path}/b.safetensors:flow", "cpu").predict(pattern(0), pattern(6)).shape == (
        72,
        100,
        2,
    )
    leadline.save(leadline.create("plummet-s"), tmp_path / "c.safetensors")
    with pytest.raises(UserError, match="only interpolation networks"):
        leadline.load(f"{tmp_path}/c.safetensors:flow", "cpu")
