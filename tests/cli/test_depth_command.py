"""`leadline depth` and the monocular options of `leadline evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from leadline.checkpoint import save
from leadline.cli.main import main
from leadline.data.formats.arrays import read_array, write_array
from leadline.data.formats.depth_png import read_depth_png
from leadline.data.formats.images import read_image, write_image
from leadline.data.formats.ply import read_ply
from leadline.errors import UserError
from leadline.models import create
from leadline.predict import NetworkPredictor, Resized, tiled
from leadline.predict.video import VideoDepth

IMAGE = np.random.default_rng(0).integers(0, 255, (70, 100, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    save(create("fastdepth", width=0.25, decoder=4), folder / "mono.safetensors")
    save(create("fastdepth", width=0.25, decoder=4, memory=4), folder / "video.safetensors")
    return folder


def _run(*words: str | Path):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_one_image(models: Path, tmp_path: Path):
    write_image(tmp_path / "a.png", IMAGE)
    out = tmp_path / "out"
    done = _run("depth", tmp_path / "a.png", "-m", models / "mono.safetensors", "-o", out, "--fx", 80, "--scale", 2)
    assert done.exit_code == 0, done.output
    depth = read_array(out / "depth.npz")
    from leadline.checkpoint import load_network

    expected = NetworkPredictor(load_network(models / "mono.safetensors"), "cpu").predict(IMAGE)
    np.testing.assert_allclose(depth, 2 * expected, rtol=1e-5)
    png, valid = read_depth_png(out / "depth.png", 1000)
    assert valid.all()
    np.testing.assert_allclose(png, depth, atol=0.00051)
    assert read_image(out / "depth_color.png").shape == IMAGE.shape
    points, colors = read_ply(out / "cloud.ply")
    assert len(points) == 7000
    np.testing.assert_allclose(points[:, 2].reshape(70, 100), depth, rtol=1e-6)
    np.testing.assert_allclose(points[0, 0], (0 - 49.5) * depth[0, 0] / 80, rtol=1e-5)
    np.testing.assert_array_equal(colors.reshape(70, 100, 3), IMAGE)
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["unit"], meta["width"], meta["scale"]) == ("m", 100, 2)


def test_a_folder_where_one_image_is_broken(models: Path, tmp_path: Path):
    images = tmp_path / "images"
    for name in ("a", "b"):
        write_image(images / f"{name}.png", IMAGE)
    (images / "c.png").write_bytes(b"nothing")
    done = _run("depth", images, "-m", models / "mono.safetensors", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert len(told["images"]) == 2
    assert "c.png" in told["failed"][0]["image"]
    assert (tmp_path / "out" / "b" / "depth.npz").is_file()


def test_a_video_is_remembered_frame_by_frame(models: Path, tmp_path: Path):
    frames = [np.roll(IMAGE, 3 * i, 1) for i in range(3)]
    for i, frame in enumerate(frames):
        write_image(tmp_path / "v" / f"{i}.png", frame)
    done = _run("depth", tmp_path / "v", "-m", models / "video.safetensors", "-o", tmp_path / "o", "--video")
    assert done.exit_code == 0, done.output
    from leadline.checkpoint import load_network

    video = VideoDepth(load_network(models / "video.safetensors"), "cpu")
    for i, frame in enumerate(frames):
        np.testing.assert_allclose(read_array(tmp_path / "o" / str(i) / "depth.npz"), video.next(frame), rtol=1e-5)
    with pytest.raises(UserError, match="frames of one size"):
        video.next(IMAGE[:64])


def test_a_resized_predictor_sees_the_size_it_was_given_and_answers_in_the_images_own():
    class Inner(NetworkPredictor):
        def __init__(self):
            super().__init__(create("fastdepth", width=0.25, decoder=4), "cpu")
            self.seen = []

        def _predict(self, image):
            self.seen.append(image.shape)
            return np.full(image.shape[:2], 3.0, np.float32)

    inner = Inner()
    depth = Resized(inner, (32, 64)).predict(IMAGE)
    assert inner.seen == [(32, 64, 3)]
    assert depth.shape == (70, 100)
    np.testing.assert_allclose(depth, 3.0)


def test_a_large_image_is_not_cut_into_tiles(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiled, "MAX_WHOLE", 5000)
    write_image(tmp_path / "a.png", IMAGE)
    done = _run("depth", tmp_path / "a.png", "-m", models / "mono.safetensors", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "--resize" in done.stderr
    assert not (tmp_path / "out" / "depth.npz").exists()
    resized = ("--resize", "64x64")
    done = _run("depth", tmp_path / "a.png", "-m", models / "mono.safetensors", "-o", tmp_path / "out", *resized)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere.png", "-m", "{mono}", "-o", "{out}"), "no such file"),
        (("{image}", "-m", "plummet-s", "-o", "{out}"), "leadline predict"),
        (("{image}", "-m", "{mono}", "-o", "{out}", "--cx", "4"), "--fx"),
        (("{image}", "-m", "{mono}", "-o", "{out}", "--scale", "0"), "more than 0"),
        (("{image}", "-m", "{mono}", "-o", "{out}", "--fx", "-3"), "more than 0"),
        (("{image}", "-m", "{mono}", "-o", "{out}", "--video"), "no memory for video"),
        (("{image}", "-m", "{mono}", "-o", "{folder}"), "could replace its truth"),
        (("{image}", "-m", "fastdepth", "-o", "{out}"), "no weights are shipped"),
    ],
)
def test_mistakes_are_told_in_one_line(models: Path, tmp_path: Path, words: tuple[str, ...], told: str):
    write_image(tmp_path / "a.png", IMAGE)
    places = {"mono": models / "mono.safetensors", "out": tmp_path / "o", "image": tmp_path / "a.png"}
    done = _run("depth", *(word.format(**places, folder=tmp_path) for word in words))
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def _data(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        write_image(folder / name / "image.png", IMAGE)
        write_array(folder / name / "depth.npz", depth=np.linspace(1, 9, 7000, dtype=np.float32).reshape(70, 100))
    return folder


def test_evaluate_by_a_protocol(models: Path, tmp_path: Path):
    data = _data(tmp_path / "data")
    words = ("evaluate", models / "mono.safetensors", "--data", f"folder:{data}", "--json")
    plain, aligned = (_run(*words, *more) for more in ((), ("--align", "median", "--cap", "5", "--crop", "nyu")))
    assert plain.exit_code == aligned.exit_code == 0, plain.output + aligned.output
    plain, aligned = json.loads(plain.stdout), json.loads(aligned.stdout)
    assert aligned["protocol"] == "align median, cap 5 m, crop nyu"
    assert "protocol" not in plain
    assert aligned["models"][0]["over_pixels"]["abs_rel"] < plain["models"][0]["over_pixels"]["abs_rel"]
    assert aligned["samples"][0]["pixels"] < plain["samples"][0]["pixels"] == 7000
    table = _run(*words[:-1], "--resize", "32x64", "--csv", tmp_path / "t.csv")
    assert table.exit_code == 0, table.output
    assert "AbsRel" in table.stdout
    assert "delta_1" in (tmp_path / "t.csv").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--align", "medain"), "did you mean 'median'"),
        (("--cap", "0.5"), "no pixel of the truth counts"),
        (("--resize", "big"), "HEIGHTxWIDTH"),
    ],
)
def test_evaluate_refuses(models: Path, tmp_path: Path, words: tuple[str, ...], told: str):
    done = _run("evaluate", models / "mono.safetensors", "--data", f"folder:{_data(tmp_path / 'data')}", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_protocol_is_not_for_stereo(tmp_path: Path):
    done = _run("evaluate", "sgbm", "--data", "procedural:1,size=32x64", "--align", "median")
    assert done.exit_code == 2
    assert "for monocular depth" in done.stderr
