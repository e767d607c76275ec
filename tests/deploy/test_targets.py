"""Every target: the file, run by its runtime without leadline, says what the network says."""

import numpy as np
import pytest
import torch
from deploy.networks import SMALL, noise_pair, small_plummet
from predict.shifts import Local

import leadline
from leadline import UserError
from leadline.deploy import TARGETS, export
from leadline.nn.upsampled_soft_argmin import upsampled_soft_argmin
from leadline.predict import NetworkPredictor

SIZE = (64, 96)
PAIRS = "procedural:2,seed=5,size=64x96"
NEEDS = {"onnx": "onnxruntime", "openvino": "openvino", "tensorflow": "tensorflow", "tflite": "litert_torch",
         "ncnn": "pnnx", "caffe": "cv2"}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return small_plummet()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 1, 3, *SIZE, generator=torch.Generator().manual_seed(3)).unbind()


@pytest.fixture(scope="module")
def expected(network, images):
    with torch.no_grad():
        return network(*images).numpy()


def agree(found, expected):
    assert expected.std() > 0.1
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 1e-4
    np.testing.assert_allclose(found, expected, atol=2e-2)


def same_as_a_predictor(artifact, network):
    pair = noise_pair(*SIZE)
    found = leadline.load(artifact.folder).predict(*pair)
    np.testing.assert_allclose(found, NetworkPredictor(network, "cpu").predict(*pair), atol=2e-2)


def test_openvino(network, images, expected, tmp_path):
    openvino = pytest.importorskip("openvino")
    artifact = export(network, "openvino", tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    model = openvino.Core().compile_model(
        str(artifact.folder / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    agree(model([image.numpy() for image in images])[0], expected)
    same_as_a_predictor(artifact, network)


def test_openvino_gathers_what_is_turned_round(tmp_path):
    openvino = pytest.importorskip("openvino")

    class Turned(Local):
        def forward(self, left, right):
            return super().forward(left, right.flip(3).flip(2))[:, :1].flip(3)

    network = Turned().eval()
    network.name = "turned"
    artifact = export(network, "openvino", tmp_path, SIZE, verify_on=None)
    model = openvino.Core().read_model(str(artifact.folder / "model.xml"))
    kinds = [node.get_type_name() for node in model.get_ops()]
    assert kinds.count("Gather") == 3
    assert "Slice" not in kinds
    same_as_a_predictor(artifact, network)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorflow", "tflite", "ncnn", "caffe"])
@pytest.mark.parametrize("scale", [1.125, 1.25])
def test_images_are_enlarged_in_every_target(target, scale, tmp_path):
    pytest.importorskip(NEEDS[target])
    torch.manual_seed(0)
    network = leadline.create("plummet-s", **{**SMALL, "scale": scale}).eval()
    artifact = export(network, target, tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    assert artifact.manifest.max_disparity == int(32 / scale)
    pair = noise_pair(60, 90)
    expected = NetworkPredictor(network, "cpu").predict(*pair)
    np.testing.assert_allclose(leadline.load(artifact.folder).predict(*pair), expected, atol=2e-2)


@torch.no_grad()
def test_free_sizes_are_enlarged_too(tmp_path):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = leadline.create("plummet-s", **{**SMALL, "scale": 1.25}).eval()
    artifact = export(network, "onnx", tmp_path, SIZE, dynamic=True, verify_on=None)
    for size in ((48, 80), (96, 64)):
        pair = noise_pair(*size)
        expected = NetworkPredictor(network, "cpu").predict(*pair)
        np.testing.assert_allclose(leadline.load(artifact.folder).predict(*pair), expected, atol=2e-2)


class Head(Local):
    """Scores of 12 planes at 1/4, and MobileStereoNet's way from them to a disparity."""

    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Conv2d(3, 12, 5, stride=4, padding=2)
        torch.nn.init.normal_(self.scores.weight, generator=torch.Generator().manual_seed(2))
        self.name = "head"

    def forward_all(self, left, right):
        return [upsampled_soft_argmin(self.scores(left - right), 48, 4)]


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_soft_argmin_of_upsampled_scores(target, images, tmp_path):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino", "tflite": "litert_torch"}[target])
    network = Head().eval()
    artifact = export(network, target, tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    same_as_a_predictor(artifact, network)


@pytest.mark.slow
def test_mobilestereonet_2d_in_tflite(tmp_path):
    """The interlaced volume plane by plane, and the soft-argmin of upsampled scores."""
    pytest.importorskip("litert_torch")
    pytest.importorskip("ai_edge_litert.interpreter")
    torch.manual_seed(0)
    network = leadline.create("mobilestereonet-2d").eval()
    artifact = export(network, "tflite", tmp_path, (64, 192), verify_on="procedural:1,seed=5,size=64x192")
    assert artifact.verified


def test_openvino_float16_is_half_the_size(network, tmp_path):
    pytest.importorskip("openvino")
    half = export(network, "openvino-float16", tmp_path, SIZE, verify_on=PAIRS)
    full = export(network, "openvino", tmp_path, SIZE, verify_on=None)
    assert half.verified
    assert half.manifest.files["model.bin"]["bytes"] < 0.6 * full.manifest.files["model.bin"]["bytes"]


@torch.no_grad()
def test_openvino_bfloat16_tells_far_disparities_apart(tmp_path):
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")
    network = leadline.load("plummet-s", "cpu").network
    wide = torch.rand(1, 3, 64, 512, generator=torch.Generator().manual_seed(4))
    left, right = wide[..., :352], wide[..., 150:502]  # 150 px apart
    expected = network(left, right).numpy()[..., 192:320]
    assert np.median(np.abs(expected - 150)) < 1  # white noise: here and there it is mistaken
    artifact = export(network, "openvino-bfloat16", tmp_path, (64, 352), verify_on=None)
    assert artifact.manifest.floats == artifact.manifest.precision == "bfloat16"
    found = artifact.predictor().session(left.numpy(), right.numpy())[..., 192:320]
    assert 1e-3 < np.median(np.abs(found - expected)) < 0.05  # rounded to bfloat16, 150 px would be 0.25 px off
    made_for_it = [
        node.get_type_name() for node in openvino.Core().read_model(str(artifact.folder / "model.xml")).get_ops()
    ]
    plain = export(network, "openvino", tmp_path, (64, 352), verify_on=None).folder / "model.xml"
    as_it_is = [node.get_type_name() for node in openvino.Core().read_model(str(plain)).get_ops()]
    assert made_for_it.count("Convolution") == as_it_is.count("Convolution") + 4


def test_openvino_bfloat16_is_float32_where_the_cpu_has_no_other(network, monkeypatch, tmp_path):
    openvino = pytest.importorskip("openvino")
    artifact = export(network, "openvino-bfloat16", tmp_path, SIZE, verify_on=None)
    asked = {}

    class Core(openvino.Core):
        def get_property(self, *names):
            return ["FP32", "INT8"] if "OPTIMIZATION_CAPABILITIES" in names else super().get_property(*names)

        def compile_model(self, model, device_name=None, config=None):
            asked.update(config)
            return super().compile_model(model, device_name, config)

    monkeypatch.setattr(openvino, "Core", Core)
    same_as_a_predictor(artifact, network)
    assert asked["INFERENCE_PRECISION_HINT"] == "f32"


def test_tflite(network, images, expected, tmp_path):
    pytest.importorskip("litert_torch")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    artifact = export(network, "tflite", tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    interpreter = litert.Interpreter(str(artifact.folder / "model.tflite"))
    run = interpreter.get_signature_runner()
    (found,) = run(args_0=images[0].numpy(), args_1=images[1].numpy()).values()
    agree(found, expected)
    same_as_a_predictor(artifact, network)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_tflite_in_less_than_float32(network, tmp_path, precision):
    pytest.importorskip("litert_torch")
    pytest.importorskip("ai_edge_quantizer")
    artifact = export(network, f"tflite-{precision}", tmp_path, SIZE, verify_on=PAIRS)
    record = artifact.manifest.verification
    assert artifact.manifest.precision == precision
    assert 0 < record["mean_difference"] < 1  # something was rounded, and the network is still there
    types = _tensor_types(artifact.folder / "model.tflite")
    assert {"float16": np.float16, "int8": np.int8}[precision] in types


def _tensor_types(path):
    from ai_edge_litert.interpreter import Interpreter

    return {detail["dtype"] for detail in Interpreter(str(path)).get_tensor_details()}


def test_tensorflow(network, images, expected, tmp_path):
    pytest.importorskip("litert_torch")
    tf = pytest.importorskip("tensorflow")
    artifact = export(network, "tensorflow", tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    loaded = tf.saved_model.load(str(artifact.folder / "saved_model"))
    function = loaded.signatures["serving_default"]
    found = function(left=tf.constant(images[0].numpy()), right=tf.constant(images[1].numpy()))["disparity"]
    agree(found.numpy(), expected)
    same_as_a_predictor(artifact, network)


def test_ncnn(network, images, expected, tmp_path):
    pytest.importorskip("pnnx")
    ncnn = pytest.importorskip("ncnn")
    artifact = export(network, "ncnn", tmp_path, SIZE, verify_on=PAIRS)
    assert artifact.verified
    assert sorted(artifact.manifest.files) == ["model.bin", "model.param"]
    net = ncnn.Net()
    assert net.load_param(str(artifact.folder / "model.param")) == 0
    assert net.load_model(str(artifact.folder / "model.bin")) == 0
    extractor = net.create_extractor()
    for name, image in zip(("left", "right"), images, strict=True):
        extractor.input(name, ncnn.Mat(image[0].numpy()).clone())
    agree(np.array(extractor.extract("disparity")[1])[None], expected)
    same_as_a_predictor(artifact, network)


def test_ncnn_refuses_what_it_has_no_layer_for(tmp_path):
    pytest.importorskip("pnnx")
    pytest.importorskip("ncnn")

    class Sorted(Local):
        name = "sorted"

        def forward_all(self, left, right):
            return [(left + right).sort(1)[0][:, :1]]

    with pytest.raises(UserError, match=r"ncnn has no layer for \S*sort"):
        export(Sorted(), "ncnn", tmp_path, SIZE, verify_on=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", [name for name, about in TARGETS.items() if not about.dynamic])
def test_fixed_formats_refuse_a_free_size(network, tmp_path, target):
    with pytest.raises(UserError, match="one size"):
        export(network, target, tmp_path, dynamic=True)


def test_a_missing_runtime_names_its_extra(monkeypatch):
    import sys

    from leadline.artifacts.runtimes import need

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'leadline\[openvino\]'"):
        need("openvino", "openvino")
