"""One value spread over a map: the same function, and right in LiteRT, whose converter gets the original wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from leadline.deploy.broadcast import without_spreading
from leadline.deploy.fold import fold_batchnorm


class Whole(nn.Module):
    """The mean of the map beside the map, as in an ASPP, and a convolution over both."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.join = nn.Conv2d(4, 4, 1), nn.Conv2d(8, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.join(torch.cat([self.mean(x), whole], 1))


def _made() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Whole().eval(), torch.rand(2, 1, 4, 8, 12)[0]


def test_the_same_function() -> None:
    network, x = _made()
    module = without_spreading(fold_batchnorm(network, (x,)))
    assert "aten.expand.default" not in [str(node.target) for node in module.graph.nodes]
    torch.testing.assert_close(module(x), network(x))


def test_litert_agrees(tmp_path: Path) -> None:
    litert_torch = pytest.importorskip("litert_torch")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    network, x = _made()
    litert_torch.convert(without_spreading(fold_batchnorm(network, (x,))), (x,)).export(str(tmp_path / "m.tflite"))
    session = interpreter.Interpreter(str(tmp_path / "m.tflite"))
    session.allocate_tensors()
    session.set_tensor(session.get_input_details()[0]["index"], x.numpy())
    session.invoke()
    found = session.get_tensor(session.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-5)
