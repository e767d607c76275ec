"""`leadline.compress.distill` and its command."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

import leadline
from leadline.checkpoint import read_about, save
from leadline.cli.main import main
from leadline.compress.distillation import make_recipe
from leadline.errors import UserError
from leadline.models import create
from leadline.training.recipe import load_recipe

SMALL = {
    "max_disparity": 32, "stem": 4, "quarter": 8, "eighth": 8, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
    "hidden_sixteenth": 8,
    "hidden_thirtysecond": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that takes seconds."""
    content = {
        "name": "small",
        "network": {"name": "plummet-s", **SMALL},
        "data": [{"source": "procedural", "scenes": {"max_disparity": 28}}],
        "crop": [32, 64],
        "batch": 2,
        "steps": 3,
        "seed": 3,
        "workers": 0,
        "threads": 1,
        "accelerator": "cpu",
        "log": {"every": 5, "images_every": 0},
    }
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    wide = create("plummet-s", **{**SMALL, "max_disparity": 64, "stem": 6})  # another range as well
    return save(wide, tmp_path_factory.mktemp("teacher") / "wide.safetensors")


def run(*arguments: object):
    return CliRunner().invoke(main, ["compress", "distill", *map(str, arguments)])


def test_the_command_trains_and_says_where(recipe: Path, teacher: Path, tmp_path: Path) -> None:
    given = ["--teacher", teacher, "--student", "plummet-s", "--recipe", recipe, "-o", tmp_path / "run"]
    result = run(*given, "--on", "target,distribution:0.5,feature", "--stop-after", 1)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, str(tmp_path / "run" / "latest.safetensors"))
    result = run(*given, "--on", "target,distribution:0.5,feature")
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    told = read_about(path)["provenance"]
    assert told["steps"] == 3
    assert told["distilled"]["teachers"][0]["name"] == str(teacher)
    weights = {term["name"]: term["weight"] for term in told["recipe"]["distill"]["losses"]}
    assert weights == {"target": 1.0, "distribution": 0.5, "hint": 1.0}
    prediction = leadline.load(path).predict(*np.zeros((2, 40, 70, 3), np.uint8))
    assert prediction.shape == (40, 70)


def test_python_takes_networks(recipe: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    teacher, student = create("plummet-s", **SMALL), create("plummet-s", **SMALL)
    before = [parameter.clone() for parameter in student.parameters()]
    from leadline.compress import distill

    trained = distill(teacher, student, ["target"], recipe=recipe, steps=1, folder=tmp_path / "run")
    assert trained.provenance["recipe"]["init"] == str(tmp_path / "run" / "student.safetensors")
    assert not trained.training
    assert any(not torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))
    again = distill(teacher, student, ["target"], recipe=recipe, steps=1, folder=tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), trained.parameters(), strict=True))
    with pytest.raises(UserError, match="give distill a folder"):
        distill(teacher, student, recipe=recipe)


def test_the_recipe_that_a_call_stands_for(recipe: Path, teacher: Path) -> None:
    made = make_recipe([str(teacher), "sgbm-padded"], "plummet-s", ["target:2"], "folder:/data/pairs", steps=7)
    assert made.distill is not None
    assert made.distill.teacher == [str(teacher), "sgbm-padded"]
    assert [source.source for source in made.data] == ["folder:/data/pairs"]
    assert made.steps == 7
    assert made.network.options == {}
    kept = make_recipe(str(teacher), "plummet-s", recipe=recipe)
    assert kept.network.options["stem"] == 4  # the recipe's
    assert kept.init is None
    from_weights = make_recipe("plummet-s", str(teacher), recipe=recipe)
    assert from_weights.network.options["max_disparity"] == 64
    assert from_weights.init == str(teacher)
    assert make_recipe("sgbm", "plummet-s", init="plummet-s").init == "plummet-s"
    changed = make_recipe("plummet-s", "plummet-s", changes=["distill.teacher_error=3", "network.stem=8"])
    assert changed.distill is not None
    assert changed.distill.teacher_error == 3
    assert changed.network.options == {"stem": 8}


def test_options_of_a_term_come_from_the_recipe(recipe: Path, teacher: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["distill"] = {
        "teacher": "sgbm",
        "teacher_error": 2.0,
        "losses": [{"name": "distribution", "temperature": 4.0}],
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(content))
    made = make_recipe(str(teacher), "plummet-s", ["distribution:0.5", "target"], recipe=path)
    assert made.distill is not None
    assert made.distill.teacher == str(teacher)
    assert made.distill.teacher_error == 2.0
    assert made.distill.losses[0].options == {"temperature": 4.0}
    assert made.distill.losses[0].weight == 0.5


def test_the_printed_recipe_is_the_same(teacher: Path, tmp_path: Path) -> None:
    result = run("--teacher", teacher, "--student", "plummet-s", "--on", "feature", "--steps", 9, "--print-recipe")
    assert result.exit_code == 0
    path = tmp_path / "printed.yaml"
    path.write_text(result.stdout)
    assert load_recipe(path) == make_recipe(str(teacher), "plummet-s", "feature", steps=9)


def test_an_exported_model_teaches_what_its_network_would(teacher: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from leadline.checkpoint import load_network
    from leadline.training.distill.teachers import load_teacher

    network = load_network(teacher)
    exported = leadline.export(network, "onnx", tmp_path, size=(64, 96), verify_on=None).folder
    student = create("plummet-s", **SMALL)
    artifact = load_teacher(str(exported), student, left_right=0.0)
    images = torch.rand(2, 2, 3, 64, 96).unbind()
    as_network = load_teacher(str(teacher), student)(images, False, ()).prediction
    torch.testing.assert_close(artifact(images, False, ()).prediction, as_network, atol=0.05, rtol=0)
    assert "sha256" in artifact.about
    checked = load_teacher(str(exported), student)(images, False, ())
    assert 0 <= checked.trust.mean() < 1  # an untrained network's views do not agree


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "nobody", "--student", "plummet-s"], "unknown model 'nobody'"),
        (["--teacher", "plummet-s", "--student", "plumet-s"], "did you mean 'plummet-s'"),
        (["--teacher", "plummet-s", "--student", "plummet-s", "--on", "targets"], "did you mean 'target'"),
        (["--teacher", "plummet-s", "--student", "plummet-s", "--on", "target:much"], "NAME:WEIGHT"),
        (["--teacher", "plummet-s", "--student", "plummet-s", "--on", "target:-1"], "greater than or equal to 0"),
        (["--teacher", "sgbm", "--student", "plummet-s", "--on", "feature"], "sgbm is no network"),
        (["--teacher", "plummet-s", "--student", "plummet-s", "--data", "folder:/nowhere"], "/nowhere"),
        (["--teacher", "plummet-s", "--student", "plummet-s", "--set", "distill.spred=1"], "'distill.spread'"),
        (["--student", "plummet-s"], "missing option '--teacher'"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run(*arguments, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_as_the_student_takes_no_init(teacher: Path) -> None:
    with pytest.raises(UserError, match="is a checkpoint itself"):
        make_recipe("plummet-s", str(teacher), init="plummet-s")


def test_a_teacher_cut_short_is_told(teacher: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(teacher.read_bytes()[:5000])
    result = run("--teacher", short, "--student", "plummet-s", "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "copy it again" in result.stderr
    assert not (tmp_path / "run").exists()
