"""`leadline compress prune` and `share`."""

import json

import pytest
from click.testing import CliRunner
from compress.networks import small_plummet

from leadline.checkpoint import load_network, save
from leadline.cli.main import main


@pytest.fixture
def model(tmp_path):
    return str(save(small_plummet(), tmp_path / "model.safetensors"))


def run(*arguments: str):
    return CliRunner().invoke(main, ["compress", *arguments])


def test_prune_then_share(model, tmp_path) -> None:
    pruned, shared = str(tmp_path / "pruned.safetensors"), str(tmp_path / "shared.safetensors")
    result = run("prune", model, "--granularity", "weight", "--amount", "0.5", "-o", pruned)
    assert result.exit_code == 0, result.output
    assert "not zero:" in result.output
    assert "encoder.stem.0" in result.output
    result = run("share", pruned, "--clusters", "16", "--rest", "float16", "-o", shared)
    assert result.exit_code == 0, result.output
    assert "bytes by their entropy" in result.output
    kinds = [record["kind"] for record in load_network(shared).surgeries]
    assert kinds == ["prune-mask", "share"]


def test_json(model, tmp_path) -> None:
    result = run("prune", model, "--amount", "0.3", "--scope", "layer", "--json", "-o", str(tmp_path / "a.safetensors"))
    told = json.loads(result.stdout)
    assert told["macs"][1] < told["macs"][0]
    assert told["parameters"][1] < told["parameters"][0]
    assert told["surgeries"][0]["kind"] == "prune-channels"


def test_sensitivity_and_table(model, tmp_path) -> None:
    folder = tmp_path / "look"
    data = "procedural:1,seed=5,size=48x64"
    result = run("prune", model, "--sensitivity", "--layer", "guide", "--data", data, "-o", str(folder))
    assert result.exit_code == 0, result.output
    assert (folder / "sensitivity.csv").is_file()
    assert (folder / "sensitivity.png").is_file()
    result = run("prune", model, "--write-device-table", str(tmp_path / "t.csv"), "--size", "32x64")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "t.csv").read_text().startswith("layer,in_channels,out_channels,milliseconds\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prune", "MODEL", "--amount", "0"], "-o is missing"),
        (["prune", "MODEL", "--amount", "0", "-o", "OUT.safetensors"], "amount 0: give a share between 0 and 1"),
        (["prune", "MODEL", "--amount", "1", "-o", "OUT.safetensors"], "amount 1: give a share between 0 and 1"),
        (["prune", "MODEL", "--macs", "half", "-o", "OUT.safetensors"], "--macs 'half': write it as a factor"),
        (["prune", "MODEL", "--amount", "0.5", "--layer", "gide", "-o", "OUT.safetensors"], "did you mean 'guide'"),
        (["prune", "MODEL", "--amount", "0.5", "-o", "OUT.pth"], "a checkpoint's name ends in .safetensors"),
        (
            ["prune", "MODEL", "--amount", "0.5", "--set", "steps=3", "-o", "OUT.safetensors"],
            "--set changes the recipe",
        ),
        (["prune", "sgbm", "--amount", "0.5", "-o", "OUT.safetensors"], "only networks can be compressed"),
        (["prune", "plummet-x", "--amount", "0.5", "-o", "OUT.safetensors"], "did you mean 'plummet-s'"),
        (["share", "MODEL", "--clusters", "999", "-o", "OUT.safetensors"], "a codebook has 2 to 256 values"),
        (["share", "MODEL", "--layer", "coarse.score", "-o", "OUT.safetensors"], "more clusters (256) than weights"),
        (["share", "CUT", "-o", "OUT.safetensors"], "not a readable .safetensors file"),
    ],
)
def test_mistakes_are_one_line_and_lose_nothing(arguments, told, model, tmp_path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "model.safetensors").read_bytes()[:-500])
    places = {"MODEL": model, "CUT": str(cut), "OUT.safetensors": str(tmp_path / "out.safetensors")}
    before = set(tmp_path.iterdir())
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
