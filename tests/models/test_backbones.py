"""Published weights into encoders: the names and shapes are those of torchvision and timm, written down apart."""

from pathlib import Path

import pytest
import torch
from published_backbones import deit, mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, resnet18
from safetensors.torch import save_file

from leadline.errors import UserError
from leadline.models import create
from leadline.models.backbones import load_backbone

BACKBONES = {
    "mobilenetv2": mobilenet_v2,
    "mobilenetv3": mobilenet_v3_large,
    "mobilenetv3-small": mobilenet_v3_small,
    "resnet18": resnet18,
}
PUBLISHED = {  # parameters, as torchvision's documentation states them
    "mobilenetv2": 3_504_872,
    "mobilenetv3": 5_483_032,
    "mobilenetv3-small": 2_542_856,
    "resnet18": 11_689_512,
}
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _network(backbone: str, **config):
    torch.manual_seed(0)
    return create("fastdepth", backbone=backbone, decoder=4, **config)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_lists_here_are_whole_networks(backbone: str):
    """The count of the parameters is the published one, so that no layer of the lists is made up or left out."""
    state = BACKBONES[backbone]("torchvision")
    count = sum(value.numel() for key, value in state.items() if not key.endswith(BUFFERS))
    assert count == PUBLISHED[backbone]


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_tensor_of_the_encoder_is_loaded(backbone: str, layout: str):
    network = _network(backbone)
    state = BACKBONES[backbone](layout)
    loaded = load_backbone(network, state)
    assert sorted(loaded.loaded) == sorted(network.encoder.state_dict())
    assert len(loaded.loaded) + len(loaded.skipped) == len(state)
    assert "loaded" in str(loaded)
    assert not any("block" in key and "blocks.6" not in key and "blocks.5.0" not in key for key in loaded.skipped)


@pytest.mark.parametrize("backbone", ["mobilenetv2", "mobilenetv3", "mobilenetv3-small"])
def test_both_layouts_of_the_same_weights_give_the_same_features(backbone: str):
    """timm's list is in torchvision's order, so that the same generator fills both with the same numbers."""
    features = []
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for layout in ("torchvision", "timm"):
        network = _network(backbone).eval()
        load_backbone(network, BACKBONES[backbone](layout, seed=4))
        with torch.no_grad():
            features.append(network.encoder(image))
    for one, two in zip(*features, strict=True):
        # torchvision's MobileNetV3 has another eps in BatchNorm, and so other features by design
        tolerance = 1e-6 if backbone == "mobilenetv2" else 0.05
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


def test_the_eps_of_torchvision_goes_into_the_variance():
    """(x - m) / sqrt(v + 1e-3) with our eps of 1e-5."""
    network = _network("mobilenetv3").eval()
    state = mobilenet_v3_large("torchvision", seed=2)
    load_backbone(network, state)
    norm = network.encoder.features[0][1]
    x = torch.randn(1, 16, 3, 3)
    mean, variance = state["features.0.1.running_mean"], state["features.0.1.running_var"]
    weight, bias = state["features.0.1.weight"], state["features.0.1.bias"]
    shape = (1, -1, 1, 1)
    expected = (x - mean.view(shape)) / (variance.view(shape) + 1e-3).sqrt() * weight.view(shape) + bias.view(shape)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(("network", "width", "distilled"), [("dpt-s", 192, False), ("dpt-m", 384, True)])
def test_vision_transformers(network: str, width: int, distilled: bool):
    net = create(network)
    state = deit(width, distilled)
    loaded = load_backbone(net, state)
    assert sorted(loaded.loaded) == sorted(net.encoder.state_dict())
    query, key, value = state["blocks.3.attn.qkv.weight"].chunk(3)
    attention = net.encoder.layers[3].attention
    assert torch.equal(attention.query.weight, query)
    assert torch.equal(attention.key.weight, key)
    assert torch.equal(attention.value.weight, value)
    tokens = 2 if distilled else 1
    patch = state["pos_embed"][0, tokens + 14 * 5 + 9]
    assert torch.equal(net.encoder.positions.map[0, :, 5, 9], patch)
    assert any("no patch" in note for note in loaded.notes)


def test_a_vision_transformer_computes_what_timm_documents():
    """One block by hand: x + proj(softmax(q k / sqrt(d)) v), then x + fc2(gelu(fc1)), each after its norm."""
    net = create("dpt-s").eval()
    state = deit(192, False, seed=3)
    load_backbone(net, state)
    x = torch.randn(1, 6, 192)

    def norm(name: str, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(v, (192,), state[f"{name}.weight"], state[f"{name}.bias"])

    h = norm("blocks.0.norm1", x) @ state["blocks.0.attn.qkv.weight"].T + state["blocks.0.attn.qkv.bias"]
    q, k, v = h.reshape(1, 6, 3, 3, 64).permute(2, 0, 3, 1, 4)
    heard = ((q @ k.transpose(-2, -1) / 8).softmax(-1) @ v).transpose(1, 2).reshape(1, 6, 192)
    y = x + heard @ state["blocks.0.attn.proj.weight"].T + state["blocks.0.attn.proj.bias"]
    h = norm("blocks.0.norm2", y) @ state["blocks.0.mlp.fc1.weight"].T + state["blocks.0.mlp.fc1.bias"]
    y = y + torch.nn.functional.gelu(h) @ state["blocks.0.mlp.fc2.weight"].T + state["blocks.0.mlp.fc2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(net.encoder.layers[0](x), y, rtol=1e-4, atol=1e-4)


def test_files_of_both_kinds_and_their_wrappings(tmp_path: Path):
    state = resnet18("torchvision")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        network = _network("resnet18")
        load_backbone(network, tmp_path / name)
        assert torch.equal(network.encoder.conv1.weight, state["conv1.weight"])


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path):
    network = _network("mobilenetv2")
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 nothing")
    wide = mobilenet_v2("torchvision")
    wide["features.3.conv.0.0.weight"] = torch.zeros(7, 24, 1, 1)
    for weights, told in (
        (resnet18("torchvision"), "does not fit the encoder MobileNetV2"),
        (wide, "is \\(7, 24, 1, 1\\) and"),
        (tmp_path / "nowhere.pth", "no such file"),
        (broken, "not a readable file of tensors"),
    ):
        with pytest.raises(UserError, match=told):
            load_backbone(network, weights)
    assert all(torch.equal(before[key], value) for key, value in network.encoder.state_dict().items())
    with pytest.raises(UserError, match="no published weights that fit"):
        load_backbone(create("fastdepth-s"), resnet18("torchvision"))
    with pytest.raises(UserError, match="another size"):
        load_backbone(create("dpt-s"), deit(384, False))
