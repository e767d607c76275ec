"""docs/training.md names every key, loss, optimizer and schedule with the default that it has."""

import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from leadline.training.losses import registry
from leadline.training.optimizers import NAMES as OPTIMIZERS
from leadline.training.recipe import (
    Adversarial,
    Augment,
    Checkpoint,
    Distill,
    Imitation,
    Log,
    Loss,
    Phase,
    Recipe,
    Schedule,
    Source,
    Sparsify,
    Validate,
)
from leadline.training.schedules import NAMES as SCHEDULES
from leadline.training.schedules import SHAPES

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
# What stands for a default that is a block or depends on other keys.
TOLD_OTHERWISE = {
    "render_size": "the crop",
    "steps": "sum of the phases",
    "threads": "torch's",
    "data": "procedural",
    "augment": "no change",
    "losses": "smooth_l1",
    "optimizer": "adamw",
    "schedule": "one_cycle",
    "checkpoint": "every 500",
    "log": "every 20",
}


def section(title: str) -> str:
    return re.split(rf"^#+ {title}$", PAGE, flags=re.MULTILINE)[1].split("\n#")[0]


def rows(title: str) -> dict[str, list[str]]:
    """The cells of a section's table by the name in the first one."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


BLOCKS = [
    Recipe, Source, Phase, Augment, Loss, Distill, Imitation, Adversarial, Schedule, Sparsify, Validate, Checkpoint,
    Log,
]  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_keys_and_defaults(block: type[BaseModel]) -> None:
    table = rows(block.__name__)
    fields = {field.alias or name: field for name, field in block.model_fields.items()}
    assert list(table) == list(fields)
    for key, field in fields.items():
        told = table[key][1].strip("`")
        if field.default is PydanticUndefined:
            assert told == "needed", key
        elif block is Recipe and key in TOLD_OTHERWISE:
            assert told == TOLD_OTHERWISE[key]
        elif block is Distill and key == "losses":
            assert [imitation.name for imitation in field.default] == [told]
        elif block is Phase:
            assert told == "the recipe's"
        elif field.default in (None, [], {}):
            assert told == "none", key
        elif isinstance(field.default, tuple):
            assert told == str(list(field.default)), key
        else:
            assert told.lower() == str(field.default).lower(), key


def test_what_the_told_defaults_stand_for() -> None:
    recipe = Recipe(name="a", network={"name": "b"}, crop=(8, 8), batch=1)  # type: ignore[arg-type]
    assert recipe.augment == Augment()
    assert [source.source for source in recipe.data] == ["procedural"]
    assert [loss.name for loss in recipe.losses] == ["smooth_l1"]
    assert (recipe.optimizer.name, recipe.schedule.name) == ("adamw", "one_cycle")
    assert (recipe.checkpoint.every, recipe.log.every) == (500, 20)


def options_of(function: object, skip: int) -> dict[str, object]:
    parameters = list(inspect.signature(function).parameters.values())[skip:]  # type: ignore[arg-type]
    return {p.name: "needed" if p.default is inspect.Parameter.empty else p.default for p in parameters}


def told_options(cell: str) -> dict[str, str]:
    return dict(re.findall(r"`(\w+)` ([\w.]+)", cell))


def test_losses() -> None:
    table = rows("Losses")
    assert sorted(table) == registry.names()
    for name, (options, _) in table.items():
        entry = registry._LOSSES[name]
        known = options_of(entry.function, registry._GIVEN[entry.kind])
        assert told_options(options) == {key: str(value) for key, value in known.items()}, name


def test_schedules() -> None:
    table = rows("Schedules")
    assert sorted(table) == SCHEDULES
    for name, shape in SHAPES.items():
        expected = {key: str(value) for key, value in options_of(shape, 1).items()}
        assert told_options(table[name][0]) == {**expected, **({"final": "0.0001"} if name == "one_cycle" else {})}


def test_optimizers() -> None:
    assert set(OPTIMIZERS) <= set(re.findall(r"`(\w+)`", section("Optimizers")))


def test_examples_are_valid_recipes() -> None:
    import yaml

    from leadline.training.recipe import _Loader, check_recipe

    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        check_recipe(yaml.load(block, _Loader))


def test_what_is_imitated() -> None:
    from leadline.training.distill import names
    from leadline.training.distill.registry import _GIVEN, _TERMS

    page = (Path(__file__).parents[2] / "docs" / "compression" / "distillation.md").read_text(encoding="utf-8")
    part = page.split("## What can be imitated")[1].split("\n## ")[0]
    lines = [re.split(r"(?<!\\)\|", line) for line in part.splitlines() if line.startswith("| `")]
    table = {line[1].strip().strip("`"): line[2] for line in lines}
    assert sorted(table) == names()
    for name, cell in table.items():
        known = options_of(_TERMS[name].function, _GIVEN[_TERMS[name].sees])
        assert told_options(cell) == {key: str(value) for key, value in known.items()}, name
