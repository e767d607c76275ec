"""`leadline compress quantize` and `leadline inspect`, as called."""

import csv
import json

import pytest
from click.testing import CliRunner
from deploy.networks import small_plummet

import leadline
from leadline.cli.main import main
from leadline.surgeries.quantize import binary_layers, quantized_layers

DATA = "procedural:1,seed=4,size=64x96"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(leadline.save(small_plummet(), tmp_path_factory.mktemp("model") / "small.safetensors"))


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_quantise_write_scales_and_quantise_by_them(model, tmp_path):
    first, second, scales = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "scales.yaml"
    done = run("compress", "quantize", model, "-o", first, "--data", DATA, "--write-scales", scales)
    assert done.exit_code == 0, done.output
    assert "x smaller" in done.output
    done = run("compress", "quantize", model, "-o", second, "--scale-zero-point", scales)
    assert done.exit_code == 0, done.output
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bits", "3"], "'3' bits are not offered"),
        (["--data", "procedural:0"], "procedural"),
        (["--skip", "decoder"], "unknown layer"),
        (["--bits-of", "decoder=4"], "unknown layer"),
        (["--bits-of", "aggregation=3"], "--bits-of aggregation=3"),
        (["--bits-of", "aggregation=4", "--bits", "auto", "--budget", "2%"], "not from auto"),
        (["--finetune", "nowhere.yaml", "--mode", "qat"], "cannot read the recipe"),
        (["--budget", "lots", "--bits", "auto"], "budget 'lots'"),
    ],
)
def test_mistakes_are_told_in_a_line(model, tmp_path, arguments, told):
    done = run("compress", "quantize", model, "-o", tmp_path / "a.safetensors", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_some_layers_get_other_bits(model, tmp_path):
    made = tmp_path / "a.safetensors"
    exceptions = ("--bits-of", "aggregation=8", "--bits-of", "aggregation.enter.*=32", "--bits-of", "encoder.fuse.0=1")
    done = run("compress", "quantize", model, "-o", made, "--bits", "4", *exceptions, "--data", DATA)
    assert done.exit_code == 0, done.output
    network = leadline.load(made, "cpu").network
    bits = {name: layer.numbers.bits for name, layer in quantized_layers(network).items()}
    assert bits["encoder.stem.0"] == 8  # as --bits 4 alone would have it
    assert bits["encoder.quarter.0.0"] == 4
    assert {value for name, value in bits.items() if name.startswith("aggregation")} == {8}
    assert "aggregation.enter.0" not in bits
    assert set(binary_layers(network)) == {"encoder.fuse.0"}


def test_inspect_counts_what_the_network_has(model):
    done = run("inspect", model, "--size", "64x96", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    network = leadline.load(model, "cpu").network
    stem = next(row for row in rows if row["layer"] == "encoder.stem.0")
    assert stem["macs"] == 2 * 8 * 32 * 48 * 27  # two views
    weights = sum(m.weight.numel() for n, m in network.named_modules() if n in {row["layer"] for row in rows})
    assert sum(row["parameters"] for row in rows) == weights  # BatchNorm behind each, so no bias


def test_a_quantised_checkpoint_is_inspected_and_benchmarked(model, tmp_path):
    small = tmp_path / "small.safetensors"
    assert run("compress", "quantize", model, "-o", small, "--data", DATA).exit_code == 0
    done = run("inspect", small, "--size", "64x96", "--json")
    assert done.exit_code == 0, done.output
    assert 8 in {row["bits"] for row in json.loads(done.output)}
    done = run("benchmark", small, "--size", "64x96", "--rounds", "1")
    assert done.exit_code == 0, done.output


def test_inspect_sensitivity_writes_table_and_picture(model, tmp_path):
    table, picture = tmp_path / "s.csv", tmp_path / "s.png"
    done = run(
        "inspect", model, "--sensitivity", "--bits", "8", "--data", DATA, "--csv", table, "--picture", picture,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "whole stage" in done.output
    rows = list(csv.DictReader(table.open()))
    assert {row["stage"] for row in rows} == {"features", "volume", "aggregation", "regression", "upsampling"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_sensitivity_is_refused(model):
    done = run("inspect", model, "--picture", "x.png")
    assert done.exit_code == 2
    assert "--sensitivity" in done.stderr
