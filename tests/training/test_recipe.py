"""Recipes: what is accepted, and how mistakes are told."""

from pathlib import Path

import pytest
import tiny
import yaml

from leadline.errors import UserError
from leadline.training.recipe import check_recipe, difference, dump_recipe, load_recipe


def written(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


def test_round_trip(tmp_path: Path) -> None:
    recipe = check_recipe(tiny.recipe())
    assert load_recipe(written(tmp_path, yaml.safe_dump(dump_recipe(recipe)))) == recipe


def test_numbers_and_sizes_as_people_write_them(tmp_path: Path) -> None:
    text = "{name: a, network: {name: tiny}, crop: 32x48, batch: 2, steps: 9, optimizer: {name: adamw, lr: 1e-3}}"
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.crop == (32, 48)
    assert recipe.optimizer.options == {"lr": 0.001}
    assert load_recipe(written(tmp_path, text[:-1] + ", precision: 16}")).precision == "16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimzer": {"name": "sgd"}}, "recipe: unknown key 'optimzer': did you mean 'optimizer'?"),
        ({"augment": {"brightnes": 1}}, "unknown key 'augment.brightnes': did you mean 'augment.brightness'?"),
        ({"validate": {"evry": 1}}, "unknown key 'validate.evry': did you mean 'validate.every'?"),
        ({"data": [{"source": "procedural", "wieght": 2}]}, "'data.0.wieght': did you mean 'data.0.weight'?"),
        ({"batch": 0}, "batch: input should be greater than 0, got 0"),
        ({"batch": "many"}, "batch: input should be a valid integer"),
        ({"crop": None}, "crop: "),
        ({"steps": None}, "'steps' is missing"),
        ({"network": {}}, "'network.name' is missing"),
        ({"render_size": [8, 8]}, "render_size 8x8 is smaller than the crop 32x48"),
        ({"phases": [{"steps": 5}]}, "the phases take 5 steps, 'steps' says 12"),
        ({"augment": {"scale": [0, 1]}}, "augment.scale is"),
        ({"schedule": {"name": "plateau"}}, "add a 'validate' block"),
        ({"name": "a/b"}, "name: string should match"),
        ({"name": ".."}, "name: string should match"),
        ({"crop": 64}, "crop: a size is HEIGHTxWIDTH, for example 160x320, got 64"),
        ({"devices": 0}, "devices: input should be greater than 0"),
        ({"augment": {"scale": 2}}, "augment.scale: a list of two numbers is wanted"),
        ({"augment": {"noise": float("inf")}}, "augment.noise: input should be a finite number"),
        ({"data": [{"source": "procedural", "weight": float("inf")}]}, "data.0.weight: input should be a finite"),
        ({"steps": True}, "steps: input should be a number, got True"),
        ({"seed": 2**64}, "seed: input should be less than"),
        ({"threads": 100_000}, "threads: input should be less than"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_recipe(tiny.recipe(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the recipe"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="line 2: not valid YAML"):
        load_recipe(written(tmp_path, "a: [1\nb: 2"))
    with pytest.raises(UserError, match="is a YAML mapping"):
        load_recipe(written(tmp_path, "- 1"))


def test_changes_from_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, yaml.safe_dump(tiny.recipe(losses=[{"name": "l1"}])))
    recipe = load_recipe(path, ["optimizer.lr=2e-4", "losses.0.weight=3", "ema=0", "validate.every=7"])
    assert recipe.optimizer.options["lr"] == 2e-4
    assert recipe.losses[0].weight == 3
    assert recipe.ema == 0
    assert recipe.validate_ is not None
    assert recipe.validate_.every == 7
    with pytest.raises(UserError, match="did you mean 'ema'"):
        load_recipe(path, ["emma=1"])
    with pytest.raises(UserError, match="KEY=VALUE"):
        load_recipe(path, ["ema"])
    with pytest.raises(UserError, match=r"no place 'losses\.4\.weight'"):
        load_recipe(path, ["losses.4.weight=1"])
    with pytest.raises(UserError, match=r"no place 'phases\.0\.steps'"):
        load_recipe(path, ["phases.0.steps=1"])


def test_difference_names_the_key_that_matters() -> None:
    old = dump_recipe(check_recipe(tiny.recipe()))
    assert difference(old, dump_recipe(check_recipe(tiny.recipe(workers=7, threads=3, log={"every": 9})))) is None
    assert difference(old, dump_recipe(check_recipe(tiny.recipe(crop=[16, 48])))) == "crop.0: 32 -> 16"
    assert difference(old, dump_recipe(check_recipe(tiny.recipe(losses=[{"name": "l1"}])))) == (
        "losses.0.name: smooth_l1 -> l1"
    )
