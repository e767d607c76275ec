"""Small networks to export, and pairs for them."""

import numpy as np
import torch
from predict.shifts import Local

import leadline

SMALL = {"stem": 8, "quarter": 8, "eighth": 16, "matching": 8, "hidden_quarter": 8, "hidden_eighth": 8,
         "hidden_sixteenth": 8, "hidden_thirtysecond": 0, "max_disparity": 32, "scale": 1.0}  # fmt: skip


def small_plummet():
    """Untrained, but with BatchNorms as training leaves them, negative scales too, so that folding can go wrong."""
    torch.manual_seed(0)
    network = leadline.create("plummet-s", **SMALL)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            scale = 0.3 + torch.randn(module.weight.shape, generator=generator)
            module.weight.data.copy_(scale.sign() * scale.abs().clamp_min(0.02))  # near 0, a bias is millions of steps
            module.bias.data.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
    return network.eval()


def local_filter():
    """A network whose every output depends on a few pixels, so that tiles can be compared with the whole."""
    network = Local()
    network.name = "local"
    return network.eval()


def noise_pair(height, width, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype) for _ in range(2))
