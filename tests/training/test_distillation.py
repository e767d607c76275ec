"""Training with a teacher: what is shared with it, what is kept of it, and how mistakes are told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from leadline.checkpoint import load_network, read_about, save
from leadline.data.batch import MonoBatch, StereoBatch
from leadline.data.formats.images import write_image
from leadline.data.procedural import SceneConfig, render_stereo
from leadline.errors import UserError
from leadline.models import Network, Task, create
from leadline.models.registry import register
from leadline.predict import Predictor
from leadline.training.distill import Distillation, Sees, make_distillation
from leadline.training.distill.layers import match_layers, probe, recording
from leadline.training.distill.teachers import NetworkTeacher, PredictorTeacher, load_teacher
from leadline.training.fit import make_network, train
from leadline.training.losses import Outputs
from leadline.training.module import Training, run_network
from leadline.training.recipe import check_recipe

EVERYTHING = ["target", "distribution", "volume", "hint", "attention", "similarity", "relational"]
CROP = (32, 48)


@dataclass(frozen=True)
class FlatConfig:
    channels: int = 3


class Flat(Network):
    """Not a stereo network."""

    task = Task.MONO

    def __init__(self, config: FlatConfig):
        super().__init__(config)
        self.convolution = nn.Conv2d(3, 1, 3, 1, 1)

    def forward_all(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b 1 h w"]]:
        return [self.convolution(image)]


class Blunt(tiny.Tiny):
    """Gives no scores, and takes multiples of 16."""

    size_multiple = 16
    forward_scores = property()  # type: ignore[assignment]

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 1 h w"]]:
        return tiny.Tiny.forward_scores(self, left, right)[0]


@register("flat")
def flat(**config: int) -> Flat:
    return Flat(FlatConfig(**config))


@register("blunt")
def blunt(**config: float) -> Blunt:
    return Blunt(tiny.TinyConfig(**config))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wider network, trained for a moment so that its BatchNorm has statistics."""
    recipe = tiny.recipe(steps=6, network={"name": "tiny", "width": 8}, seed=5)
    return train(check_recipe(recipe), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def batch() -> StereoBatch:
    return render_stereo(4, [0, 1, 2], CROP, SceneConfig(max_disparity=12))


def recipe(teacher: Path | str | list[str], *names: str, **options: object) -> dict:
    losses = [{"name": name} for name in names or EVERYTHING]
    given = teacher if isinstance(teacher, list) else str(teacher)
    return tiny.recipe(distill={"teacher": given, "losses": losses, **options})


def made(content: dict) -> tuple[Training, Distillation]:
    checked = check_recipe(content)
    network = make_network(checked)
    distillation = make_distillation(checked, network)
    assert distillation is not None
    return Training(network, checked, distillation), distillation


def values(student: Network, distillation: Distillation, batch: StereoBatch) -> dict[str, float]:
    """The shares of a pass of the student."""
    loss = Training(student, check_recipe(tiny.recipe())).loss
    with recording(student, distillation.student_layers) as layers:
        outputs = run_network(student, loss, batch, distillation.needs(Sees.SCORES))
    _, shares = distillation(outputs, layers, batch)
    return {name.removeprefix("distill_"): float(value) for name, value in shares.items()}


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(teacher: Path, batch: StereoBatch) -> None:
    student = load_network(teacher)
    content = {**recipe(teacher), "network": {"name": "tiny", "width": 8}}
    distillation = make_distillation(check_recipe(content), student)
    assert distillation is not None
    shares = values(student, distillation, batch)
    assert set(shares) == set(EVERYTHING)
    assert all(abs(value) < 1e-5 for value in shares.values()), shares
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    assert all(value > 1e-4 for value in values(student, distillation, batch).values())


def test_the_teacher_is_left_as_it_is(teacher: Path, batch: StereoBatch) -> None:
    module, distillation = made(recipe(teacher))
    (one,) = distillation.teachers
    assert isinstance(one, NetworkTeacher)
    before = {key: value.clone() for key, value in one.network.state_dict().items()}
    module.train()
    optimizer = torch.optim.SGD(module.fitted.parameters(), 0.1)
    for _ in range(2):
        outputs = module.network.forward_scores(batch.left, batch.right)  # type: ignore[operator]
        with recording(module.network, distillation.student_layers) as layers:
            outputs = run_network(module.network, module.loss, batch, True)
        total, _ = distillation(outputs, layers, batch)
        total.backward()
        optimizer.step()
    assert not one.network.training
    assert all(parameter.grad is None for parameter in one.network.parameters())
    assert all(torch.equal(before[key], value) for key, value in one.network.state_dict().items())
    assert not any("teacher" in key for key in module.state_dict())
    own = {id(parameter) for parameter in module.parameters()}
    assert not own & {id(parameter) for parameter in one.network.parameters()}
    assert all(parameter.grad is not None for parameter in distillation.adapters.parameters())


@pytest.fixture(scope="module")
def straight(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(check_recipe(recipe(teacher)), tmp_path_factory.mktemp("straight"))


def test_resuming_is_exact_with_adapters(straight: Path, teacher: Path, tmp_path: Path) -> None:
    halting = check_recipe(recipe(teacher))
    for steps in (4, 3):
        train(halting, tmp_path, stop_after=steps)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert any(key.startswith("distillation.adapters.") for key in state)
    resumed, expected = load_file(train(halting, tmp_path)), load_file(straight)
    assert resumed.keys() == expected.keys()
    assert not any("adapter" in key for key in resumed)
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def test_another_teacher_under_the_same_name_is_refused(teacher: Path, tmp_path: Path) -> None:
    place = tmp_path / "teacher.safetensors"
    place.write_bytes(teacher.read_bytes())
    content = check_recipe(recipe(place, "target"))
    train(content, tmp_path / "run", stop_after=2)
    save(create("tiny", width=6), place)
    with pytest.raises(UserError, match="the teacher is not the one that this run began with"):
        train(content, tmp_path / "run")


def test_the_checkpoint_names_its_teacher(straight: Path, teacher: Path) -> None:
    import hashlib

    told = read_about(straight)["provenance"]["distilled"]
    assert told["teachers"][0]["sha256"] == hashlib.sha256(teacher.read_bytes()).hexdigest()
    assert told["teachers"][0]["name"] == str(teacher)
    assert told["layers"]["hint"] == {"aggregate": "aggregate"}


def test_tensorboard_shows_both(straight: Path) -> None:
    events = EventAccumulator(str(straight.parent), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {f"train/distill_{name}" for name in EVERYTHING} | {"train/smooth_l1"} <= set(tags["scalars"])
    assert {"distill/teacher_epe", "distill/student_epe", "distill/trusted"} <= set(tags["scalars"])
    assert "distill/left, prediction, teacher, difference" in tags["images"]


def test_in_half_precision(teacher: Path, tmp_path: Path) -> None:
    content = recipe(teacher) | {"precision": "bf16", "steps": 2, "optimizer": {"name": "muon", "lr": 0.01}}
    weights = load_file(train(check_recipe(content), tmp_path))
    assert all(bool(value.isfinite().all()) for value in weights.values())


def test_distilling_brings_the_student_to_the_teacher(teacher: Path, tmp_path: Path) -> None:
    content = recipe(teacher, "target", "distribution") | {
        "losses": [],
        "steps": 40,
        "log": {"every": 10, "images_every": 0},
        "network": {"name": "tiny", "dropout": 0.0},
    }
    train(check_recipe(content), tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    events.Reload()
    apart = [event.value for event in events.Scalars("distill/student_from_teacher")]
    assert apart[-1] < 0.7 * apart[0]


def trust(distillation: Distillation, batch: StereoBatch) -> Tensor:
    return distillation.trust(distillation.teach((batch.left, batch.right)), batch)


def test_where_the_teacher_is_wrong_it_is_not_imitated(teacher: Path, batch: StereoBatch) -> None:
    _, distillation = made(recipe(teacher, "target", teacher_error=2.0))
    network = load_network(teacher)
    error = (network(batch.left, batch.right) - batch.disparity).abs()
    wrong = batch.valid & (error > 2)
    assert 0.02 < wrong.float().mean() < 0.98
    assert torch.equal(trust(distillation, batch) > 0, ~wrong)
    unknown = StereoBatch(
        batch.left, batch.right, batch.disparity, torch.zeros_like(batch.valid), torch.zeros_like(batch.valid)
    )
    assert bool((trust(distillation, unknown) == 1).all())


class Ramp(Predictor):
    """Says the same of every pair, and the same of its mirror image."""

    task = Task.STEREO
    name = "ramp"

    def _predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        assert left.dtype == np.uint16
        return np.broadcast_to(np.arange(left.shape[1], dtype=np.float32) / 2, left.shape[:2]).copy()


def test_beyond_the_range_of_the_student_nothing_is_imitated(batch: StereoBatch) -> None:
    checked = check_recipe(recipe("sgbm", "target"))
    student = make_network(checked)
    assert checked.distill is not None
    ramp = PredictorTeacher("ramp", Ramp(), {"name": "ramp"}, left_right=0.0)
    distillation = Distillation(checked.distill, student, [CROP], [ramp])
    found = trust(distillation, batch)
    assert torch.equal(found, (torch.arange(CROP[1]) / 2 < 16).float().expand_as(found))


def shifted(by: int, draw: int = 0) -> tuple[Tensor, Tensor]:
    """A pair whose right view shows everything `by` px further left."""
    wide = torch.rand(1, 3, 48, 160 + by, generator=torch.Generator().manual_seed(draw))
    wide = nn.functional.avg_pool2d(wide, 3, 1, 1)
    return wide[..., :160], wide[..., by:]


def test_sgbm_teaches_where_both_of_its_views_agree() -> None:
    student = create("tiny", max_disparity=32)
    sgbm = load_teacher("sgbm-padded", student)
    taught = sgbm(shifted(6), False, ())
    trusted = taught.trust > 0
    assert 0.8 < trusted.float().mean() < 1
    assert not trusted[..., :4].any()  # the right view does not show them
    error = (taught.prediction - 6).abs()[trusted]
    assert error.mean() < 0.1
    everywhere = load_teacher("sgbm-padded", student, left_right=0.0)(shifted(6), False, ())
    assert everywhere.trust.mean() >= taught.trust.mean()
    assert sgbm.about["num_disparities"] == 32


def test_the_left_right_check_of_a_network(teacher: Path, batch: StereoBatch) -> None:
    student = create("tiny")
    free = load_teacher(str(teacher), student)
    strict = load_teacher(str(teacher), student, left_right=0.5)
    images = (batch.left, batch.right)
    assert bool((free(images, False, ()).trust == 1).all())
    found = strict(images, False, ())
    network = load_network(teacher)
    left = network(*images)
    right = network(batch.right.flip(3), batch.left.flip(3)).flip(3)
    from leadline.geometry.consistency import consistent

    for i in range(len(batch)):
        with torch.no_grad():
            expected = consistent(left[i, 0].detach().numpy(), right[i, 0].detach().numpy(), 0.5)
        assert (expected != (found.trust[i, 0] > 0).numpy()).mean() < 0.01  # those within rounding of the threshold


def test_pairs_without_truth_teach(teacher: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("left", "right"):
        write_image(tmp_path / "own" / f"{name}.png", noise.integers(0, 255, (40, 56, 3), dtype=np.uint8))
    content = recipe(teacher, "target", teacher_error=3.0)
    content |= {"data": [{"source": f"folder:{tmp_path / 'own'}"}], "steps": 3, "ema": 0}
    weights = load_file(train(check_recipe(content), tmp_path / "run"))
    torch.manual_seed(3)
    fresh = tiny.Tiny(tiny.TinyConfig()).state_dict()
    assert not torch.equal(weights["aggregate.4.weight"], fresh["aggregate.4.weight"])


def test_several_teachers_and_their_spread(teacher: Path, batch: StereoBatch) -> None:
    _, distillation = made(recipe([str(teacher), "sgbm-padded"], "target", spread=1.0))
    lesson = distillation.teach((batch.left, batch.right))
    assert 0 < lesson.trust.mean() < 1
    assert torch.isfinite(lesson.prediction).all()


def test_layers_that_belong_together_are_found() -> None:
    wide, narrow = create("plummet-s"), create("plummet-s", stem=8, quarter=16, eighth=24)
    layers = [probe(network, lambda n: n(*torch.rand(2, 1, 3, 64, 96))) for network in (narrow, wide)]
    pairs = match_layers(*layers, (64, 96))
    assert pairs["encoder.stem"] == "encoder.stem"
    assert pairs["encoder.quarter"] == "encoder.quarter"
    assert [layers[0][name].size for name in pairs] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert layers[0]["encoder.quarter"].channels == 16
    assert layers[1]["encoder.quarter"].images == 2  # both views


def test_a_siamese_layer_is_joined() -> None:
    network, images = create("tiny").eval(), torch.rand(2, 1, 3, 32, 48)
    layers = probe(network, lambda n: n(*images))
    assert layers["features"].calls == 2
    with recording(network, [layers["features"]]) as record:
        network(*images)
        network(*images)  # a second pass is not looked at
    torch.testing.assert_close(record["features"], network.features(torch.cat(list(images))))
    assert not network.features._forward_hooks


def test_an_in_place_activation_does_not_change_what_is_recorded() -> None:
    network = create("plummet-s").eval()
    images = torch.rand(2, 1, 3, 64, 96)
    layers = probe(network, lambda n: n(*images))
    with recording(network, [layers["encoder.stem.1"]]) as record:
        network(*images)
    assert bool((record["encoder.stem.1"] < 0).any())  # a BatchNorm before its ReLU


def test_layers_by_name(teacher: Path, batch: StereoBatch) -> None:
    content = recipe(teacher, "target")
    content["distill"]["losses"] = [{"name": "hint", "layers": {"features": "features"}, "weight": 2.0}]
    _, distillation = made(content)
    (adapter,) = distillation.adapters.values()
    assert tuple(adapter.weight.shape) == (8, 4, 1, 1)
    assert values(make_network(check_recipe(content)).eval(), distillation, batch)["hint"] > 0


def test_a_mono_student(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, student = create("flat"), create("flat")
    save(teacher, tmp_path / "mono.safetensors")
    checked = check_recipe(recipe(tmp_path / "mono.safetensors", "target", "attention"))
    assert checked.distill is not None
    one = load_teacher(str(tmp_path / "mono.safetensors"), student)
    content = checked.distill.model_copy(update={"losses": checked.distill.losses[:1]})
    distillation = Distillation(content, student, [CROP], [one])
    image = torch.rand(2, 3, *CROP)
    none = torch.zeros(2, 1, *CROP)
    rest = torch.zeros(2, 4), torch.zeros(2, 0, 3, *CROP), torch.zeros(2, 0, 4, 4), torch.zeros(2, 0) > 0
    batch = MonoBatch(image, none, none > 0, *rest)
    with recording(student, []) as layers:
        total, _ = distillation(Outputs(student.forward_all(image)), layers, batch)
    logs = [network(image).clamp(min=1e-3).log() for network in (student, teacher)]
    error = (logs[0] - logs[1]).detach()
    expected = (error.square().mean((1, 2, 3)) - 0.85 * error.mean((1, 2, 3)).square()).sqrt().mean()
    torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-4)


def network_file(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        return str(save(create(name), folder / f"{name}.safetensors"))

    return write


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"teacher": "plumet-s"}, "unknown model 'plumet-s': did you mean 'plummet-s'"),
        ({"teacher": "/nowhere/a.safetensors"}, "no such checkpoint file"),
        ({"teacher": network_file("flat")}, "is for mono and the student for stereo"),
        ({"teacher": []}, "teacher is empty"),
        ({"teacher": network_file("blunt"), "losses": [{"name": "distribution"}], "crop": [32, 48]}, "gives no scores"),
        ({"teacher": "sgbm", "losses": [{"name": "volume"}]}, "gives no scores of disparity planes"),
        ({"teacher": "sgbm", "losses": [{"name": "hint"}]}, "is no network"),
        ({"losses": [{"name": "hints"}]}, "unknown thing to imitate 'hints': did you mean 'hint'"),
        (
            {"losses": [{"name": "hint", "layers": {"feature": "features"}}]},
            "student 'feature': did you mean 'features'",
        ),
        ({"losses": [{"name": "hint", "layers": {"features": "feat"}}]}, "layer of the teacher 'feat'"),
        ({"losses": [{"name": "hint", "layers": {"features": "aggregate"}}]}, "pair layers that see the left view"),
        ({"losses": [{"name": "hint", "layers": {}}]}, "layers is empty"),
        ({"losses": [{"name": "target", "layers": "auto"}]}, "looks at no layers"),
        ({"losses": [{"name": "target", "kind": "l3"}]}, "distill target: kind"),
        ({"losses": [{"name": "target"}, {"name": "target"}]}, "more than once"),
        ({"losses": []}, "at least 1 item"),
        ({"spread": 1.0}, "there is one"),
        ({"spread": -1.0}, "distill.spread: input should be greater than 0"),
        ({"teacher_eror": 3}, "did you mean 'distill.teacher_error'"),
        ({"combine": "max"}, "distill.combine"),
        ({"teacher": network_file("blunt"), "losses": [{"name": "attention"}]}, "takes multiples of 16"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(block: dict, message: str, teacher: Path, tmp_path: Path) -> None:
    given = block.get("teacher", str(teacher))
    block = {**block, "teacher": given(tmp_path) if callable(given) else given}
    content = tiny.recipe(crop=block.pop("crop", [36, 52]), distill=block)
    with pytest.raises(UserError, match=message) as error:
        train(check_recipe(content), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_without_losses_there_has_to_be_a_teacher() -> None:
    with pytest.raises(UserError, match="losses is empty"):
        check_recipe(tiny.recipe(losses=[]))
