"""RAFT's small network and RAFT-Stereo: sizes, iterations, official names, and a recurrence written out by hand."""

import pytest
import torch
import torch.nn.functional as F

import leadline
from leadline import UserError, create


def images(height=128, width=144, batch=1):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


def official_raft_small() -> dict[str, torch.Tensor]:
    """Tensors by the official checkpoint's names and shapes, written down from the published layers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name, out, into, kernel):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into, kernel, kernel), (out,)

    for net, out in (("fnet", 128), ("cnet", 160)):
        conv(f"{net}.conv1", 32, 3, 7)
        into = 32
        for layer, channels in (("layer1", 32), ("layer2", 64), ("layer3", 96)):
            for unit in (0, 1):
                name = f"{net}.{layer}.{unit}"
                conv(f"{name}.conv1", channels // 4, into, 1)
                conv(f"{name}.conv2", channels // 4, channels // 4, 3)
                conv(f"{name}.conv3", channels, channels // 4, 1)
                if unit == 0 and layer != "layer1":
                    conv(f"{name}.downsample.0", channels, into, 1)
                into = channels
        conv(f"{net}.conv2", out, 96, 1)
    block = "update_block"
    conv(f"{block}.encoder.convc1", 96, 196, 1)
    conv(f"{block}.encoder.convf1", 64, 2, 7)
    conv(f"{block}.encoder.convf2", 32, 64, 3)
    conv(f"{block}.encoder.conv", 80, 128, 3)
    for gate in ("convz", "convr", "convq"):
        conv(f"{block}.gru.{gate}", 96, 96 + 146, 3)
    conv(f"{block}.flow_head.conv1", 128, 96, 3)
    conv(f"{block}.flow_head.conv2", 2, 128, 3)
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.randn(shape, generator=generator) * (0.5 / max(1, torch.tensor(shape[1:]).prod()) ** 0.5)
        for key, shape in shapes.items()
    }


def reference_raft_small(w, frame0, frame1, iterations):
    """The published computation from the official tensors alone, correlations sampled one displacement at a time."""

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def encode(x, net, norm):
        def normal(y):
            return F.instance_norm(y) if norm else y

        x = F.relu(normal(conv(x, f"{net}.conv1", 2)))
        for layer in ("layer1", "layer2", "layer3"):
            for unit in (0, 1):
                name = f"{net}.{layer}.{unit}"
                stride = 2 if f"{name}.downsample.0.weight" in w else 1
                y = F.relu(normal(conv(x, f"{name}.conv1")))
                y = F.relu(normal(conv(y, f"{name}.conv2", stride)))
                y = F.relu(normal(conv(y, f"{name}.conv3")))
                x = F.relu(y + (normal(conv(x, f"{name}.downsample.0", 2)) if stride == 2 else x))
        return conv(x, f"{net}.conv2")

    one, two = (encode(2 * frame - 1, "fnet", True) for frame in (frame0, frame1))
    state, context = encode(2 * frame0 - 1, "cnet", False).split([96, 64], 1)
    state, context = torch.tanh(state), F.relu(context)
    _, c, h, wd = one.shape
    volume = torch.einsum("bchw,bcyx->bhwyx", one, two) / c**0.5
    levels = [volume[0].reshape(h * wd, 1, h, wd)]
    for _ in range(3):
        levels.append(F.avg_pool2d(levels[-1], 2))
    y, x = torch.meshgrid(torch.arange(h).float(), torch.arange(wd).float(), indexing="ij")
    flow = torch.zeros(1, 2, h, wd)
    for _ in range(iterations):
        found = []
        for k, level in enumerate(levels):
            lh, lw = level.shape[-2:]
            for dx in range(-3, 4):  # the official order: columns outside
                for dy in range(-3, 4):
                    at_x = (x + flow[0, 0]) / 2**k + dx
                    at_y = (y + flow[0, 1]) / 2**k + dy
                    grid = torch.stack([2 * at_x / (lw - 1) - 1, 2 * at_y / (lh - 1) - 1], -1).reshape(h * wd, 1, 1, 2)
                    found.append(F.grid_sample(level, grid, align_corners=True).reshape(1, h, wd))
        correlation = torch.stack(found, 1)
        block = "update_block"
        matched = F.relu(conv(correlation, f"{block}.encoder.convc1"))
        moved = F.relu(conv(F.relu(conv(flow, f"{block}.encoder.convf1")), f"{block}.encoder.convf2"))
        motion = torch.cat([F.relu(conv(torch.cat([matched, moved], 1), f"{block}.encoder.conv")), flow], 1)
        into = torch.cat([context, motion], 1)
        both = torch.cat([state, into], 1)
        z, r = torch.sigmoid(conv(both, f"{block}.gru.convz")), torch.sigmoid(conv(both, f"{block}.gru.convr"))
        q = torch.tanh(conv(torch.cat([r * state, into], 1), f"{block}.gru.convq"))
        state = (1 - z) * state + z * q
        flow = flow + conv(F.relu(conv(state, f"{block}.flow_head.conv1")), f"{block}.flow_head.conv2")
    return 8 * F.interpolate(flow, scale_factor=8, mode="bilinear", align_corners=True)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_raft_small_weights_give_the_published_computation(prefix):
    weights = official_raft_small()
    assert sum(value.numel() for value in weights.values()) == 990_162  # as torchvision's documentation counts RAFT-S
    network = leadline.import_upstream("raft-small", {prefix + key: value for key, value in weights.items()})
    assert sum(parameter.numel() for parameter in network.parameters()) == 990_162
    pair = images()
    with torch.no_grad():
        ours, theirs = network(*pair, iterations=3), reference_raft_small(weights, *pair, iterations=3)
    assert theirs.abs().max() > 1
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-3)


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match="does not fit raft-small"):
        leadline.import_upstream("raft-small", {"fnet.conv1.weight": torch.zeros(64, 3, 7, 7)})


@pytest.mark.parametrize(("name", "channels"), [("raft-small", 2), ("raft-stereo", 1)])
def test_iterations_are_chosen_when_run(name, channels):
    network = create(name, iterations=3).eval()
    pair = images()
    with torch.no_grad():
        every = network.forward_all(*pair)
        assert [tuple(p.shape) for p in every] == [(1, channels, 128, 144)] * 3
        torch.testing.assert_close(network(*pair), every[-1])
        torch.testing.assert_close(network(*pair, iterations=2), every[1])
        assert len(network.forward_all(*pair, iterations=5)) == 5


@pytest.mark.parametrize("name", ["raft-small", "raft-stereo"])
def test_every_parameter_is_trained(name):
    network = create(name, iterations=2).train()
    pair = images(128, 128)
    sum(p.abs().mean() for p in network.forward_all(*pair)).backward()
    unused = {key for key, parameter in network.named_parameters() if parameter.grad is None}
    assert not unused


@pytest.mark.parametrize("iterations", [0, 101])
def test_iterations_out_of_range_are_refused(iterations):
    for name in ("raft-small", "raft-stereo"):
        with pytest.raises(UserError, match="iterations"):
            create(name, iterations=iterations)


def official_raft_stereo(levels: int) -> dict[str, torch.Tensor]:
    """Our own names, with what the official file has besides: a short cut's norm twice, and all three levels."""
    torch.manual_seed(3)
    network = create("raft-stereo", gru_levels=3)
    tensors = {key: torch.rand_like(value.float()).to(value.dtype) for key, value in network.state_dict().items()}
    for key in list(tensors):
        if ".downsample.1." in key:
            tensors[key.replace(".downsample.1.", ".norm3.")] = tensors[key]
    if levels < 3:  # the second gate of the official two-level network has no coarser input
        for gate in ("convz", "convr", "convq"):
            key = f"update_block.gru16.{gate}.weight"
            tensors[key] = tensors[key][:, : 2 * 128]
    return tensors


@pytest.mark.parametrize("levels", [2, 3])
def test_official_raft_stereo_names(levels):
    tensors = official_raft_stereo(levels)
    network = leadline.import_upstream("raft-stereo", tensors, gru_levels=levels)
    for key, value in network.state_dict().items():
        assert torch.equal(value, tensors[key]), key


def test_raft_stereo_real_time_variant():
    network = create(
        "raft-stereo", iterations=2, shared_backbone=True, downsample=3, gru_levels=2, slow_fast=True
    ).eval()
    pair = images(64, 96)
    with torch.no_grad():
        assert network(*pair).shape == (1, 1, 64, 96)


def test_raft_stereo_starts_at_zero_and_moves_left():
    """With a head that always says -0.5 px at 1/4, n iterations give a disparity of 2 n px, positive."""
    network = create("raft-stereo").eval()
    with torch.no_grad():
        network.update_block.flow_head.conv2.weight.zero_()
        network.update_block.flow_head.conv2.bias.copy_(torch.tensor([-0.5, 3.0]))
        disparity = network(*images(64, 96), iterations=4)
    inner = disparity[..., 8:-8, 8:-8]  # beyond the edge RAFT's upsampling sees zeros
    torch.testing.assert_close(inner, torch.full_like(inner, 8.0), atol=1e-4, rtol=0)
