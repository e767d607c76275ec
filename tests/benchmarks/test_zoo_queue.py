"""The zoo's training queue: every job's recipe holds, and the first that can go on is chosen."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def queue():
    spec = importlib.util.spec_from_file_location("zoo_next", ROOT / "benchmarks" / "zoo" / "next.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo_next"] = module
    spec.loader.exec_module(module)
    return module


def test_every_job_of_the_queue_has_a_recipe_that_holds(queue, tmp_path):
    jobs = queue.read_queue(ROOT / "benchmarks" / "zoo" / "queue.yaml", tmp_path)
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names)
    for job in jobs:
        assert job.load().name == job.name
        assert set(job.after) <= set(names[: names.index(job.name)])


def test_the_first_that_can_go_on_is_chosen(queue, tmp_path):
    plan = tmp_path / "queue.yaml"
    recipe = "recipes/plummet-s.yaml"
    plan.write_text(
        f"- {{name: large, recipe: {recipe}, needs: gpu}}\n"
        f"- {{name: first, recipe: {recipe}}}\n"
        f'- {{name: second, recipe: {recipe}, after: [first], set: ["init={{first}}"]}}\n'
    )
    jobs = queue.read_queue(plan, tmp_path)
    assert queue.choose(jobs, has_gpu=True).name == "large"
    assert queue.choose(jobs, has_gpu=False).name == "first"
    weights = tmp_path / "first" / "first.safetensors"
    weights.parent.mkdir()
    weights.touch()
    assert queue.choose(jobs, has_gpu=False).name == "second"
    assert jobs[2].load().init == str(weights)
    done = tmp_path / "second" / "second.safetensors"
    done.parent.mkdir()
    done.touch()
    assert queue.choose(jobs, has_gpu=False) is None
