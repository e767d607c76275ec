"""The matrix says what it saw: agreement, difference, refusal; and it can be taken up again."""

import pytest

from leadline import UserError
from leadline.blocks import CATALOGUE, matrix
from leadline.blocks.matrix import AGREES, DIFFERS, REFUSED, measure, read_entries, write_entries
from leadline.blocks.wrapped import WrappedBlock

pytest.importorskip("onnxruntime")


def test_a_block_that_goes_one_that_does_not_and_resuming(tmp_path):
    seen = []
    entries = measure(["separable", "deformable-v2"], ["onnx", "caffe"], progress=seen.append)
    found = {(entry.block, entry.target): entry for entry in entries}
    assert found["separable", "onnx"].result == AGREES
    assert found["separable", "onnx"].error < 1e-5
    assert found["separable", "onnx"].of_plain > 0
    assert found["deformable-v2", "caffe"].result == REFUSED
    assert "grid_sampler" in found["deformable-v2", "caffe"].reason
    assert len(seen) == 4
    path = write_entries(tmp_path / "matrix.csv", entries)
    known = read_entries(path)
    again = measure(["separable", "deformable-v2"], ["onnx", "caffe"], known, progress=seen.append)
    assert len(seen) == 4
    assert again == known


def test_a_model_that_says_something_else_is_found_out(monkeypatch):
    honest = matrix._session

    def wrong(network, target, place, threads):
        session = honest(network, target, place, threads)
        return (lambda *images: session(*images) + 0.1) if network.config.block == "grouped" else session

    monkeypatch.setattr(matrix, "_session", wrong)
    (entry,) = measure(["grouped"], ["onnx"])
    assert entry.result == DIFFERS
    assert entry.error > 0.01
    assert entry.of_plain is None
    assert "at most" in entry.reason


def test_a_file_that_is_no_matrix_and_names_that_are_not(tmp_path):
    (tmp_path / "x.csv").write_text("block,target\na,b\n")
    with pytest.raises(UserError, match="not a matrix"):
        read_entries(tmp_path / "x.csv")
    with pytest.raises(UserError, match="did you mean 'tflite'"):
        measure(["separable"], ["tflit"])
    with pytest.raises(UserError, match="did you mean 'separable'"):
        measure(["seperable"], ["onnx"])


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_block_runs_as_a_network(name):
    import torch

    network = WrappedBlock(CATALOGUE[name], 32).eval()
    images = [torch.rand(1, 3, 32, 48) for _ in range(min(len(CATALOGUE[name].inputs), 2))]
    with torch.no_grad():
        out = network(*images)
    assert out.isfinite().all()
    assert out.dim() <= 4
    assert out.std() > 0


def test_times_can_be_left_out_and_added_later():
    (entry,) = measure(["conv-1x1"], ["onnx"], times=False)
    assert entry.result == AGREES
    assert entry.milliseconds is None
    assert measure(["conv-1x1"], ["onnx"], [entry], times=False) == [entry]
    (timed,) = measure(["conv-1x1"], ["onnx"], [entry])
    assert timed.milliseconds > 0
