"""Quantised networks in ONNX Runtime and LiteRT: within a step, with the integers stored."""

import collections
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy.networks import small_plummet

import leadline
from leadline import UserError
from leadline.compress import quantize
from leadline.deploy import export
from leadline.nn.quantize.binary import BinaryConv2d
from leadline.nn.quantize.fake import Quantizer
from leadline.nn.quantize.layers import QuantizedLayer
from leadline.surgeries.quantize import quantized_layers

SIZE = (64, 96)
DATA = "procedural:2,seed=5,size=64x96"


def make(**options):
    return quantize(small_plummet(), data=DATA, **options)


EXPORTED = [
    {},
    {"bits": 4},
    pytest.param({"scheme": "symmetric"}, marks=pytest.mark.slow),
    pytest.param({"mode": "dynamic"}, marks=pytest.mark.slow),
    pytest.param({"bits": 1}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", EXPORTED, ids=str)
def test_onnx_stores_integers_and_agrees(options, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    network = make(**options)
    artifact = export(network, "onnx", tmp_path, SIZE, verify_on=DATA)
    assert artifact.verified, artifact.manifest.verification
    model = onnx.load(str(artifact.folder / "model.onnx"))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = onnx.TensorProto
    for name, layer in network.named_modules():
        if isinstance(layer, QuantizedLayer):
            tensor = stored[f"{name}.codes"]
            assert tensor.data_type == (kinds.INT8 if layer.numbers.bits == 8 else kinds.INT4)
            values = onnx.numpy_helper.to_array(tensor).astype(np.int8)
            np.testing.assert_array_equal(values, layer.weight_codes().numpy())
        elif isinstance(layer, BinaryConv2d):
            assert len(stored[f"{name}.codes.packed"].raw_data) == -(-layer.weight.numel() // 8)
            assert f"{name}.weight" not in stored
    here = str(Path(leadline.__file__).parent)
    assert not any(here in str(node) or "site-packages" in str(node) for node in model.graph.node)


def test_onnx_runtime_takes_its_integer_kernels(tmp_path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = make(outputs="all")
    artifact = export(network, "onnx", tmp_path, SIZE, verify_on=None)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(artifact.folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    assert kinds["QLinearConv"] == len(quantized_layers(network))


def test_every_tensor_is_within_a_step_in_onnx_runtime(tmp_path):
    """Each layer alone, on what it saw: output codes of the network and of ONNX Runtime."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = make(outputs="all")
    seen = {}
    for name, layer in quantized_layers(network).items():
        layer.register_forward_hook(lambda _, x, y, name=name: seen.__setitem__(name, (x[0].clone(), y.clone())))
    images = torch.rand(2, 1, 3, *SIZE, generator=torch.Generator().manual_seed(3)).unbind()
    with torch.no_grad():
        network(*images)
    from leadline.deploy.targets.calling import quiet
    from leadline.deploy.targets.onnx_quantized import OPSET, translations

    for name in ("encoder.stem.0", "coarse.layers.0.conv", "aggregation.at_eighth.0.first.0"):
        layer, (x, y) = network.get_submodule(name), seen[name]
        layer._forward_hooks.clear()
        layer.freeze()
        with quiet():
            program = torch.onnx.export(
                layer.eval(), (x,), dynamo=True, opset_version=OPSET, verbose=False,
                custom_translation_table=translations(),
            )  # fmt: skip
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        steps = np.abs(found - y.numpy()) / float(layer.output_quantizer.scale)
        assert steps.max() < 1.01, name
        assert (steps > 0.5).mean() < 0.01, name


def test_openvino_computes_convolutions_in_integers(tmp_path):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    network = make(outputs="all")
    artifact = export(network, "openvino", tmp_path, SIZE, verify_on=DATA)
    assert artifact.verified, artifact.manifest.verification
    assert artifact.manifest.precision == "int8"
    compiled = openvino.Core().compile_model(str(artifact.folder / "model.xml"), "CPU", {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    request.infer([np.zeros((1, 3, *SIZE), np.float32)] * 2)
    kernels = [row.exec_type for row in request.get_profiling_info() if row.node_type == "Convolution"]
    in_integers = [kernel for kernel in kernels if kernel.endswith("I8")]
    assert len(in_integers) >= 0.9 * len(quantized_layers(network))  # it may leave one that sees the image in float


@pytest.mark.slow
def test_scales_that_were_trained_go_to_tflite(tmp_path):
    pytest.importorskip("litert_torch")
    network = make()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, Quantizer):
            module.stretch.data += 0.05 * torch.randn(module.stretch.shape, generator=generator)
    assert export(network, "tflite", tmp_path, SIZE, verify_on=DATA).verified


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plummet-s", "plummet-r"])
def test_integers_that_two_layers_read_stay_on_their_scale_in_tflite(name, tmp_path):
    """What a concatenation takes of them must not change the scale on which the other layer's bias stands."""
    pytest.importorskip("litert_torch")
    size, data = (96, 256), "procedural:1,seed=11,size=96x256"
    network = quantize(leadline.load(name, "cpu").network, data="procedural:2,seed=9,size=192x384")
    tried = export(network, "tflite", tmp_path, size, verify_on=data).manifest.verification
    assert tried["worse_by"]["epe_px"] < 0.05, tried
    assert tried["mean_difference"] < 0.3, tried  # 0.7 and more where it goes wrong


@pytest.mark.slow
def test_transposed_convolutions_and_shared_integers_go_to_tflite(tmp_path):
    """MobileStereoNet-2D has both: integers that are read with channels first and last, and output padding."""
    pytest.importorskip("litert_torch")
    size, data = (64, 192), "procedural:1,seed=11,size=64x192"
    trained = leadline.load("mobilestereonet-2d-rendered", "cpu").network
    network = quantize(trained, data="procedural:1,seed=9,size=96x192")
    tried = export(network, "tflite", tmp_path, size, verify_on=data).manifest.verification
    assert tried["mean_difference"] < 0.3, tried


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
def test_tflite_has_our_scales_and_integers(bits, tmp_path):
    pytest.importorskip("litert_torch")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    network = make(bits=bits)
    artifact = export(network, "tflite", tmp_path, SIZE, verify_on=DATA)
    assert artifact.verified, artifact.manifest.verification
    interpreter = litert.Interpreter(
        str(artifact.folder / "model.tflite"),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    scales = [np.unique(layer.weight_quantizer.scale.numpy()) for layer in quantized_layers(network).values()]
    found = 0
    for operator in interpreter._get_ops_details():
        if operator["op_name"] == "CONV_2D" and details[operator["inputs"][0]]["dtype"] == np.int8:
            stored = np.unique(details[operator["inputs"][1]]["quantization_parameters"]["scales"])
            assert any(s.shape == stored.shape and np.allclose(s, stored, rtol=1e-6) for s in scales)
            found += 1
    assert found >= 0.7 * len(scales)
    assert (artifact.manifest.made_with.get("int4_tensors") is not None) == (bits == 4)


@pytest.mark.parametrize(
    ("options", "target", "told"),
    [
        ({"bits": 4}, "openvino", "less than 8 bits"),
        ({"bits": 4}, "openvino-bfloat16", "less than 8 bits"),
        ({}, "openvino-float16", "export the quantised network to openvino"),
        ({}, "caffe", "takes no quantised network"),
        ({}, "tflite-int8", "export the quantised network to tflite"),
        ({"bits": 1}, "tflite", "no convolution of 1 bit"),
        ({"bits": 4, "weights_only": True, "granularity": 4}, "tflite", "no scales per group"),
        ({"bits": 4, "activation_bits": 4}, "tflite", "no activations of 4 bits"),
    ],
)
def test_targets_that_cannot_hold_it_say_why(options, target, told, tmp_path):
    with pytest.raises(UserError, match=told) as error:
        leadline.export(make(**options), target, tmp_path, SIZE)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
