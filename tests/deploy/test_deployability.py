"""What the lint says is what the conversion does."""

import json
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from deploy.networks import small_plummet
from torch import nn

from leadline import UserError
from leadline.cli.main import main
from leadline.deploy import check, export
from leadline.models import registry
from leadline.models.network import Network, Task

SIZE = (16, 32)


class Shifted(nn.Module):
    """A function of both images in a module of its own, so that it has a path."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, left, right):
        return self.function(self.conv(left), self.conv(right))


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


class Net(Network):
    task = Task.STEREO
    name = "net"
    min_size = SIZE

    def __init__(self, function):
        super().__init__(Config())
        torch.manual_seed(0)
        self.matching = Shifted(function)

    def forward_all(self, left, right):
        return [F.relu(self.matching(left, right).mean(1, keepdim=True))]


OPERATORS = {
    "topk": lambda a, b: (a + b).topk(2, 1)[0],
    "sort": lambda a, b: (a + b).sort(1)[0],
    "unfold": lambda a, b: F.pad(b, (8, 0)).unfold(3, 32, 1).movedim(-2, 1).mean(1) * a,
    "gather": lambda a, b: a.gather(1, b.argmax(1, keepdim=True)),
    "conv_transpose3d": lambda a, b: F.conv_transpose3d(
        a[:, :, None], torch.ones(4, 2, 3, 3, 3) / 27, stride=2, padding=1, output_padding=1
    )[:, :, 0, ::2, ::2] + b.mean(1, keepdim=True),
    "grid_sample": lambda a, b: F.grid_sample(a, b[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=True),
    "slices": lambda a, b: a * F.pad(b, (3, 0))[..., :32],
}  # fmt: skip
EXTRA = {"tflite": "litert_torch", "caffe": "google.protobuf", "ncnn": "pnnx", "onnx": "onnxruntime"}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("target", EXTRA)
def test_the_lint_and_the_conversion_agree(target, operator, tmp_path):
    pytest.importorskip(EXTRA[target])
    network = Net(OPERATORS[operator]).eval()
    (verdict,) = check(network, [target], SIZE)
    try:
        went = export(
            network, target, tmp_path, SIZE, verify_on=f"procedural:1,seed=1,size={SIZE[0]}x{SIZE[1]}"
        ).verified
    except UserError:
        went = False
    assert verdict.goes == went, verdict
    assert verdict.goes == (not verdict.findings)
    if operator == "slices":
        assert verdict.goes
    if operator in ("topk", "sort") and target in ("tflite", "ncnn", "caffe"):
        assert verdict.findings[0].module == "matching"
        assert verdict.findings[0].operation.startswith(operator)
        assert "local_soft_argmin" in verdict.findings[0].advice


def test_a_network_that_goes():
    pytest.importorskip("google.protobuf")
    (verdict,) = check(small_plummet(), ["caffe"])
    assert verdict.goes
    assert verdict.findings == ()


def test_a_target_whose_libraries_are_missing_is_not_tried(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    (verdict,) = check(small_plummet(), ["onnx"])
    assert verdict.status == "not tried"
    assert "pip install 'leadline[onnx]'" in verdict.findings[0].reason


def test_names_and_sizes_that_cannot_be():
    with pytest.raises(UserError, match="did you mean 'onnx'"):
        check(small_plummet(), ["onyx"])
    with pytest.raises(UserError, match="multiples of 16"):
        check(small_plummet(), ["onnx"], (60, 100))


def run(*arguments):
    return CliRunner().invoke(main, ["export", *arguments])


def test_at_the_terminal(monkeypatch):
    """A name without weights will do."""
    pytest.importorskip("onnxruntime")
    for name in ("topk", "slices"):
        monkeypatch.setitem(registry._FACTORIES, f"net-{name}", lambda function=OPERATORS[name]: Net(function).eval())
    found = run("net-topk", "--check", "--to", "caffe", "--size", "16x32", "--json")
    assert found.exit_code == 1, found.output
    (verdict,) = json.loads(found.stdout)
    assert verdict["status"] == "would not go"
    assert [(place["module"], place["operation"]) for place in verdict["findings"]] == [("matching", "topk")]
    found = run("net-slices", "--check", "--to", "onnx", "--size", "16x32")
    assert found.exit_code == 0, found.output
    assert "goes" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--to", "onnx"], "-o DIR"), (["--to", "onnx", "--check", "-o", "x"], "writes nothing")],
)
def test_calls_that_cannot_work(arguments, message):
    found = run("plummet-s", *arguments)
    assert found.exit_code == 2
    assert message in found.stderr
