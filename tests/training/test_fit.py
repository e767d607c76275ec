"""What a run leaves behind, what it does with the average, and how it fails."""

import errno
import math
from pathlib import Path

import lightning
import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import leadline
from leadline.checkpoint import load_network, read_about
from leadline.cli.train import command
from leadline.data.formats.images import write_image
from leadline.errors import UserError
from leadline.training.fit import make_network, pairs_seen, train
from leadline.training.module import Training, freeze
from leadline.training.recipe import check_recipe
from leadline.zoo import find_checkpoint

VALIDATE = {"every": 6, "data": "procedural:2,seed=9,size=33x50"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(check_recipe(tiny.recipe(validate=VALIDATE)), tmp_path_factory.mktemp("run"))


def test_the_checkpoint_says_where_it_comes_from(run: Path) -> None:
    about = read_about(run)["provenance"]
    assert about["seed"] == 3
    assert about["steps"] == 12
    assert about["pairs"] == 24
    assert about["recipe"]["optimizer"] == {"name": "adamw", "lr": 0.01}
    assert {"leadline", "torch", "time", "machine", "data"} <= set(about)
    network = load_network(run)
    disparity = network(torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48))
    assert disparity.shape == (1, 1, 32, 48)


def test_tensorboard_shows_it(run: Path) -> None:
    events = EventAccumulator(str(run.parent), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/smooth_l1", "train/gradient_norm", "train/learning_rate"} <= set(tags["scalars"])
    assert {"validate/epe", "validate/d1"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("validate/epe")] == [6, 12]
    assert tags["images"] == ["train/left, prediction, truth, error"]
    assert any(tag.startswith("weights/") for tag in tags["histograms"])
    assert "stereo/prediction" in tags["histograms"]


def test_the_log_is_kept(run: Path) -> None:
    lines = (run.parent / "log.txt").read_text().splitlines()
    assert any(line.startswith("step 12/12  loss") for line in lines)
    assert any("averaged weights on procedural:2,seed=9,size=33x50:  epe" in line for line in lines)


def test_no_temporary_files_are_left(run: Path) -> None:
    left = {path.name for path in run.parent.iterdir() if not path.name.startswith("events.")}
    assert left == {"recipe.yaml", "log.txt", "last.ckpt", "latest.safetensors", "tiny.safetensors"}


def test_average_by_hand() -> None:
    recipe = check_recipe(tiny.recipe(ema=0.9))
    module = Training(tiny.Tiny(tiny.TinyConfig()), recipe)
    assert module.average is not None
    old = {key: value.clone() for key, value in module.average.state_dict().items()}
    with torch.no_grad():
        for value in module.network.state_dict().values():
            value.add_(1)
    module.update_average()
    decay = 1 / 10  # at step 0: (1 + 0) / (10 + 0)
    for key, value in module.average.state_dict().items():
        expected = old[key] + 1 if "num_batches" in key else old[key] + (1 - decay)
        torch.testing.assert_close(value, expected)


def test_without_an_average_the_network_itself_is_saved(tmp_path: Path) -> None:
    path = train(check_recipe(tiny.recipe(ema=0, steps=2)), tmp_path)
    saved = load_file(path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(saved[key], state[f"network.{key}"]) for key in saved)
    assert not any(key.startswith("average.") for key in state)


def test_init_starts_from_the_weights_of_a_checkpoint(run: Path, tmp_path: Path) -> None:
    still = {"name": "sgd", "lr": 0.0}
    path = train(check_recipe(tiny.recipe(init=str(run), optimizer=still, steps=1, ema=0)), tmp_path)
    before, after = load_file(run), load_file(path)
    assert all(torch.equal(before[key], after[key]) for key in before if "running" not in key and "num_" not in key)
    with pytest.raises(UserError, match="does not fit the network"):
        train(check_recipe(tiny.recipe(init=str(run), network={"name": "tiny", "width": 6})), tmp_path / "other")


def test_what_is_frozen_stays_as_it_is(run: Path, tmp_path: Path) -> None:
    changes = {"init": str(run), "freeze": ["feat*"], "steps": 4, "ema": 0}
    trained, before = load_network(train(tiny.recipe(**changes), tmp_path)), load_network(run)
    for name, tensor in before.state_dict().items():
        same = torch.equal(tensor, trained.state_dict()[name])
        assert same == name.startswith("features."), name  # BatchNorm's statistics, too


def test_a_parameter_of_the_networks_own_can_be_frozen() -> None:
    network = leadline.create("plummet-s")
    assert freeze(network, ["correlation_*", "encoder"]) == [network.encoder]
    assert not network.correlation_weight.requires_grad
    assert network.fine_weight.requires_grad


@pytest.mark.parametrize(("freeze", "told"), [("featurs", "did you mean 'features'"), ("*", "nothing to train")])
def test_freezing_what_is_not_there_or_everything_is_told(freeze: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        train(check_recipe(tiny.recipe(freeze=[freeze])), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    wild = tiny.recipe(
        optimizer={"name": "sgd", "lr": 1e25},
        schedule={"name": "multistep", "milestones": [1, 2], "gamma": 1.0},
        clip=0,
        ema=0,
        checkpoint={"every": 1},
        losses=[{"name": "l2"}],
    )
    with pytest.raises(UserError, match=r"step \d+: the loss or its gradient is not finite") as error:
        train(check_recipe(wild), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tiny.safetensors").exists()
    if (tmp_path / "last.ckpt").exists():
        assert str(tmp_path / "last.ckpt") in str(error.value)
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for key, value in state.items() if key.endswith("weight"))


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": [{"name": "disparity_cross_entropy"}, {"name": "l1", "over": "last"}]},
        {"losses": [{"name": n} for n in ("photometric", "census", "smoothness", "left_right")]},
        {"optimizer": {"name": "muon", "lr": 0.01}},
        {"optimizer": {"name": "lbfgs", "lr": 0.1, "max_iter": 3}},
        {"precision": "bf16"},
        {"network": {"name": "tiny", "width": 6, "dropout": 0.0}},
    ],
    ids=["cross-entropy", "self-supervised", "muon", "lbfgs", "bf16", "config"],
)
def test_other_recipes_train_and_change_the_weights(changes: dict, tmp_path: Path) -> None:
    recipe = check_recipe(tiny.recipe(**{"steps": 3, "ema": 0, **changes}))
    weights = load_file(train(recipe, tmp_path))
    torch.manual_seed(recipe.seed)
    fresh = tiny.Tiny(tiny.TinyConfig(**recipe.network.options)).state_dict()
    for key, value in weights.items():
        assert value.isfinite().all()
        if key.endswith("weight"):
            assert not torch.equal(value, fresh[key]), key


def test_training_lowers_the_error(tmp_path: Path) -> None:
    changes = {"steps": 60, "ema": 0.5, "batch": 4, "validate": {"every": 30, "data": "procedural:4,seed=9,size=64x96"}}
    recipe = check_recipe(tiny.recipe(**changes, network={"name": "tiny", "dropout": 0.0}))
    train(recipe, tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"name": "tinny"}}, "did you mean 'tiny'"),
        ({"network": {"name": "tiny", "widht": 3}}, "did you mean 'width'"),
        ({"crop": [30, 48]}, "multiples of 4"),
        ({"optimizer": {"name": "adamm"}}, "did you mean"),
        ({"schedule": {"name": "cosin"}}, "did you mean 'cosine'"),
        ({"validate": {"data": "procedural:some"}}, "procedural:COUNT"),
        ({"validate": {"data": "procedural:4,seed=3"}}, "seed 3 is the one trained on"),
        ({"data": [{"source": "procedural", "scenes": {"deep": 1}}]}, "unknown option of scenes"),
        ({"precision": "16"}, "needs a CUDA GPU"),
        ({"sync_batchnorm": True}, "between GPUs alone"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(changes: dict, message: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() and ("precision" in changes or "sync_batchnorm" in changes):
        pytest.skip("there is a CUDA GPU")
    with pytest.raises(UserError, match=message) as error:
        train(check_recipe(tiny.recipe(**changes)), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_pairs_seen_over_phases() -> None:
    phases = [{"steps": 5, "batch": 4}, {"steps": 7}]
    recipe = check_recipe(tiny.recipe(steps=None, phases=phases, accumulate=3))
    assert pairs_seen(recipe, 4) == 4 * 4 * 3
    assert pairs_seen(recipe, 12, ranks=2) == (5 * 4 + 7 * 2) * 3 * 2


def test_the_command_line(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(tiny.recipe(steps=2)))
    result = CliRunner().invoke(command, [str(path), "-o", str(tmp_path / "run")], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "run" / "tiny.safetensors")
    assert math.isfinite(sum(float(v.float().sum()) for v in load_file(result.stdout.strip()).values()))


def test_data_without_truth_is_refused_by_losses_that_need_it(tmp_path: Path) -> None:
    for name in ("left", "right"):
        write_image(tmp_path / "own" / f"{name}.png", np.full((40, 56, 3), 99, np.uint8))
    data = [{"source": f"folder:{tmp_path / 'own'}"}]
    with pytest.raises(
        UserError, match="its first sample has no truth for stereo, and every loss of the recipe is on the truth"
    ):
        train(check_recipe(tiny.recipe(data=data)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(check_recipe(tiny.recipe(data=data, losses=[{"name": "photometric"}], steps=1)), tmp_path / "run")


def test_init_takes_the_name_of_shipped_weights() -> None:
    recipe = check_recipe(tiny.recipe(network={"name": "plummet-s"}, init="plummet-s", crop="64x128", render_size=None))
    network, shipped = make_network(recipe), load_network(find_checkpoint("plummet-s"))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), shipped.parameters(), strict=True))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = lightning.Trainer.save_checkpoint

    def fails_later(self: lightning.Trainer, path: Path, weights_only: bool) -> None:
        if self.global_step > 5:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, weights_only)

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", fails_later)
    with pytest.raises(UserError, match="the disk is full: make room; the last checkpoint is kept"):
        train(check_recipe(tiny.recipe()), tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 5
    assert not list(tmp_path.glob(".last.ckpt*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": [{"name": "huber", "delta": -1}]}, "loss huber: delta: input should be greater than 0, got -1"),
        ({"losses": [{"name": "census", "window": 4}]}, "loss census: window: should be odd, got 4"),
        (
            {"losses": [{"name": "charbonnier", "alpha": "x"}]},
            "loss charbonnier: alpha: input should be a valid number",
        ),
        ({"losses": [{"name": "l1", "scale_weights": [0, 0]}]}, "scale_weights are all 0"),
        ({"schedule": {"name": "step", "every": 0}}, "schedule step: every: input should be greater than 0"),
        ({"schedule": {"name": "cosine", "final": "x"}}, "schedule cosine: final: input should be a valid number"),
        ({"schedule": {"name": "multistep", "milestones": 3}}, "milestones: input should be a valid list, got 3"),
        ({"schedule": {"name": "plateau", "patience": "x"}, "validate": VALIDATE}, "plateau: patience is a number"),
        ({"crop": [30, 48]}, "crop 30x48: tiny takes multiples of 4: take 32x48"),
    ],
)
def test_options_are_checked(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        train(check_recipe(tiny.recipe(**changes)), tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()
