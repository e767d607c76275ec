"""Artifacts: made, proven, loaded again, and refused where they are not what they say."""

import json
import shutil

import numpy as np
import pytest
import torch
from deploy.networks import local_filter, noise_pair, small_plummet

import leadline
from leadline import UserError
from leadline.artifacts import ArtifactPredictor, Manifest, load_artifact
from leadline.deploy import Tolerance, export
from leadline.predict import NetworkPredictor

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
PAIRS = "procedural:2,seed=5,size=48x96"


@pytest.fixture(scope="module")
def network():
    return small_plummet()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A fixed-size ONNX artifact."""
    return export(network, "onnx", tmp_path_factory.mktemp("exported"), (64, 96), verify_on=PAIRS)


@pytest.fixture
def copy(exported, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(exported.folder, tmp_path / "onnx")


def test_the_file_is_the_network_for_a_runtime_that_knows_nothing_of_leadline(network, exported):
    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    assert [node.name for node in session.get_inputs()] == ["left", "right"]
    assert [node.name for node in session.get_outputs()] == ["disparity"]
    left, right = torch.rand(2, 1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    found = session.run(None, {"left": left.numpy(), "right": right.numpy()})[0]
    with torch.no_grad():
        expected = network(left, right)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-2)
    assert np.abs(found - expected.numpy()).mean() < 1e-4
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["task"], metadata["unit"], metadata["max_disparity"]) == ("stereo", "px", "32")


def test_the_manifest_says_what_an_engineer_needs(exported):
    assert exported.verified
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert manifest["inputs"][0] == {
        "name": "left", "shape": [1, 3, 64, 96], "type": "float32", "layout": "NCHW", "colour": "RGB",
    }  # fmt: skip
    assert manifest["output"] == {"name": "disparity", "shape": [1, 1, 64, 96], "type": "float32", "unit": "px"}
    assert manifest["files"]["model.onnx"]["bytes"] == (exported.folder / "model.onnx").stat().st_size
    assert manifest["made_with"]["opset"] == "20"
    record = manifest["verification"]
    assert record["status"] == "verified"
    assert record["pairs"] == 2
    assert record["mean_difference"] < 1e-3
    assert record["milliseconds"] > 0


def test_smaller_images_are_padded(network, exported):
    left, right = noise_pair(50, 70)
    padded = [np.pad(image, ((0, 14), (0, 26), (0, 0)), mode="edge") for image in (left, right)]
    expected = NetworkPredictor(network, "cpu").predict(*padded)[:50, :70]
    found = leadline.load(exported.folder).predict(left, right)
    assert found.shape == (50, 70)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("size", [(200, 300), (96, 301), (131, 200), (40, 500)])
def test_larger_images_go_through_in_tiles(tmp_path, size):
    network = local_filter()
    predictor = export(network, "onnx", tmp_path, (96, 200), verify_on=None).predictor()
    left, right = noise_pair(*size, seed=1)
    expected = NetworkPredictor(local_filter(), "cpu").predict(left, right)
    np.testing.assert_allclose(predictor.predict(left, right), expected, atol=1e-5)


def test_a_model_too_narrow_to_tile_is_refused(exported):
    with pytest.raises(UserError, match="--dynamic"):
        leadline.load(exported.folder).predict(*noise_pair(64, 120))


def test_free_size(network, tmp_path):
    artifact = export(network, "onnx", tmp_path, (64, 96), dynamic=True, verify_on=PAIRS)
    assert artifact.verified
    assert artifact.manifest.size is None
    for size in ((48, 64), (70, 130)):
        pair = noise_pair(*size, dtype=np.uint16)
        expected = NetworkPredictor(network, "cpu").predict(*pair)
        np.testing.assert_allclose(artifact.predictor(threads=1).predict(*pair), expected, atol=1e-2)


def test_few_operations_for_compilers_of_small_chips(network, tmp_path):
    kinds = {}
    for few in (False, True):
        artifact = export(network, "onnx", tmp_path / str(few), (32, 64), few_operations=few)
        assert artifact.verified
        kinds[few] = {node.op_type for node in onnx.load(artifact.folder / "model.onnx").graph.node}
    assert "MatMul" in kinds[False]
    assert not {"MatMul", "Gemm", "ReduceMax"} & kinds[True]
    assert artifact.manifest.made_with["operations"] == "few"


def test_an_artifact_is_evaluated_like_any_model(network, exported):
    results = leadline.evaluate(
        {"network": NetworkPredictor(network, "cpu"), "artifact": leadline.load(exported.folder)},
        "procedural:2,seed=9,size=64x96",
    )
    assert results.over_pixels("artifact")["epe"] == pytest.approx(results.over_pixels("network")["epe"], abs=1e-3)


def test_what_falls_short_of_the_tolerance_is_marked(network, tmp_path):
    artifact = export(network, "onnx", tmp_path, (64, 96), verify_on=PAIRS, tolerance=Tolerance(mean=0.0))
    assert not artifact.verified
    assert load_artifact(artifact.folder).manifest.verification["status"] == "failed"
    assert "mean difference" in artifact.manifest.verification["reason"]


def test_a_model_that_answers_something_else_fails_its_verification(network, exported):
    from leadline.deploy import verify

    other = small_plummet()
    with torch.no_grad():
        other.aggregation.score[1].bias.add_(torch.linspace(-3, 3, 8))
    record = verify(exported, other, PAIRS)
    assert record["status"] == "failed"
    assert record["mean_difference"] > 0.01


def test_a_new_export_replaces_the_old_one_and_leaves_nothing_beside_it(network, copy):
    artifact = export(network, "onnx", copy.parent, (48, 96), verify_on=None)
    assert artifact.manifest.size == (48, 96)
    assert [path.name for path in copy.parent.iterdir()] == ["onnx"]
    assert load_artifact(copy).manifest.verification == {"status": "not run"}


def test_truncated_swapped_and_missing_files(copy):
    model = copy / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-100])
    with pytest.raises(UserError, match="not the file that the manifest describes"):
        leadline.load(copy)
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="not the file that the manifest describes"):
        leadline.load(copy)
    model.unlink()
    with pytest.raises(UserError, match=r"model\.onnx: named in the manifest but not there"):
        leadline.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "newer than this one"),
        ({"task": "smell"}, "export the model again"),
        ({"inputs": 3}, "export the model again"),
        ({"target": "onyx"}, "did you mean 'onnx'"),
        ({"target": "tflite"}, "0 .tflite files"),
        ({"files": {}}, "0 .onnx files"),
        ({"size": [48, 96]}, "takes images of 64x96, but its manifest says 48x96"),
        ({"size": None}, "its manifest says any size"),
        ({"inputs": [{"name": "frame0"}, {"name": "frame1"}]}, "its manifest names frame0, frame1"),
    ],
)
def test_manifests_that_cannot_be_used(copy, change, message):
    path = copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        leadline.load(copy)


def test_a_garbled_manifest(copy):
    (copy / "manifest.json").write_text('{"format": 1, "tas')
    with pytest.raises(UserError, match="not a readable manifest"):
        leadline.load(copy)


def test_a_model_that_the_runtime_refuses(copy):
    (copy / "model.onnx").write_bytes(b"not a model")
    from leadline.artifacts.manifest import describe_files

    path = copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": describe_files(copy)}))
    with pytest.raises(UserError, match="does not load it"):
        leadline.load(copy)


def test_a_runtime_that_fails_on_the_images(exported):
    def session(*images):
        raise RuntimeError("bad shape\nand a page of it")

    def smaller(*images):
        return images[0][:, :1, ::2, ::2]

    for wrong, message in (
        (session, r"fails on images of 64x96 \(bad shape\)"),
        (smaller, "not the one of its manifest"),
    ):
        predictor = ArtifactPredictor(exported.manifest, wrong, "wrong")
        with pytest.raises(UserError, match=message):
            predictor.predict(*noise_pair(64, 96))


def test_places_that_cannot_be_used(network, tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="no artifact"):
        export(network, "onnx", tmp_path, (64, 96), verify_on=None)
    assert (tmp_path / "onnx" / "mine.txt").read_text() == "precious"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        export(network, "onnx", tmp_path / "file", (64, 96), verify_on=None)


@pytest.mark.parametrize(
    ("target", "size", "message"), [("onix", (64, 96), "did you mean 'onnx'"), ("onnx", (60, 96), "multiples of 16")]
)
def test_what_cannot_be_exported(network, tmp_path, target, size, message):
    with pytest.raises(UserError, match=message):
        export(network, target, tmp_path, size)
    assert not list(tmp_path.iterdir())


def test_round_trip_of_the_manifest(exported):
    assert Manifest.read(exported.folder) == exported.manifest
