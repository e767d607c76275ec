import pytest
import torch

import leadline
from leadline import UserError


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    """A network's tensors, every one of them different from a new network's, under the original's names."""
    torch.manual_seed(7)
    return {
        key: value + torch.rand_like(value) if value.is_floating_point() else value + 3
        for key, value in leadline.create("mobilestereonet-3d").state_dict().items()
    }


def official(weights: dict[str, torch.Tensor]) -> dict:
    """A checkpoint as the original's training writes it: DataParallel's prefix, optimizer and epoch beside."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    model = {f"module.{key}": value for key, value in weights.items()}
    return {"epoch": 19, "model": model, "optimizer": optimizer.state_dict()}


def test_an_official_file(original, tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save(official(original), path)
    network = leadline.import_upstream("mobilestereonet-3d", path, max_disparity=64)
    assert not network.training
    assert network.name == "mobilestereonet-3d"
    assert network.config.max_disparity == 64
    assert network.provenance["file"] == "best.ckpt"
    assert "cogsys-tuebingen" in network.provenance["upstream"]
    for key, value in network.state_dict().items():
        assert torch.equal(value, original[key]), key


def test_state_dicts_with_and_without_prefix(original):
    for content in (original, official(original), official(original)["model"]):
        network = leadline.import_upstream("mobilestereonet-3d", content)
        assert torch.equal(network.classif3[2].weight, original["classif3.2.weight"])


def test_survives_a_checkpoint_of_our_own(original, tmp_path):
    network = leadline.import_upstream("mobilestereonet-3d", original, max_disparity=64)
    leadline.save(network, tmp_path / "imported.safetensors")
    from leadline.checkpoint import load_network

    again = load_network(tmp_path / "imported.safetensors")
    assert again.provenance == network.provenance
    assert torch.equal(again.dres0[0].conv[0].weight, network.dres0[0].conv[0].weight)


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_tensors_that_do_not_fit_are_named(original):
    broken = dict(original)
    del broken["dres0.0.conv.0.weight"]
    broken["extra.weight"] = torch.zeros(1)
    broken["classif3.2.weight"] = torch.zeros(32, 1, 3, 3)
    with pytest.raises(UserError) as error:
        leadline.import_upstream("mobilestereonet-3d", official(broken))
    message = one_line(error)
    assert "missing dres0.0.conv.0.weight" in message
    assert "unexpected extra.weight" in message
    assert "classif3.2.weight is (32, 1, 3, 3) for (1, 32, 3, 3, 3)" in message


def test_another_networks_checkpoint(original):
    with pytest.raises(UserError, match=r"does not fit mobilestereonet-2d.*more"):
        leadline.import_upstream("mobilestereonet-2d", original)


class Harmful:
    def __reduce__(self):
        return print, ("code of the file was run",)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "not a PyTorch checkpoint"),
        (lambda path: path.write_bytes(b""), "not a readable PyTorch checkpoint"),
        (lambda path: torch.save({"model": Harmful()}, path), "plain tensors"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
    ],
)
def test_files_that_are_no_checkpoint(make, reason, tmp_path, capsys):
    make(tmp_path / "weights.ckpt")
    with pytest.raises(UserError, match=reason) as error:
        leadline.import_upstream("mobilestereonet-2d", tmp_path / "weights.ckpt")
    assert "weights.ckpt" in one_line(error)
    assert "code of the file" not in capsys.readouterr().out


def test_a_truncated_file(original, tmp_path):
    path = tmp_path / "weights.ckpt"
    torch.save(official(original), path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match="truncated"):
        leadline.import_upstream("mobilestereonet-3d", path)


def test_names_without_an_original():
    with pytest.raises(UserError, match="did you mean 'mobilestereonet-2d'"):
        leadline.import_upstream("mobilestereonet2d", {})
