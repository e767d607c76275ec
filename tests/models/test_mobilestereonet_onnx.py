"""What the exported network is like: small, and the same."""

import pytest
import torch

import leadline


@pytest.mark.slow
def test_the_exported_2d_network_is_small_and_agrees(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = leadline.create("mobilestereonet-2d").eval()
    pair = torch.rand(1, 3, 32, 192), torch.rand(1, 3, 32, 192)
    path = tmp_path / "network.onnx"
    program = torch.onnx.export(network, pair, str(path), dynamo=True, external_data=False, verbose=False)

    assert len(program.model_proto.graph.node) <= 1000
    unused = ("classif0.", "classif1.", "classif2.")
    weights = sum(v.nbytes for key, v in network.state_dict().items() if not key.startswith(unused))
    assert path.stat().st_size <= 1.15 * weights

    session = onnxruntime.InferenceSession(path)
    feed = dict(zip((node.name for node in session.get_inputs()), (image.numpy() for image in pair), strict=True))
    with torch.no_grad():
        expected = network(*pair)
    assert expected.std() > 0.1
    torch.testing.assert_close(torch.from_numpy(session.run(None, feed)[0]), expected, atol=1e-2, rtol=0)
