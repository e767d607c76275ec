"""Monocular depth in training: batches, losses with closed forms, self-supervision, teachers, a run from end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from leadline.checkpoint import load_network
from leadline.data import open_data
from leadline.data.augment import AugmentConfig
from leadline.data.batch import Batch, MonoBatch
from leadline.data.formats.arrays import write_array
from leadline.data.formats.images import write_image
from leadline.data.procedural import RoomConfig
from leadline.data.sample import Sample
from leadline.data.tasks import data_of
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera
from leadline.models import Task, create
from leadline.nn.reproject import reproject
from leadline.predict import Predictor
from leadline.training import teacher
from leadline.training.fit import make_network, train
from leadline.training.losses import Outputs, TotalLoss
from leadline.training.losses.depth import berhu, depth_gradient, log_l1, silog
from leadline.training.losses.reprojection import depth_smoothness, reprojection
from leadline.training.module import motions, run_network
from leadline.training.recipe import check_recipe
from leadline.training.tasks import training_of

MONO = data_of(Task.MONO)
STILL = RoomConfig(blur=0, noise=0, vignetting=0, photometric=0, greyscale=0, low_light=0, frames=2, textureless=0)


def _rooms(count: int = 2, size: tuple[int, int] = (64, 96), config: RoomConfig = STILL) -> MonoBatch:
    return MONO.render(3, range(count), size, config, "cpu")


def _recipe(**changes) -> dict:
    return {
        "name": "mono",
        "network": {"name": "fastdepth", "width": 0.25, "decoder": 4},
        "data": [{"source": "procedural", "scenes": {"max_furniture": 3}}],
        "render_size": [48, 80],
        "crop": [32, 64],
        "batch": 2,
        "steps": 4,
        "augment": {"brightness": 0.1, "noise": 0.01, "flip": 0.5, "scale": [0.9, 1.1]},
        "losses": [{"name": "silog"}, {"name": "depth_gradient", "weight": 0.5}],
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "validate": {"every": 4, "data": "procedural:2,seed=9,size=40x70"},
        "ema": 0.9,
        "workers": 0,
        "threads": 1,
        "accelerator": "cpu",
        "devices": 1,
        "log": {"every": 2, "images_every": 2},
        **changes,
    }


# --- batches -----------------------------------------------------------------------------------------------------


def test_crops_zooms_and_mirrors_keep_camera_depth_and_motion_together():
    """After any of them the frames, moved by depth and motion, still look like the image."""
    rooms = _rooms(4, (96, 144))

    def error(batch: MonoBatch) -> float:
        moved, seen = reproject(batch.frames[:, 0], batch.depth, batch.intrinsics, batch.poses[:, 0])
        return float((moved - batch.image).abs().mean(1, keepdim=True)[seen].mean())

    config = AugmentConfig(flip=1.0, scale=(1.2, 1.5))
    changed = MONO.augment(rooms, (64, 96), config, torch.Generator().manual_seed(0))
    assert changed.image.shape[-2:] == (64, 96)
    reference = error(rooms)
    assert error(changed) < 1.5 * reference
    wrong = MonoBatch(*changed.tensors)
    wrong.intrinsics = changed.intrinsics + torch.tensor([0.0, 0.0, 15.0, 0.0])
    assert error(wrong) > 1.5 * error(changed)
    wrong = MonoBatch(*changed.tensors)
    wrong.poses = changed.poses.clone()
    wrong.poses[..., 0, 3] *= -1  # the motion of a world that is not mirrored
    assert error(wrong) > 1.2 * error(changed)


def test_zooming_an_image_does_not_change_depths_but_its_focal_length():
    rooms = _rooms(1, (32, 48))
    larger = MONO.zoom(rooms, (64, 96))
    assert float(larger.intrinsics[0, 0]) == pytest.approx(2 * float(rooms.intrinsics[0, 0]))
    assert float(larger.intrinsics[0, 2]) == pytest.approx((96 - 1) / 2)
    assert set(larger.depth.unique().tolist()) == set(rooms.depth.unique().tolist())


def test_colours_change_alike_in_all_frames():
    rooms = _rooms(1)
    rooms.frames = rooms.image[:, None].repeat(1, 2, 1, 1, 1)
    config = AugmentConfig(brightness=0.2, contrast=0.3, saturation=0.3, gamma=0.3)
    changed = MONO.augment(rooms, (64, 96), config, torch.Generator().manual_seed(1))
    assert not torch.allclose(changed.image, rooms.image)
    torch.testing.assert_close(changed.frames[:, 0], changed.image)


def test_items_with_and_without_frames_in_one_batch():
    lone = Sample("a", (np.zeros((64, 96, 3), np.uint8),))
    batch = Batch.cat([_rooms(1), MONO.from_sample(lone)])
    assert batch.frames.shape[:2] == (2, 2)
    assert batch.present.tolist() == [[True, True], [False, False]]
    assert torch.isnan(batch.poses[1]).all()
    assert not batch.valid[1].any()
    assert [len(part) for part in batch.split(1)] == [1, 1]


def test_a_sample_of_rooms_is_what_training_renders():
    sample = open_data("procedural:3,seed=5,size=32x48", "mono")[2]
    rendered = MONO.render(5, [2], (32, 48), RoomConfig(), "cpu")
    item = MONO.from_sample(sample)
    torch.testing.assert_close(item.image, rendered.image, atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(item.depth, rendered.depth)
    torch.testing.assert_close(item.intrinsics, rendered.intrinsics)


# --- losses ------------------------------------------------------------------------------------------------------


def _two(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_losses_on_depth_by_hand():
    p, g, v = _two([2.0, 8.0, 5.0]), _two([1.0, 2.0, 0.0]), _two([1, 1, 0]).bool()
    d = torch.tensor([math.log(2), math.log(4)])
    assert float(silog(p, g, v, balance=0.5, root=False)) == pytest.approx(float((d**2).mean() - 0.5 * d.mean() ** 2))
    assert float(silog(p, g, v, balance=1.0)) == pytest.approx(10 * float(d.std(unbiased=False)), rel=1e-3)
    assert float(log_l1(p, g, v)) == pytest.approx(float(d.mean()))
    c = 0.2 * 6.0  # errors 1 and 6
    assert float(berhu(p, g, v)) == pytest.approx((1.0 + (36 + c * c) / (2 * c)) / 2)
    assert float(depth_gradient(p, g, v, scales=1)) == pytest.approx(math.log(2), rel=1e-5)  # between known neighbours


def test_scale_invariance():
    torch.manual_seed(0)
    g, v = torch.rand(2, 1, 6, 8) + 0.5, torch.rand(2, 1, 6, 8) > 0.3
    p = g * torch.exp(0.2 * torch.randn_like(g))
    assert float(silog(3 * p, g, v, balance=1.0)) == pytest.approx(float(silog(p, g, v, balance=1.0)), rel=1e-3)
    assert float(depth_gradient(3 * p, g, v)) == pytest.approx(float(depth_gradient(p, g, v)), rel=1e-4)


@pytest.mark.parametrize("name", ["silog", "log_l1", "berhu", "depth_gradient", "l1", "smooth_l1"])
def test_unknown_truth_has_no_say_and_gradients_are_finite(name: str):
    torch.manual_seed(0)
    rooms = _rooms(2)
    rooms.valid = rooms.valid & (torch.rand_like(rooms.depth) > 0.5)
    rooms.valid[1] = False
    loss = TotalLoss([{"name": name}], task=Task.MONO)
    values = []
    for unknown in (0.0, float("nan")):
        rooms.depth = torch.where(rooms.valid, rooms.depth, unknown)
        prediction = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(2)).requires_grad_()
        total, _ = loss(Outputs([prediction]), rooms)
        total.backward()
        assert torch.isfinite(prediction.grad).all()
        assert not prediction.grad[~rooms.valid].any()
        values.append(float(total.detach()))
    assert values[0] == values[1]


def test_reprojection_is_least_at_the_true_depth_and_motion():
    rooms = _rooms(4, (96, 128))

    def value(depth: torch.Tensor, poses: torch.Tensor, **options) -> float:
        return float(reprojection(depth, rooms, poses, **options))

    true = value(rooms.depth, rooms.poses)
    for depth, poses in (
        (1.4 * rooms.depth, rooms.poses),
        (rooms.depth / 1.4, rooms.poses),
        (torch.full_like(rooms.depth, 2.0), rooms.poses),
    ):
        assert true < 0.85 * value(depth, poses, auto_mask=False)
    backwards = rooms.poses.clone()
    backwards[..., :3, 3] *= -1
    assert true < 0.7 * value(rooms.depth, backwards, auto_mask=False)
    assert value(rooms.depth, rooms.poses, auto_mask=False) <= value(
        rooms.depth, rooms.poses, auto_mask=False, minimum=False
    )


def test_reprojection_of_a_plane_is_zero_at_its_depth():
    """A plane at 2 m, seen from 4 cm to the right by a focal length of 50 px: its picture is moved by one pixel."""
    torch.manual_seed(0)
    texture = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 44, 65), 5, 1)
    image, frame = texture[..., :60], texture[..., 1:61]
    depth = torch.full((1, 1, 40, 60), 2.0)
    pose = torch.eye(4)[None, None].clone()
    pose[..., 0, 3] = -0.04
    batch = MonoBatch(
        image, depth, torch.ones_like(depth, dtype=torch.bool), torch.tensor([[50.0, 50.0, 29.5, 19.5]]),
        frame[:, None], pose, torch.ones(1, 1, dtype=torch.bool),
    )  # fmt: skip
    inner = MonoBatch(*batch.tensors)
    assert float(reprojection(depth, inner, pose)) < 2e-3  # the repeated border is in the SSIM of the first column
    errors = [
        float(reprojection(d * torch.ones_like(depth), inner, pose, auto_mask=False)) for d in (1.0, 1.5, 2.0, 3.0)
    ]
    assert min(errors) == errors[2]
    assert min(errors[0], errors[1], errors[3]) > 10 * errors[2]


def test_a_camera_at_rest_teaches_nothing_with_the_auto_mask():
    rooms = _rooms(1)
    rooms.frames = rooms.image[:, None].repeat(1, 2, 1, 1, 1)
    prediction = (0.7 * rooms.depth).requires_grad_()
    reprojection(prediction, rooms, rooms.poses).backward()
    assert not prediction.grad.any()


def test_frames_without_a_motion_or_camera_are_left_out():
    rooms = _rooms(1)
    one = float(reprojection(rooms.depth, MonoBatch(*(t[:, :1] if t.ndim > 1 and t.shape[1] == 2 else t
                                                      for t in rooms.tensors)), rooms.poses[:, :1]))  # fmt: skip
    poses = rooms.poses.clone()
    poses[:, 1] = torch.nan
    assert float(reprojection(rooms.depth, rooms, poses)) == pytest.approx(one)
    rooms.intrinsics = torch.full((1, 4), torch.nan)
    prediction = rooms.depth.clone().requires_grad_()
    total = reprojection(prediction, rooms, rooms.poses)
    total.backward()
    assert float(total.detach()) == 0
    assert torch.isfinite(prediction.grad).all()


def test_smoothness_is_blind_to_scale_and_forgives_edges_of_the_image():
    rooms = _rooms(1)
    poses = rooms.poses
    step = torch.ones(1, 1, 64, 96)
    step[..., 48:] = 2
    rooms.image = torch.zeros(1, 3, 64, 96)
    flat = float(depth_smoothness(step, rooms, poses, edge=5.0))
    assert float(depth_smoothness(7 * step, rooms, poses, edge=5.0)) == pytest.approx(flat, rel=1e-5)
    rooms.image[..., 48:] = 1
    assert float(depth_smoothness(step, rooms, poses, edge=5.0)) == pytest.approx(flat * math.exp(-5.0), rel=1e-4)
    assert float(depth_smoothness(torch.ones(1, 1, 64, 96), rooms, poses)) == 0


# --- networks in training -----------------------------------------------------------------------------------------


def test_unknown_motions_come_from_the_pose_network_and_it_learns():
    rooms = _rooms(2)
    rooms.poses[0] = torch.nan
    network = create("fastdepth", width=0.25, decoder=4, pose=True)
    found = motions(network, rooms)
    torch.testing.assert_close(found[1], rooms.poses[1])
    assert torch.isfinite(found).all()
    loss = TotalLoss([{"name": "reprojection", "auto_mask": False}, {"name": "depth_smoothness", "weight": 1e-3}],
                     task=Task.MONO)  # fmt: skip
    total, shares = loss(run_network(network, loss, rooms), rooms)
    total.backward()
    assert set(shares) == {"reprojection", "depth_smoothness"}
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.pose.parameters())
    assert any(p.grad.any() for p in network.encoder.parameters())


def test_a_network_with_memory_sees_the_frames_before():
    rooms = _rooms(2)
    assert [bool((a == b).all()) for a, b in zip(rooms.video, (rooms.frames[:, 0], rooms.image), strict=True)] == [
        True
    ] * 2
    network = create("fastdepth", width=0.25, decoder=4, memory=4).eval()
    loss = TotalLoss([{"name": "log_l1"}], task=Task.MONO)
    with torch.no_grad():
        network.memory.leave.weight.mul_(1e4)
        before = network.forward_state(rooms.frames[:, 0])[1]
        expected = network.forward_state(rooms.image, before)[0]
        torch.testing.assert_close(run_network(network, loss, rooms).predictions[-1], expected)
        assert not torch.allclose(network(rooms.image), expected, rtol=1e-6)


def test_the_errors_of_a_validation_are_those_of_the_evaluation():
    from leadline.evaluation.mono_metrics import MonoSums

    item = _rooms(1)
    item.valid = item.valid & (torch.rand_like(item.depth) > 0.4)
    prediction = item.depth * torch.exp(0.3 * torch.randn_like(item.depth))
    sums = training_of(Task.MONO).error_sums(prediction, item)
    expected = MonoSums.of(prediction[0, 0].numpy(), item.depth[0, 0].numpy(), item.valid[0, 0].numpy()).metrics()
    assert float(sums[0] / sums[-1]) == pytest.approx(expected["abs_rel"], rel=1e-5)
    assert float(sums[1] / sums[-1]) == pytest.approx(100 - expected["delta_1"], rel=1e-4)
    assert float(sums[2] / sums[-1]) == pytest.approx(expected["silog"], rel=1e-4)
    picture = training_of(Task.MONO).picture(item, prediction)
    assert picture.shape == (3, 128, 192)


@pytest.mark.parametrize("head", ["direct", "ordinal"])
def test_a_run_from_recipe_to_checkpoint(tmp_path: Path, head: str):
    losses = [{"name": "silog"}, {"name": "head", "weight": 2.0}]
    network = {"name": "fastdepth", "width": 0.25, "decoder": 4, "head": head, "planes": 8, "max_depth": 8.0}
    final = train(check_recipe(_recipe(losses=losses, network=network)), tmp_path)
    trained = load_network(final)
    assert trained.config.head == head
    assert "abs_rel" in (tmp_path / "log.txt").read_text()


def test_self_supervised_run_with_known_motions(tmp_path: Path):
    data = [{"source": "procedural", "scenes": {"stereo": 0.1, "max_furniture": 3}}]
    losses = [{"name": "reprojection"}, {"name": "depth_smoothness", "weight": 1e-3}]
    assert train(check_recipe(_recipe(data=data, losses=losses)), tmp_path).is_file()


def test_backbone_weights_of_a_recipe(tmp_path: Path):
    from published_backbones import resnet18

    state = resnet18("torchvision")
    torch.save(state, tmp_path / "resnet18.pth")
    options = {"name": "fastdepth", "backbone": "resnet18", "decoder": 4}
    recipe = check_recipe(_recipe(network={**options, "backbone_weights": str(tmp_path / "resnet18.pth")}))
    network = make_network(recipe)
    assert torch.equal(network.encoder.conv1.weight, state["conv1.weight"])
    assert "skipped" in network.provenance["backbone"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"losses": [{"name": "census"}]}, "census"),
        ({"data": [{"source": "procedural", "scenes": {"max_disparity": 9}}]}, "option of scenes"),
        (
            {"network": {"name": "fastdepth", "backbone_weights": "/nowhere.pth", "backbone": "resnet18"}},
            "no such file",
        ),
    ],
)
def test_mistakes_in_a_recipe(tmp_path: Path, changes: dict, told: str):
    with pytest.raises(UserError, match=told):
        train(check_recipe(_recipe(**changes)), tmp_path / "run")


# --- teachers -----------------------------------------------------------------------------------------------------


class Plane(Predictor):
    """Sees 4 px everywhere, of which the right view has no 4 leftmost columns' match."""

    task, name = Task.STEREO, "plane"

    def _predict(self, left, right):
        return np.full(left.shape[:2], 4.0, np.float32)


def _pairs(folder: Path) -> None:
    scene = folder / "scene"
    scene.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    write_image(scene / "left.png", image)
    write_image(scene / "right.png", image)
    (scene / "meta.json").write_text('{"calib": {"focal": 100, "baseline": 0.2}}')


def test_a_teachers_disparity_becomes_depth_where_it_is_consistent(tmp_path: Path):
    _pairs(tmp_path / "pairs")
    place = teacher.teach(Plane(), f"folder:{tmp_path / 'pairs'}", tmp_path / "taught")
    sample = open_data(f"folder:{place}", "mono")[0]
    np.testing.assert_allclose(sample.depth[:, 4:], 100 * 0.2 / 4)
    assert not sample.valid[:, :4].any()
    assert sample.valid[:, 4:].all()
    assert sample.intrinsics == PinholeCamera(100, 100, 47.5, 31.5)
    assert json.loads((place / "scene" / "meta.json").read_text())["teacher"] == "plane"


def test_a_recipe_with_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _pairs(tmp_path / "pairs")
    monkeypatch.setattr("leadline.zoo.load", lambda name, *_: Plane())
    data = [{"source": f"folder:{tmp_path / 'pairs'}", "teacher": "plane"}]
    run = tmp_path / "run"
    train(check_recipe(_recipe(data=data)), run, stop_after=2)
    taught = run / "teacher" / "0" / "scene" / "depth.npz"
    written = taught.stat().st_mtime_ns
    train(check_recipe(_recipe(data=data)), run)
    assert taught.stat().st_mtime_ns == written  # the run goes on with what its teacher said
    assert "teacher: plane" in (run / "recipe.yaml").read_text()


def test_only_stereo_models_teach_and_nothing_half_taught_stays(tmp_path: Path):
    _pairs(tmp_path / "pairs")
    student = Plane()
    student.task = Task.MONO
    with pytest.raises(UserError, match="a stereo model is wanted"):
        teacher.teach(student, f"folder:{tmp_path / 'pairs'}", tmp_path / "taught")
    write_array(tmp_path / "pairs" / "scene" / "disparity.npz", disparity=np.full((64, 96), 4.0, np.float32))
    (tmp_path / "pairs" / "scene" / "meta.json").write_text("{}")
    with pytest.raises(UserError, match="no calibrated camera"):
        teacher.teach(Plane(), f"folder:{tmp_path / 'pairs'}", tmp_path / "taught")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs"]


# --- adversarial --------------------------------------------------------------------------------------------------


def test_an_adversary_of_depth_judges_its_logarithm_beside_the_image(tmp_path: Path):
    from leadline.training.adversarial import Adversary
    from leadline.training.recipe import Adversarial

    rooms = _rooms(2)
    adversary = Adversary(Adversarial(width=8, halvings=1, condition=True), Task.MONO)
    fake, real = adversary._pair(2 * rooms.depth, rooms)
    assert fake.shape[1] == 4
    torch.testing.assert_close(fake[:, :1] - real[:, :1], torch.full_like(rooms.depth, math.log(2)))
    torch.testing.assert_close(real[:, 1:], rooms.image)


def test_a_run_with_an_adversary(tmp_path: Path):
    adversarial = {"weight": 0.1, "width": 8, "halvings": 1, "start": 1, "balance": True}
    train(check_recipe(_recipe(adversarial=adversarial)), tmp_path)
    assert "abs_rel" in (tmp_path / "log.txt").read_text()
