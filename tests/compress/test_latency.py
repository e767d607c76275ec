"""Time as the target: by a table of a device, and measured here."""

import pytest
import torch
from compress.networks import Config, pair, small_plummet

from leadline.compress import prune
from leadline.compress.choice import weighted_layers
from leadline.compress.latency import DeviceTable, relative_latency, write_device_table
from leadline.compress.sensitivity import sensitivity
from leadline.errors import UserError
from leadline.models import Network
from leadline.surgeries.prune_channels import widths


def made_up_table(path, network) -> None:
    """A device that takes 1 ms per pair of channels, and 500 ms for the rest."""
    rows = ["layer,in_channels,out_channels,milliseconds", "rest,0,0,500"]
    for name, module in weighted_layers(network).items():
        outputs, inputs = widths(module)
        rows += [f"{name},{i},{o},{i * o}" for i in (1, inputs) for o in (1, outputs)]
    path.write_text("\n".join(rows))


def test_a_table_is_interpolated(tmp_path) -> None:
    (tmp_path / "t.csv").write_text(
        "layer,in_channels,out_channels,milliseconds\na,4,8,10\na,8,8,18\na,4,4,6\na,8,4,10\nrest,0,0,3\n"
    )
    table = DeviceTable.read(tmp_path / "t.csv")

    network = Network(Config())
    network.a = torch.nn.Conv2d(6, 6, 3)
    assert table.milliseconds(network) == pytest.approx(3 + (6 + 10 + 10 + 18) / 4)
    network.b = torch.nn.Conv2d(6, 6, 3)
    with pytest.raises(UserError, match="has no layer 'b'"):
        table.milliseconds(network)


@pytest.mark.parametrize(
    ("content", "told"),
    [("layer,in\nx,1\n", "line 2 is not of the form"), ("", "no layer in it"), ("\0\xff", "no layer in it")],
)
def test_a_broken_table_is_told(content: str, told: str, tmp_path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=told):
        DeviceTable.read(tmp_path / "t.csv")


def test_pruning_to_a_devices_time(tmp_path) -> None:
    network = small_plummet()
    made_up_table(tmp_path / "t.csv", network)
    table = DeviceTable.read(tmp_path / "t.csv")
    smaller = prune(network, latency=0.8, criterion="l1", device_table=tmp_path / "t.csv")
    share = table.milliseconds(smaller) / table.milliseconds(network)
    assert 0.7 < share <= 0.8


@pytest.mark.parametrize("runtime", ["pytorch", "onnx"])
def test_a_table_is_measured_here(runtime: str, tmp_path) -> None:
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
    network = small_plummet()
    table = DeviceTable.read(write_device_table(network, tmp_path / "t.csv", runtime, (32, 64)))
    assert set(table.points) == set(weighted_layers(network))
    assert all(milliseconds > 0 for points in table.points.values() for milliseconds in points.values())
    assert table.milliseconds(network) > 0


def test_time_relative_to_itself() -> None:
    network = small_plummet()
    assert 0.1 < relative_latency(network, "pytorch", (32, 64))(network) < 10


def test_sensitivity(tmp_path) -> None:
    network = small_plummet()
    found = sensitivity(network, "procedural:1,seed=5,size=48x64", amounts=(0.5,), layers=["guide", "encoder.fuse"])
    assert {row.granularity for row in found.rows} == {"weight", "vector", "kernel", "filter"}
    assert {row.layer for row in found.rows} == {"guide.0", "encoder.fuse.0"}
    assert all(row.epe_change_px == pytest.approx(row.epe_px - found.epe_px) for row in found.rows)
    lines = found.to_csv(tmp_path / "s.csv").read_text().splitlines()
    assert len(lines) == 1 + len(found.rows)
    assert found.draw(tmp_path / "s.png").stat().st_size > 1000
    assert torch.equal(network(*pair()), small_plummet()(*pair()))  # it is not touched
