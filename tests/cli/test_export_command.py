"""leadline export and benchmark at the terminal."""

import csv
import json
from importlib import import_module

import cv2
import pytest
from click.testing import CliRunner
from deploy.networks import noise_pair, small_plummet

import leadline
from leadline import Task
from leadline.cli.main import main

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(leadline.save(small_plummet(), tmp_path_factory.mktemp("weights") / "small.safetensors"))


@pytest.fixture(scope="module")
def artifact(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    result = run("export", checkpoint, "--to", "onnx", "--size", "64x96", "-o", folder, "--json")
    assert result.exit_code == 0, result.output
    (manifest,) = json.loads(result.stdout)
    assert manifest["verification"]["status"] == "verified"
    return str(folder / "onnx")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_an_artifact_is_a_model_of_predict_and_evaluate(artifact, tmp_path):
    for side, image in zip(("left", "right"), noise_pair(60, 90), strict=True):
        cv2.imwrite(str(tmp_path / f"{side}.png"), image)
    result = run("predict", tmp_path / "left.png", tmp_path / "right.png", "-m", artifact, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(tmp_path / "out" / "disparity.pfm"), cv2.IMREAD_UNCHANGED).shape == (60, 90)
    result = run("evaluate", artifact, "--data", "procedural:1,seed=3,size=64x96", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["models"][0]["samples"] == 1


def test_a_failed_verification_is_exit_code_1(checkpoint, tmp_path, monkeypatch):
    from leadline.deploy import Tolerance

    tolerances = import_module("leadline.deploy.verify").TOLERANCES
    monkeypatch.setitem(tolerances[Task.STEREO], "float32", Tolerance(mean=0.0))
    result = run("export", checkpoint, "--to", "onnx", "--size", "64x96", "-o", tmp_path)
    assert result.exit_code == 1
    assert "not verified" in result.stderr
    assert json.loads((tmp_path / "onnx" / "manifest.json").read_text())["verification"]["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sgbm", "--to", "onnx"], "only networks"),
        (["plummet-s", "--to", "onyx"], "did you mean 'onnx'"),
        (["plummet-s", "--to", ","], "names no target"),
        (["plummet-s", "--to", "onnx", "--size", "384"], "HEIGHTxWIDTH"),
        (["plummet-s", "--to", "onnx", "--size", "100x100"], "multiples of 16"),
        (["plummet-s", "--to", "onnx", "--size", "96x96", "--dynamic"], "exclude each other"),
        (["mobilestereonet-2d", "--to", "onnx"], "no weights are shipped"),
    ],
)
def test_calls_that_cannot_work_are_one_line(tmp_path, arguments, message):
    result = run("export", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2  # "converting ..." and the error


def test_benchmark_puts_models_and_artifacts_side_by_side(artifact, checkpoint, tmp_path):
    result = run(
        "benchmark", artifact, checkpoint, "sgbm", "--untrained", "plummet-s",
        "--data", "procedural:1,seed=3,size=64x96",
        "--size", "64x96", "--rounds", 2, "--warmup", 0, "--csv", tmp_path / "t.csv", "--picture", tmp_path / "p.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [artifact, checkpoint, "sgbm", "plummet-s (untrained)"]
    assert all(float(row["quartile1_ms"]) <= float(row["median_ms"]) <= float(row["quartile3_ms"]) for row in rows)
    assert float(rows[0]["epe_px"]) == pytest.approx(float(rows[1]["epe_px"]), abs=1e-3)
    assert rows[3]["epe_px"] == ""
    assert all(float(row["peak_mb"]) > 0 for row in rows)
    assert float(rows[1]["gmac"]) > 0
    assert cv2.imread(str(tmp_path / "p.png")).shape[1] > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "name at least one"), (["sgbm", "sgbm"], "named twice"), (["sbgm"], "did you mean 'sgbm'")],
)
def test_benchmarks_that_cannot_run(arguments, message):
    result = run("benchmark", *arguments, "--size", "64x96")
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_is_made_of_several_predictions_is_not_exported(tmp_path):
    result = CliRunner().invoke(main, ["export", "plummet-s:careful", "--to", "onnx", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "behind the exported model's name" in result.stderr
    assert not (tmp_path / "out").exists()
