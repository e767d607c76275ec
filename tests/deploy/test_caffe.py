"""Caffe models: every lowering against PyTorch in OpenCV, and the whole read again by MNN."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deploy.networks import noise_pair, small_plummet
from torch import nn

import leadline
from leadline import UserError
from leadline.deploy import export
from leadline.deploy.targets.caffe import convert, unsupported
from leadline.deploy.targets.caffe.convert import to_layers
from leadline.deploy.targets.caffe.layers import write_files
from leadline.deploy.targets.caffe.messages import message_types
from leadline.deploy.targets.caffe.second_reader import read_again
from leadline.deploy.targets.request import Request
from leadline.models.network import Network, Task

cv2 = pytest.importorskip("cv2")
text_format = pytest.importorskip("google.protobuf.text_format")
pytestmark = pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 reads no Caffe models")
SIZE = (12, 16)


class Net(Network):
    """forward(left, right) is a function of both."""

    task = Task.STEREO
    name = "net"

    def __init__(self, function, **modules):
        nn.Module.__init__(self)
        self.function = function
        self.config = SimpleNamespace()
        for name, module in modules.items():
            setattr(self, name, module)

    def forward_all(self, left, right):
        return [self.function(self, left, right)]


def images(size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 3, *size, generator=generator) for _ in range(2)]


def in_opencv(folder, left, right):
    """As anybody would run it, without leadline."""
    net = cv2.dnn.readNetFromCaffe(str(folder / "model.prototxt"), str(folder / "model.caffemodel"))
    net.setInput(left.numpy(), "left")
    net.setInput(right.numpy(), "right")
    return net.forward("disparity").copy()


def expected(network, left, right):
    with torch.no_grad():
        return network.eval()(left, right).numpy()


def conv(*arguments, **options):
    torch.manual_seed(0)
    return {"conv": nn.Conv2d(*arguments, **options)}


def up(*arguments, **options):
    torch.manual_seed(0)
    return {"conv": nn.ConvTranspose2d(*arguments, **options)}


def norm(channels, **others):
    torch.manual_seed(1)
    module = nn.BatchNorm2d(channels)
    for tensor in (module.weight, module.bias, module.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(module.running_var, 0.5, 2)
    return {"norm": module, **others}


def double(x, factor=2):
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def through(self, left, right):
    return self.conv(left) + 0 * right[:, :1]


def fold(x):
    return x.reshape(-1, 1, *x.shape[2:])


PLANES = torch.arange(3.0)[:, None, None]
CASES = {
    "convolution": (through, conv(3, 8, 3, padding=1)),
    "convolution stride": (lambda s, a, b: s.conv(a + b), conv(3, 8, (3, 5), stride=(2, 1), padding=(1, 2))),
    "convolution dilated, grouped": (through, conv(3, 6, 3, padding=2, dilation=2, groups=3)),
    "convolution no bias": (through, conv(3, 4, 1, bias=False)),
    "transposed": (lambda s, a, b: s.conv(a) + s.conv(b), up(3, 4, 4, stride=2, padding=1)),
    "transposed output padding": (lambda s, a, b: s.conv(a - b), up(3, 6, 3, stride=2, padding=1, output_padding=1)),
    "transposed grouped": (lambda s, a, b: s.conv(a - b), up(3, 6, 2, stride=2, groups=3)),
    "batch norm folded": (lambda s, a, b: s.norm(s.conv(a - b)), norm(6, **conv(3, 6, 3))),
    "batch norm folded, transposed, grouped": (
        lambda s, a, b: s.norm(s.conv(a - b)), norm(6, **up(3, 6, 2, stride=2, groups=3))
    ),
    "batch norm not folded": (
        lambda s, a, b: torch.cat([s.norm(y := s.conv(a - b)), y], 1), norm(6, **conv(3, 6, 3))
    ),
    "batch norm alone": (lambda s, a, b: s.norm(a) + b, norm(3)),
    "max pool": (lambda s, a, b: F.max_pool2d(a + b, 3, 2, 1), {}),
    "max pool cut": (lambda s, a, b: F.max_pool2d((a + b)[..., :15], 2), {}),
    "average pool": (lambda s, a, b: F.avg_pool2d(a + b, 2), {}),
    "average pool padded": (lambda s, a, b: F.avg_pool2d(a + b, 3, 1, 1), {}),
    "global pool": (lambda s, a, b: F.adaptive_avg_pool2d(a, 1) * b, {}),
    "relu": (lambda s, a, b: F.relu(a) + F.leaky_relu(b, 0.2), {}),
    "curves": (lambda s, a, b: torch.sigmoid(a) + torch.tanh(b) + F.elu(a - b, 0.7), {}),
    "silu": (lambda s, a, b: F.silu(a) + F.hardswish(b), {}),
    "prelu": (lambda s, a, b: s.prelu(a) + b, {"prelu": nn.PReLU(3, 0.3)}),
    "relu6": (lambda s, a, b: F.relu6(9 * a) + b, {}),
    "arithmetic": (lambda s, a, b: (2 * a - b / 4 + 1) * (3 - b) - (-a), {}),
    "alpha": (lambda s, a, b: torch.add(a, b, alpha=0.3), {}),
    "quotient": (lambda s, a, b: a / (1 + b * b), {}),
    "powers": (lambda s, a, b: a.abs().sqrt() + (b**2 + 1).rsqrt() + b.abs().pow(1.5), {}),
    "exp": (lambda s, a, b: torch.exp(a) - (-b).exp(), {}),
    "abs and clamp": (lambda s, a, b: a.abs().clamp(0, 1) + b.clamp(-0.5, 0.5) + a.clamp(max=0.3), {}),
    "maximum": (lambda s, a, b: torch.maximum(a, b) - torch.minimum(a, 2 * b), {}),
    "constants per channel": (
        lambda s, a, b: (a - torch.tensor([1.0, 2, 3])[:, None, None]) / torch.tensor([0.5, 2, 4])[:, None, None] + b,
        {},
    ),
    "one channel against planes": (lambda s, a, b: (PLANES - a[:, :1]).abs() * b[:, :1], {}),
    "columns minus an image": (lambda s, a, b: (torch.arange(16.0) - a) + b, {}),
    "parameter": (lambda s, a, b: s.weight * a + b, {"weight": nn.Parameter(torch.tensor(1.7))}),
    "softmax": (lambda s, a, b: torch.softmax(8 * a, 1) + b, {}),
    "softmax along rows": (lambda s, a, b: torch.softmax(a, 2) + b, {}),
    "mean and sum": (lambda s, a, b: a.mean(1, keepdim=True) + b.sum(1, keepdim=True), {}),
    "mean over the image": (lambda s, a, b: a.mean((2, 3), keepdim=True) + b - b.mean(3, keepdim=True), {}),
    "amax": (lambda s, a, b: a.amax(1, keepdim=True) + b.amin(1, keepdim=True), {}),
    "concatenation": (lambda s, a, b: torch.cat([a, b, a[:, 1:]], 1), {}),
    "concatenation of constants": (
        lambda s, a, b: torch.cat([a, torch.ones(1, 2, 12, 16), b, torch.arange(16.0).expand(1, 1, 12, 16)], 1), {}
    ),
    "batch": (lambda s, a, b: torch.cat(list(s.conv(torch.cat([a, b])).chunk(2)), 1), conv(3, 4, 3)),
    "slices": (lambda s, a, b: a[:, 1:2, 2:9, 3:-2] + b[:, 2:, -9:-2, 1:12], {}),
    "shifts": (
        lambda s, a, b: torch.cat([a * F.pad(b, (4, 0, 0, 0))[..., 4 - d : 20 - d] for d in range(5)], 1), {}
    ),
    "planes moved": (
        lambda s, a, b: torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        + torch.cat([torch.zeros_like(a[:, :1]), b[:, :-1]], 1), {}
    ),
    "every second": (lambda s, a, b: a[..., ::2, 1::2] + b[..., 1::2, ::2], {}),
    "zeros around": (lambda s, a, b: F.pad(a, (1, 2, 3, 0)) + F.pad(b, (2, 1, 0, 3), value=0.5), {}),
    "more zeros than pixels": (lambda s, a, b: F.pad(a, (20, 0)) + F.pad(b, (0, 20)), {}),
    "negative padding": (lambda s, a, b: F.pad(a, (-1, 2)) + F.pad(b, (1, 0)), {}),
    "replication": (lambda s, a, b: F.pad(a, (1, 2, 3, 1), mode="replicate") + F.pad(b, (3, 0, 0, 4)), {}),
    "into the batch": (lambda s, a, b: s.conv(fold(a)).reshape(1, 6, 12, 16) + b[:, :1], conv(1, 2, 3, padding=1)),
    "select and stack": (lambda s, a, b: torch.stack([a[:, 0], b[:, 1]], 1), {}),
    "transpose": (lambda s, a, b: (a.transpose(2, 3) * 2).transpose(3, 2) + b, {}),
    "double": (lambda s, a, b: double(a) - double(b), {}),
    "threefold": (lambda s, a, b: double(a + b, 3), {}),
    "fourfold": (lambda s, a, b: double(a + b, 4), {}),
    "rows alone": (
        lambda s, a, b: F.interpolate(a + b, size=(48, 16), mode="bilinear", align_corners=False), {}
    ),
    "by ratios": (
        lambda s, a, b: F.interpolate(a - b, size=(15, 24), mode="bilinear", align_corners=False), {}
    ),
    "larger and back": (
        lambda s, a, b: F.interpolate(
            F.interpolate(a + b, size=(15, 20), mode="bilinear", align_corners=False), size=(12, 16), mode="bilinear"
        ), {}
    ),
    "nearest": (lambda s, a, b: F.interpolate(a + b, scale_factor=2.0), {}),
    "shuffle": (lambda s, a, b: F.pixel_shuffle(torch.cat([a, b, a[:, :2]], 1), 2), {}),
    "unshuffle": (lambda s, a, b: F.pixel_unshuffle(a + b, 2), {}),
    "a pattern": (lambda s, a, b: a * torch.arange(16.0) + torch.arange(12.0)[:, None] * b, {}),
    "flip": (lambda s, a, b: a.flip(1) + b.flip(2), {}),
    "unfold": (lambda s, a, b: a.unfold(3, 9, 2).movedim(-1, 2).flatten(3) + b.unfold(3, 9, 2).mean(), {}),
    "five axes": (
        lambda s, a, b: F.relu(a.reshape(1, 3, 2, 6, 16).transpose(1, 2) + b.reshape(1, 3, 2, 6, 16).transpose(1, 2)
        * torch.arange(3.0)[:, None, None]).flatten(1, 2), {}
    ),
    "repeat and expand": (lambda s, a, b: a[:, :1].expand(-1, 3, -1, -1) + b[:, 1:2].repeat(1, 3, 1, 1), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_lowering(case, tmp_path):
    """The whole image is compared, so borders are too."""
    function, modules = CASES[case]
    network = Net(function, **modules)
    write_files(to_layers(network, Request(SIZE)), "net", tmp_path)
    left, right = images()
    wanted = expected(network, left, right)
    assert wanted.std() > 0.05
    np.testing.assert_allclose(in_opencv(tmp_path, left, right), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "case",
    ["shifts", "double", "exp", "powers", "alpha", "transposed grouped", "batch norm not folded", "into the batch"],
)
def test_mnn_reads_the_same(case):
    pytest.importorskip("MNN")
    function, modules = CASES[case]
    network = Net(function, **modules)
    left, right = images(seed=1)
    found = read_again(to_layers(network, Request(SIZE)), [left.numpy(), right.numpy()], "disparity")
    np.testing.assert_allclose(found, expected(network, left, right), atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def network():
    return small_plummet()


@pytest.fixture(scope="module")
def artifact(network, tmp_path_factory):
    return export(
        network, "caffe", tmp_path_factory.mktemp("caffe"), (64, 96), verify_on="procedural:2,seed=5,size=48x96"
    )


def test_plummet_is_verified(artifact):
    record = artifact.manifest.verification
    assert record["status"] == "verified"
    assert record["mean_difference"] < 1e-4
    assert sorted(artifact.manifest.files) == ["model.caffemodel", "model.prototxt"]


def test_plummet_in_opencv_and_in_mnn(network, artifact):
    left, right = (image.abs().clamp(0, 1) for image in images((64, 96)))
    wanted = expected(network, left, right)
    assert np.abs(in_opencv(artifact.folder, left, right) - wanted).max() < 1e-3
    pytest.importorskip("MNN")
    found = read_again(to_layers(network, Request((64, 96))), [left.numpy(), right.numpy()], "disparity")
    assert np.abs(found - wanted).max() < 1e-3
    assert artifact.manifest.made_with["second_reader"].startswith("MNN")


def test_the_artifact_is_a_predictor(network, artifact):
    pair = noise_pair(50, 70)
    padded = [np.pad(image, ((0, 14), (0, 26), (0, 0)), mode="edge") for image in pair]
    wanted = leadline.predict.NetworkPredictor(network, "cpu").predict(*padded)[:50, :70]
    np.testing.assert_allclose(leadline.load(artifact.folder).predict(*pair), wanted, atol=1e-2)


def test_the_prototxt_is_text_that_says_the_same_as_the_weights(network, artifact):
    layers = to_layers(network, Request((64, 96)))
    net = text_format.Parse((artifact.folder / "model.prototxt").read_text(), message_types()["NetParameter"]())
    assert [layer.type for layer in net.layer] == [layer.type for layer in layers]
    assert [layer.name for layer in net.layer if layer.type == "Input"] == ["left", "right"]
    assert net.layer[-1].name == net.layer[-1].top[0] == "disparity"
    stored = type(net).FromString((artifact.folder / "model.caffemodel").read_bytes())
    weights = sum(len(blob.data) for layer in stored.layer for blob in layer.blobs)
    assert 4 * weights < (artifact.folder / "model.caffemodel").stat().st_size < 4 * weights + 200_000
    for layer in stored.layer:
        del layer.blobs[:]
    assert stored == net


def test_no_batch_norm_is_left_and_every_top_is_read(artifact):
    text = (artifact.folder / "model.prototxt").read_text()
    assert "BatchNorm" not in text
    tops, bottoms = (re.findall(rf'{kind}: "(.*)"', text) for kind in ("top", "bottom"))
    assert len(tops) == len(set(tops))
    assert set(tops) - set(bottoms) == {"disparity"}


def test_field_numbers_are_caffes(tmp_path):
    """OpenCV knows Caffe's own messages: a caffemodel whose layer or blobs it did not find would leave it without
    weights, and a structure that differs from the text would be another network."""
    network = Net(through, **conv(3, 4, 3, padding=1))
    write_files(to_layers(network, Request(SIZE)), "net", tmp_path)
    content = (tmp_path / "model.caffemodel").read_bytes()
    kernel = network.conv.weight.detach().numpy().tobytes()
    # field 5 of BlobProto, packed floats; then field 7, a BlobShape
    assert bytes([5 << 3 | 2, 0xB0, 3]) + kernel in content
    assert bytes([7 << 3 | 2, 6, 1 << 3 | 2, 4, 4, 3, 3, 3]) in content
    left, right = images()
    assert np.abs(in_opencv(tmp_path, left, right) - expected(network, left, right)).max() < 1e-5


REFUSED = {
    "grid_sample": (lambda s, a, b: F.grid_sample(a, b[:, :2].permute(0, 2, 3, 1), align_corners=True), "shifts"),
    "gather": (lambda s, a, b: a.gather(1, b.argmax(1, keepdim=True)), "softmax"),
    "topk": (lambda s, a, b: a.topk(2, 1)[0] + b[:, :1], "local_soft_argmin"),
    "conv3d": (lambda s, a, b: s.conv(a[:, None])[:, 0] + b, "PlaneConv"),
    "layer norm": (lambda s, a, b: F.layer_norm(a, (16,)) + b, "BatchNorm2d"),
    "aligned corners": (
        lambda s, a, b: F.interpolate(a + b, scale_factor=2.0, mode="bilinear", align_corners=True), "align_corners"
    ),
    "no simple ratio": (
        lambda s, a, b: F.interpolate(F.pad(a + b, (0, 1, 0, 7)), size=(20, 18), mode="bilinear"), "no simple ratio"
    ),
    "part of a pixel": (lambda s, a, b: F.interpolate(a + b, scale_factor=1.3, mode="bilinear"), "part of a pixel"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_caffe_cannot_say(case, tmp_path):
    function, words = REFUSED[case]
    network = Net(function, conv=nn.Conv3d(1, 1, 3, padding=1))
    with pytest.raises(UserError, match=words) as error:
        convert(network, tmp_path, Request(SIZE))
    assert "\n" not in str(error.value)
    assert not list(Path(tmp_path).iterdir())


def test_all_places_are_named_at_once():
    class Warp(nn.Module):
        def forward(self, a, b):
            return F.grid_sample(a, b[:, :2].permute(0, 2, 3, 1), align_corners=True).topk(1, 1)[0]

    network = Net(lambda s, a, b: s.matching(a, b) + F.layer_norm(b, (16,)), matching=Warp())
    found = unsupported(network, SIZE)
    assert [(entry.module, entry.operation) for entry in found][:2] == [
        ("matching", "grid_sampler_2d"), ("matching", "topk"),
    ]  # fmt: skip
    assert "layer_norm" in found[2].operation
    assert str(found[0]).startswith("matching: grid_sampler_2d: ")
    assert unsupported(Net(through, **conv(3, 4, 3, padding=1)), SIZE) == []


@pytest.mark.slow
def test_mobilestereonet_2d(tmp_path):
    torch.manual_seed(0)
    network = leadline.create("mobilestereonet-2d").eval()
    artifact = export(network, "caffe", tmp_path, (64, 192), verify_on="procedural:1,seed=5,size=64x192")
    assert artifact.verified


def test_opencv_without_caffe(artifact, monkeypatch):
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe")
    with pytest.raises(UserError, match="opencv-python-headless<5"):
        leadline.load(artifact.folder)


def test_a_model_that_opencv_refuses(artifact, tmp_path):
    from leadline.artifacts.caffe_runtime import open_session

    for name in artifact.manifest.files:
        (tmp_path / name).write_bytes(b"\x00nonsense")
    with pytest.raises(UserError, match="does not load it"):
        open_session(tmp_path, artifact.manifest)
