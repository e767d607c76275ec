"""Every ablation is a recipe that can be trained, and differs from the one without any in one thing alone."""

import sys
from pathlib import Path

import leadline
from leadline.data.procedural import SceneConfig
from leadline.training.recipe import check_recipe


def test_each_ablation_changes_what_it_names(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "zoo")
    import ablations

    try:
        whole = ablations.recipe(ablations.EVERYTHING, 0)
        for name in [*ablations.SCENES, *ablations.PARTS]:
            recipe = ablations.recipe(name, 0)
            check_recipe(recipe)
            SceneConfig(**recipe["data"][0]["scenes"])
            leadline.create(**recipe["network"])
            changed = {key for key in whole if recipe[key] != whole[key]}
            expected = {"network"} if name in ablations.PARTS else {"data"}
            if "looks" in recipe["network"]:  # each look has a prediction of its own
                expected.add("losses")
            assert changed == (set() if name == ablations.EVERYTHING else expected), name
    finally:
        sys.modules.pop("ablations")
