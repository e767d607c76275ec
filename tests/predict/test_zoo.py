"""leadline.load: names, paths, and what is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import leadline
from leadline import zoo
from leadline.errors import UserError
from leadline.models import registry


@pytest.mark.parametrize("name", ["sgbm", "sgbm-padded", "bm"])
def test_classical_names(name):
    assert leadline.load(name).name == name
    assert leadline.load(name, num_disparities=64).num_disparities == 64


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sgmb", "did you mean 'sgbm'"),
        ("folder/none.safetensors", "no such checkpoint file"),
        ("best.pth", "import_upstream"),
    ],
)
def test_what_cannot_be_loaded(name, told):
    with pytest.raises(UserError, match=told):
        leadline.load(name)


@pytest.mark.parametrize(
    "about",
    ["no json", "[]", "{}", '{"format": "1"}', '{"format": 1}', '{"format": 1, "network": "x", "config": null}'],
)
def test_damaged_metadata_is_a_user_error(about, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(1)}, path, {"leadline": about})
    with pytest.raises(UserError, match=r"a\.safetensors: leadline's metadata in it is damaged"):
        leadline.load(path)


def test_a_checkpoint_of_a_newer_leadline_is_told(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "a.safetensors", {"leadline": '{"format": 2, "version": "7.0"}'})
    with pytest.raises(UserError, match=r"leadline 7\.0, newer than this one"):
        leadline.load(tmp_path / "a.safetensors")


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A registered network "toy-x" and an empty zoo folder."""
    from shifts import Brightness

    monkeypatch.setitem(registry._FACTORIES, "toy-x", Brightness)
    monkeypatch.setattr(Brightness, "config_dict", lambda self: {})
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    return leadline.create("toy-x")


def test_a_network_without_weights_says_what_to_do(toy):
    with pytest.raises(UserError, match=r"leadline train.*import_upstream\('toy-x'"):
        leadline.load("toy-x")
    entry = next(entry for entry in zoo.zoo().entries if entry.name == "toy-x")
    assert (entry.ready, entry.task, entry.parameters) == (False, "stereo", 0)


def test_a_checkpoint_loads_by_path_and_by_name(toy, tmp_path):
    leadline.save(toy, tmp_path / "weights" / "small.safetensors", {"data": "scenes", "metrics": {"EPE px": 1.5}})
    image = np.full((5, 6), 255, np.uint8)
    for name in (tmp_path / "weights" / "small.safetensors", "small"):
        predictor = leadline.load(name)
        assert predictor.name == "toy-x"
        assert (predictor.predict(image, image) == 100).all()
    with pytest.raises(UserError, match="num_disparities"):
        leadline.load("small", num_disparities=64)
    entry = next(entry for entry in zoo.zoo().entries if entry.name == "small")
    assert (entry.ready, entry.trained, entry.measured) == (True, "scenes", {"EPE px": 1.5})


def test_the_measured_table_goes_before_the_checkpoint(toy, tmp_path):
    leadline.save(toy, tmp_path / "weights" / "small.safetensors", {"metrics": {"EPE px": 1.5}})
    table = {"about": {"machine": "one"}, "models": {"small": {"EPE px": 1.25}, "sgbm": {"EPE px": 2.0}}}
    (tmp_path / "weights" / "measured.json").write_text(json.dumps(table))
    found = zoo.zoo()
    assert found.about == {"machine": "one"}
    measured = {entry.name: entry.measured for entry in found.entries}
    assert (measured["small"], measured["sgbm"], measured["bm"]) == ({"EPE px": 1.25}, {"EPE px": 2.0}, {})
