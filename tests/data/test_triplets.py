import numpy as np
import pytest
import torch

import leadline
from leadline.data.augment import AugmentConfig
from leadline.data.batch import TripletBatch
from leadline.data.procedural import SceneConfig
from leadline.data.sample import Sample
from leadline.data.tasks import interpolation
from leadline.errors import UserError
from leadline.nn.warp import warp_clamped

CLEAN = SceneConfig(photometric=0, noise=0, blur=0, low_light=0, vignetting=0, reflections=0, moving_camera=0, slow=0)


def explained(batch: TripletBatch) -> float:
    """Median difference between the true frame and the outer ones, moved by the flow: small where the flow is right."""
    moved = [warp_clamped(f, v) for f, v in zip((batch.frame0, batch.frame1), batch.flow.chunk(2, 1), strict=True)]
    return max((m - batch.frame).abs().median().item() for m in moved)


def render(numbers=(0, 1, 2), **changes):
    config = SceneConfig(**{**vars(CLEAN), **changes})
    return interpolation.render(3, list(numbers), (96, 128), config, "cpu")


def test_the_flow_of_the_middle_frame_explains_it():
    batch = render()
    assert explained(batch) < 0.01
    assert (batch.frame0 - batch.frame).abs().median() > 0.03  # without the flow it is not
    assert (batch.time == 0.5).all()
    torch.testing.assert_close(batch.flow[:, :2], -batch.flow[:, 2:])  # motion is linear in time


def test_other_times():
    batch = render(range(4), other_time=1.0)
    times = batch.time.flatten()
    assert len(set(times.tolist())) == 4
    assert ((times > 0) & (times < 1)).all()
    assert explained(batch) < 0.01
    ratio = batch.flow[:, :2].abs().mean((1, 2, 3)) / batch.flow.abs().mean((1, 2, 3)) / 2
    torch.testing.assert_close(ratio, times, atol=1e-3, rtol=0)
    for k in range(4):  # whatever else is rendered with it
        alone = interpolation.render(3, [k], (96, 128), SceneConfig(**{**vars(CLEAN), "other_time": 1.0}), "cpu")
        torch.testing.assert_close(alone.frame, batch.frame[k : k + 1])


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.0},
        {"rotate": 1.0},
        {"reverse_time": 1.0},
        {"reverse_channels": 1.0},
        {"flip": 0.5, "rotate": 0.5, "reverse_time": 0.5, "reverse_channels": 0.5, "brightness": 0.1, "contrast": 0.2},
        {"scale": (1.3, 1.3), "stretch": 0.2},
    ],
)
@pytest.mark.parametrize("crop", [(64, 64), (64, 96)])
def test_the_flow_is_changed_with_the_frames(change, crop):
    scenes = render(other_time=1.0)
    batch = interpolation.augment(scenes, crop, AugmentConfig(**change), torch.Generator().manual_seed(2))
    assert batch.frame.shape[-2:] == batch.flow.shape[-2:] == crop
    assert explained(batch) < 0.02
    again = interpolation.augment(scenes, crop, AugmentConfig(**change), torch.Generator().manual_seed(2))
    for one, two in zip(batch.tensors, again.tensors, strict=True):
        assert torch.equal(one, two)


def test_what_the_changes_are():
    scenes = render()
    draw = torch.Generator()

    def changed(**options):
        return interpolation.augment(scenes, (96, 128), AugmentConfig(**options), draw.manual_seed(1))

    backwards = changed(reverse_time=1.0)
    assert torch.equal(backwards.frame0, scenes.frame1)
    torch.testing.assert_close(backwards.time, 1 - scenes.time)
    assert torch.equal(changed(reverse_channels=1.0).frame, scenes.frame.flip(1))
    noisy = changed(noise=0.1)
    assert torch.equal(noisy.frame, scenes.frame)
    assert not torch.equal(noisy.frame0, scenes.frame0)
    brighter = changed(brightness=0.2, contrast=0.3)
    shift = (brighter.frame - scenes.frame).flatten(1), (brighter.frame0 - scenes.frame0).flatten(1)
    assert all(part.abs().max() > 0.02 for part in shift)


def sample(**changes) -> Sample:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (40, 60, 3)).astype(np.uint8) for _ in range(3)]
    return Sample(**{"name": "a", "images": (frames[0], frames[2]), "frame": frames[1], "time": 0.25, **changes})


def test_a_sample_as_a_batch():
    batch = interpolation.from_sample(sample())
    assert batch.time.item() == 0.25
    assert batch.valid.all()
    assert not batch.flow_valid.any()
    assert torch.equal((batch.frame * 255).round()[0].permute(1, 2, 0), torch.from_numpy(sample().frame).float())
    assert not interpolation.from_sample(sample(frame=None)).valid.any()
    window = interpolation.random_window(batch, (64, 64), torch.Generator().manual_seed(0))
    assert window.frame.shape[-2:] == (64, 64)
    assert batch.inputs(takes_time=False) == batch.images
    assert batch.inputs(takes_time=True)[2] is batch.time
    with pytest.raises(UserError, match="another size"):
        interpolation.from_sample(sample(frame=np.zeros((20, 60, 3), np.uint8)))


def test_procedural_triplets_as_a_data_set():
    data = leadline.open_data("procedural:2,seed=4,size=48x64", "interpolation")
    assert data.task == "interpolation"
    assert data[1].frame.shape == (48, 64, 3)
    assert data[1].time == 0.5
    assert np.array_equal(data[1].frame, data[1].frame)
