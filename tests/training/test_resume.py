"""A run that is killed and taken up again ends with the weights of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from safetensors.torch import load_file

from leadline.errors import UserError
from leadline.training.callbacks import Finite
from leadline.training.fit import train
from leadline.training.recipe import check_recipe, load_recipe

COMMAND = "import tiny; from leadline.cli.train import command; command()"


def run(folder: Path, **changes: object) -> Path:
    return train(check_recipe(tiny.recipe(**changes)), folder)


def same(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("straight"))


def test_killed_and_resumed_to_the_same_weights(straight: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe(workers=1)))
    arguments = [sys.executable, "-c", COMMAND, str(recipe), "-o", str(tmp_path / "run"), "--set", "checkpoint.every=1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
    last = tmp_path / "run" / "last.ckpt"
    while not last.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = torch.load(last, weights_only=True)["global_step"]
    assert 1 <= step < 12  # it was caught under way
    assert same(straight, train(load_recipe(recipe), tmp_path / "run"))


@pytest.mark.parametrize(
    "changes",
    [{"accumulate": 3}, {"phases": [{"steps": 5}, {"steps": 7, "crop": [24, 40], "batch": 3}]}],
    ids=["accumulate", "phases"],
)
def test_stopped_in_any_place(changes: dict, tmp_path: Path) -> None:
    changes = {"steps": None, **changes} if "phases" in changes else changes
    recipe = check_recipe(tiny.recipe(**changes))
    for steps in (4, 3):
        assert train(recipe, tmp_path / "halting", stop_after=steps).name == "latest.safetensors"
    assert same(train(recipe, tmp_path / "halting"), train(recipe, tmp_path / "straight"))


def test_plateau_is_resumed(tmp_path: Path) -> None:
    recipe = check_recipe(
        tiny.recipe(
            schedule={"name": "plateau", "patience": 0, "threshold": 10.0, "factor": 0.5},
            validate={"every": 2, "data": "procedural:1,seed=8,size=32x48"},
        )
    )
    train(recipe, tmp_path / "halting", stop_after=5)
    assert same(train(recipe, tmp_path / "halting"), train(recipe, tmp_path / "straight"))


def test_the_number_of_workers_does_not_matter(straight: Path, tmp_path: Path) -> None:
    assert same(straight, run(tmp_path, workers=2))


def test_the_seed_matters(straight: Path, tmp_path: Path) -> None:
    assert not same(straight, run(tmp_path, seed=4))


def test_a_finished_run_is_left_alone(straight: Path) -> None:
    before = straight.stat().st_mtime_ns
    assert run(straight.parent) == straight
    assert straight.stat().st_mtime_ns == before


def test_another_recipe_is_refused(straight: Path) -> None:
    with pytest.raises(UserError, match=r"optimizer.lr: 0.01 -> 0.02"):
        run(straight.parent, optimizer={"name": "adamw", "lr": 0.02})


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no last\.ckpt to resume from"):
        train(check_recipe(tiny.recipe()), tmp_path, resume=True)


def test_broken_checkpoint_is_told(straight: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text((straight.parent / "recipe.yaml").read_text())
    (tmp_path / "last.ckpt").write_bytes((straight.parent / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_sitting_with_a_checkpoint(
    number: signal.Signals, ends: type[BaseException], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Finite.after_step

    def signalled(self: Finite, trainer: Any, module: Any, step: int) -> None:
        watch(self, trainer, module, step)
        if step == 7:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Finite, "after_step", signalled)
        with pytest.raises(ends) as stopped:
            run(tmp_path)
    if number == signal.SIGTERM:
        assert stopped.value.code == 143  # type: ignore[attr-defined]
    assert signal.getsignal(number) == before
    assert "stopped at step 7, which is kept" in (tmp_path / "log.txt").read_text()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 7
    assert same(straight, run(tmp_path))


def test_what_a_killed_write_left_is_taken_away(straight: Path, tmp_path: Path) -> None:
    run(tmp_path, checkpoint={"every": 5})
    (tmp_path / "tiny.safetensors").unlink()
    (tmp_path / ".last.ckpt.123").write_bytes(b"half")
    run(tmp_path)
    assert not list(tmp_path.glob(".last.ckpt*"))


@pytest.mark.slow
def test_two_processes_on_a_cpu_are_resumed(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe(devices=2, steps=6)))
    (tmp_path / "go.py").write_text(COMMAND)  # the second process is started with the same file
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    def go(folder: str, *more: str) -> Path:
        arguments = [sys.executable, str(tmp_path / "go.py"), str(recipe), "-o", str(tmp_path / folder), *more]
        subprocess.run(arguments, env=environment, check=True, capture_output=True)
        return tmp_path / folder / "tiny.safetensors"

    go("halting", "--stop-after", "2")
    assert same(go("halting"), go("straight"))
