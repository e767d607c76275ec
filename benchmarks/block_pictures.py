"""The pictures of docs/blocks: receptive fields measured by gradients, what blocks do to a signal, how they are built.

    python benchmarks/block_pictures.py [-o docs/blocks/images] [NAME ...]

Nothing is drawn from memory: fields are gradients, masks, spikes and curves are what the blocks give. The exception is
`units`, where the structure of the residual units is drawn as boxes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadline.data import open_data
from leadline.files import write_whole
from leadline.nn.attention.multi_head import EpipolarAttention
from leadline.nn.attention.non_local import NonLocal
from leadline.nn.attention.windowed import WindowedAttention
from leadline.nn.conv import ConvBN, Residual
from leadline.nn.correlation import correlation_volume
from leadline.nn.deconv import Deconvolution, ResizeConv
from leadline.nn.deformable import DeformableConv2d
from leadline.nn.dilated import ASPP, HybridDilated
from leadline.nn.dropout import DropBlock, StochasticDepth
from leadline.nn.gan_losses import KINDS, discriminator_loss, generator_loss
from leadline.nn.partial import PartialConv2d
from leadline.nn.pooling.blur import BlurPool
from leadline.nn.pooling.generalized_mean import GeneralizedMean
from leadline.nn.pooling.soft import SoftPool, StochasticPool
from leadline.nn.pooling.strip import StripPooling
from leadline.nn.positions import rotate, rotation, sinusoids
from leadline.nn.quantize.binary import sign
from leadline.nn.recurrent import ConvGRU, RowRecurrent, SeparableConvGRU
from leadline.nn.regression import local_soft_argmin, soft_argmin
from leadline.nn.separable import FactorisedConv, InvertedResidual
from leadline.nn.shuffle import PixelShuffleUp
from leadline.nn.spiking import IntegrateAndFire, decode_mean, direct_code, latency_code, rate_code, spike
from leadline.nn.uncertainty import disparity_entropy, disparity_spread

SIDE, CHANNELS = 33, 8
DRAWS = 12  # random weights over which gradients are averaged


def receptive_fields() -> plt.Figure:
    """|d output at the middle / d input|, averaged over random weights."""

    def moved(channels: int) -> nn.Module:
        block = DeformableConv2d(channels, channels)
        nn.init.normal_(block.offsets.weight, std=0.6)
        return block

    blocks: dict[str, Callable[[], nn.Module]] = {
        "3x3": lambda: ConvBN(CHANNELS, CHANNELS),
        "residual (two 3x3)": lambda: Residual(CHANNELS),
        "inverted residual": lambda: InvertedResidual(CHANNELS, CHANNELS),
        "factorised, k = 7": lambda: FactorisedConv(CHANNELS, CHANNELS, kernel=7),
        "dilated 2, 2, 2: holes": lambda: HybridDilated(CHANNELS, (2, 2, 2)),
        "dilated 1, 2, 5: none": lambda: HybridDilated(CHANNELS, (1, 2, 5)),
        "ASPP 3, 6, 12": lambda: ASPP(CHANNELS, CHANNELS, (3, 6, 12)),
        "deformable": lambda: moved(CHANNELS),
        "strip pooling": lambda: StripPooling(CHANNELS),
        "windows of 8": lambda: WindowedAttention(CHANNELS, 2, 8),
        "windows, then shifted": lambda: nn.Sequential(
            WindowedAttention(CHANNELS, 2, 8), WindowedAttention(CHANNELS, 2, 8, shift=True)
        ),
        "non-local": lambda: NonLocal(CHANNELS),
        "GRU along rows": lambda: RowRecurrent(CHANNELS, CHANNELS, "gru"),
        "ConvGRU, 4 steps": lambda: Repeated(ConvGRU(CHANNELS, CHANNELS), 4),
        "separable ConvGRU, 4 steps": lambda: Repeated(SeparableConvGRU(CHANNELS, CHANNELS), 4),
        "epipolar attention": lambda: Epipolar(EpipolarAttention(CHANNELS, 2)),
    }
    figure, panels = plt.subplots(4, 4, figsize=(9, 9.6), layout="constrained")
    for panel, (name, make) in zip(panels.flat, blocks.items(), strict=True):
        panel.imshow(_field(make) ** 0.35, cmap="magma", vmin=0, vmax=1)
        panel.set_title(name, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(f"What one output pixel looks at: |gradient|^0.35 over {SIDE}x{SIDE} px of input")
    return figure


class Repeated(nn.Module):
    """A recurrent cell that sees the same input several times."""

    def __init__(self, cell: nn.Module, times: int):
        super().__init__()
        self.cell, self.times = cell, times

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for _ in range(self.times):
            state = self.cell(x, state)
        assert state is not None
        return state


class Epipolar(nn.Module):
    """What is seen of the other view."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(torch.zeros_like(x), x)


def _field(make: Callable[[], nn.Module]) -> np.ndarray:
    total = torch.zeros(SIDE, SIDE)
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        module = make().eval()
        for parameter in module.parameters():
            if not parameter.any():
                nn.init.normal_(parameter.data, std=0.3)
        x = torch.randn(1, CHANNELS, SIDE, SIDE, requires_grad=True)
        module(x)[0, :, SIDE // 2, SIDE // 2].square().sum().backward()
        assert x.grad is not None
        total += x.grad.abs().sum((0, 1))
    return (total / total.max()).numpy()


def checkerboard() -> plt.Figure:
    """A smooth ramp, doubled by random weights that sum to 1 over a constant: what is not smooth is made up."""
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    blocks: dict[str, Callable[[], nn.Module]] = {
        "deconvolution, k = 3": lambda: Deconvolution(1, 1, 3, bias=False),
        "deconvolution, k = 4": lambda: Deconvolution(1, 1, 4, bias=False),
        "pixel shuffle": lambda: PixelShuffleUp(1, 1, bias=False),
        "resize-convolution": lambda: ResizeConv(1, 1, bias=False),
    }
    figure, panels = plt.subplots(2, 4, figsize=(11, 5.6), layout="constrained")
    for column, (name, make) in zip(panels.T, blocks.items(), strict=True):
        torch.manual_seed(3)
        module = make()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.abs_()
            inside = module(torch.ones(1, 1, 16, 16))[..., 8:-8, 8:-8].mean()
            fine = (module(ramp) / inside)[0, 0].numpy()
        column[0].imshow(fine[6:26, 6:26], cmap="viridis")
        column[0].set(title=name, xticks=[], yticks=[])
        column[1].plot(fine[15, 6:26], ".-", markersize=4)
        column[1].plot(fine[16, 6:26], ".-", markersize=4, alpha=0.6)
        column[1].set(xlabel="column (two rows of it)", ylim=(0, 1.2))
        column[1].grid(alpha=0.3)
    figure.suptitle("A ramp doubled by each, untrained with positive weights: the checkerboard is in the structure")
    return figure


UNITS = {
    "basic": ["3x3, c", "3x3, c"],
    "bottleneck": ["1x1, c/2", "3x3, c/2", "1x1, c"],
    "pre-activation": ["BN ReLU 3x3, c", "BN ReLU 3x3, c"],
    "inverted": ["1x1, 4c", "depthwise 3x3, 4c", "1x1, c (no ReLU)"],
    "shuffle v1": ["grouped 1x1, c/4", "channel shuffle", "depthwise 3x3, c/4", "grouped 1x1, c"],
    "shuffle v2": ["half: 1x1, c/2", "depthwise 3x3, c/2", "1x1, c/2"],
    "binary (Bi-Real)": ["sign, 1-bit 3x3, BN", "sign, 1-bit 3x3, BN"],
}
JOINS = {"shuffle v2": "concatenate, shuffle", "pre-activation": "+", "inverted": "+", "binary (Bi-Real)": "+"}


def units() -> plt.Figure:
    """The residual units as boxes, beside what passes them by."""
    figure, panels = plt.subplots(1, len(UNITS), figsize=(14, 4.4), layout="constrained")
    for panel, (name, layers) in zip(panels, UNITS.items(), strict=True):
        panel.set(xlim=(-1.0, 1.45), ylim=(-0.7, 5.6), title=name)
        panel.axis("off")
        heights = np.linspace(4.1, 1.1, len(layers))
        every = name.startswith("binary")
        for y, text in zip(heights, layers, strict=True):
            box = {"boxstyle": "round", "fc": "#dbe9f6", "ec": "#0072B2"}
            panel.text(0, y, text, ha="center", va="center", fontsize=8, bbox=box)
        for above, below in pairwise([5.2, *heights, 0.0]):
            panel.annotate(
                "", (0, below + 0.25), (0, above - 0.25), arrowprops={"arrowstyle": "->", "color": "#444444"}
            )
        panel.text(0, 5.25, "x", ha="center", fontsize=9)
        panel.text(0, -0.15, JOINS.get(name, "+, ReLU"), ha="center", fontsize=9, weight="bold")
        end = 0.95 if name == "shuffle v2" else 0.5
        turns = [(5.1, 0.0)] if not every else [(5.1, 2.6), (2.6, 0.0)]
        for top, bottom in turns:
            panel.plot([0.08, 1.3, 1.3], [top, top, bottom], color="#D55E00", linewidth=1.2)
            panel.annotate(
                "",
                (end if bottom == 0 else 0.05, bottom),
                (1.3, bottom),
                arrowprops={"arrowstyle": "->", "color": "#D55E00"},
            )
    figure.suptitle("Residual units: what is computed (blue) beside what passes (orange); BatchNorm and ReLU not drawn")
    return figure


def pooling() -> plt.Figure:
    """The same patch pooled, and how much a shift by one pixel changes what comes out."""
    torch.manual_seed(0)
    image = _scene()[0].mean(0, keepdim=True)[None][..., 32:128, 16:160]
    pools: dict[str, nn.Module] = {
        "max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2), "blur": BlurPool(1), "soft": SoftPool(2),
        "generalised mean, p = 3": GeneralizedMean(2), "stochastic (training)": StochasticPool(2).train(),
        "every second pixel": _Stride(),
    }  # fmt: skip
    figure = plt.figure(figsize=(12, 7.2), layout="constrained")
    grid = figure.add_gridspec(3, 4)
    panel = figure.add_subplot(grid[0, 0])
    panel.imshow(image[0, 0], cmap="gray")
    panel.set(title="input", xticks=[], yticks=[])
    changes = {}
    for i, (name, pool) in enumerate(pools.items()):
        with torch.no_grad():
            small = pool(image)
            # Stripes of 2.5 px, moved by 1 px: what a coarse pixel says must not depend on where the grid lies.
            stripes = 0.5 + 0.5 * torch.sin(2 * torch.pi * torch.arange(201.0) / 2.5).expand(1, 1, 16, 201)
            here, there = pool(stripes[..., :200]), pool(stripes[..., 1:])
            changes[name] = (here - there)[..., 4:-4].std() / stripes.std()
        panel = figure.add_subplot(grid[divmod(i + 1, 4)])
        panel.imshow(small[0, 0], cmap="gray")
        panel.set(title=name, xticks=[], yticks=[])
    bars = figure.add_subplot(grid[2, :])
    bars.barh(list(changes), [float(value) for value in changes.values()], color="#0072B2")
    bars.invert_yaxis()
    bars.set(xlabel="change of the output when fine stripes (period 2.5 px) move by 1 px, over the input's contrast")
    bars.grid(alpha=0.3, axis="x")
    return figure


class _Stride(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2, ::2]


def dropout() -> plt.Figure:
    """What each leaves out of four channels of ones."""
    torch.manual_seed(4)
    blocks = {
        "dropout, p = 0.2": nn.Dropout(0.2), "spatial dropout, p = 0.25": nn.Dropout2d(0.25),
        "DropBlock, p = 0.2, 7 px": DropBlock(0.2, 7), "stochastic depth, p = 0.5 (samples)": StochasticDepth(0.5),
    }  # fmt: skip
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
    for panel, (name, block) in zip(panels, blocks.items(), strict=True):
        shape = (4, 1, 32, 32) if "samples" in name else (1, 4, 32, 32)
        kept = (block.train()(torch.ones(shape)) > 0).float().reshape(2, 2, 32, 32)
        mosaic = F.pad(kept, (1, 1, 1, 1), value=0.5).permute(0, 2, 1, 3).reshape(68, 68)
        panel.imshow(mosaic, cmap="gray", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.set_title(name, fontsize=9)
    figure.suptitle("What is left out (black) of four channels, or of four samples")
    return figure


def normalization() -> plt.Figure:
    """Which values share their mean and variance with one value, found by gradients."""
    b, c, n = 4, 8, 12
    blocks = {
        "batch": nn.BatchNorm2d(c).train(), "group (2)": nn.GroupNorm(2, c), "instance": nn.InstanceNorm2d(c),
        "layer, per pixel": _PerPixel(c),
    }  # fmt: skip
    figure, panels = plt.subplots(1, 4, figsize=(11, 3.4), layout="constrained")
    for panel, (name, block) in zip(panels, blocks.items(), strict=True):
        x = torch.randn(b, c, n, 1, requires_grad=True)
        block(x)[1, 2, 5, 0].backward()
        assert x.grad is not None
        touched = (x.grad[..., 0] != 0).float().permute(0, 2, 1).reshape(b * n, c)
        panel.imshow(touched, cmap="Blues", vmin=0, vmax=1.4, aspect="auto", interpolation="none")
        for sample in range(1, b):
            panel.axhline(sample * n - 0.5, color="black", linewidth=1)
        panel.plot(2, n + 5, "x", color="#D55E00")
        panel.set(title=name, xlabel="channel", ylabel="pixels of 4 samples" if name == "batch" else "", yticks=[])
    figure.suptitle("Which values take part in normalising one value (orange)")
    return figure


class _PerPixel(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        from leadline.nn.normalization import ChannelLayerNorm

        self.norm = ChannelLayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


def spiking() -> plt.Figure:
    """A membrane and its spikes, three codes, and the staircase that a ReLU becomes."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 6.4), layout="constrained")
    current = torch.tensor([0.3] * 15 + [0.0] * 8 + [0.55] * 17)
    membrane, fired, trace, spikes = torch.tensor(0.0), torch.tensor(0.0), [], []
    for now in current:
        membrane = 0.9 * membrane + now - fired
        fired = spike(membrane - 1)
        trace.append(membrane.item())
        spikes.append(fired.item())
    panel = panels[0, 0]
    panel.plot(trace, label="membrane")
    panel.plot(current, label="current", color="grey", linewidth=1)
    panel.vlines(np.flatnonzero(spikes), 1.25, 1.45, color="#D55E00", label="spikes")
    panel.axhline(1, color="black", linewidth=0.7, linestyle=":")
    panel.set(title="leaky integrate-and-fire, beta = 0.9", xlabel="step")
    panel.legend(fontsize=8)
    values = torch.linspace(0, 1, 9)
    panel = panels[0, 1]
    codes = (("direct", direct_code), ("rate", rate_code), ("latency", latency_code))
    shown = torch.cat([torch.cat([code(values, 16).unflatten(0, (16, 9)).T, torch.full((9, 1), 0.5)], 1)
                       for _, code in codes], 1)  # fmt: skip
    panel.imshow(shown, cmap="gray_r", aspect="auto", vmin=0, vmax=1, interpolation="none")
    panel.set(xticks=[8, 25, 42], xticklabels=["direct", "rate", "latency"], title="how a value becomes 16 steps")
    panel.set(yticks=range(9), yticklabels=[f"{value:.2f}" for value in values])
    panel = panels[1, 0]
    x = torch.linspace(-0.5, 1.5, 400)[:, None]
    for steps in (4, 16):
        panel.plot(x, decode_mean(IntegrateAndFire(steps)(direct_code(x, steps)), steps), label=f"{steps} steps")
    panel.plot(x, x.relu(), color="black", linewidth=0.8, label="ReLU")
    panel.set(title="integrate-and-fire: mean over time", xlabel="constant current")
    panel.legend(fontsize=8)
    panel = panels[1, 1]
    over = torch.linspace(-2, 2, 401, requires_grad=True)
    spike(over).sum().backward()
    panel.plot(over.detach(), (over > 0).float(), color="black", linewidth=0.8, label="spike")
    panel.plot(over.detach(), over.grad, label="its surrogate gradient (arctangent)")
    panel.set(title="what makes it trainable", xlabel="membrane over threshold")
    panel.legend(fontsize=8)
    for panel in panels.flat[[0, 2, 3]]:
        panel.grid(alpha=0.3)
    return figure


def binary() -> plt.Figure:
    """The sign, its gradients, and what is left of a map's convolution with signs."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    x = torch.linspace(-2, 2, 401)
    panel = panels[0]
    panel.plot(x, sign(x), color="black", linewidth=0.9, label="sign")
    for bireal, name in ((False, "clipped (XNOR-Net), for weights"), (True, "quadratic (Bi-Real), for activations")):
        leaf = x.clone().requires_grad_()
        sign(leaf, bireal).sum().backward()
        panel.plot(x, leaf.grad, label=name)
    panel.set(title="straight-through gradients", xlabel="x")
    panel.legend(fontsize=8)
    panel.grid(alpha=0.3)
    torch.manual_seed(0)
    weights, values = torch.randn(64, 32, 3, 3), torch.randn(1, 32, 24, 24)
    scale = weights.flatten(1).abs().mean(1).view(-1, 1, 1)
    exact = F.conv2d(values, weights).flatten()
    by_signs = (F.conv2d(sign(values), sign(weights)) * scale).flatten() * values.abs().mean()
    panels[1].hist2d(exact, by_signs, bins=60, cmap="magma_r", cmin=1)
    panels[1].set(
        title=f"a sum of 288 products, by signs: correlation {np.corrcoef(exact, by_signs)[0, 1]:.2f}",
        xlabel="exact", ylabel="signs, scaled by mean |w| mean |x|",
    )  # fmt: skip
    return figure


def positions() -> plt.Figure:
    """The table of sinusoids, and how alike two places are by sinusoids and by rotation."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    table = sinusoids(torch.arange(96.0), 64)
    panels[0].imshow(table.T, cmap="RdBu", aspect="auto")
    panels[0].set(title="sinusoidal: 64 channels by place", xlabel="place", ylabel="channel")
    turned = rotate(torch.ones(96, 64), rotation(torch.arange(96.0), 64))
    for base in (20, 60):
        panels[1].plot(turned @ turned[base] / 64, label=f"rotary, seen from {base}")
        panels[1].plot(table @ table[base] / 32, "--", label=f"sinusoidal, seen from {base}", linewidth=1)
    panels[1].set(title="how alike two places are: distance alone counts", xlabel="place")
    panels[1].legend(fontsize=8)
    panels[1].grid(alpha=0.3)
    return figure


def adversarial() -> plt.Figure:
    """What both sides minimise, over the discriminator's logit."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    logits = torch.linspace(-3, 3, 121)
    pleased = {"non_saturating": 30.0, "least_squares": 1.0, "hinge": 1.0, "wasserstein": 0.0}  # real: adds nothing
    for kind, style in zip(KINDS, ("-", "-", "-", "--"), strict=True):
        real = torch.tensor([pleased[kind]])
        fake = [discriminator_loss(kind, real, logit[None]).item() for logit in logits]
        panels[0].plot(logits, fake, style, label=kind.replace("_", " "))
        panels[1].plot(logits, [generator_loss(kind, logit[None]).item() for logit in logits], style)
    panels[0].set(title="discriminator, for a generated image", xlabel="its logit, positive for real")
    panels[1].set(title="generator", xlabel="logit of its image")
    panels[0].legend(fontsize=8)
    for panel in panels:
        panel.grid(alpha=0.3)
    return figure


def depth() -> plt.Figure:
    """A rendered pair's correlation, what is read from it, and how sure it is."""
    left, right, disparity = _scene()
    colours = F.avg_pool2d(torch.stack([left, right]), 2)
    patches = F.unfold(F.pad(colours, (2, 2, 2, 2), mode="replicate"), 5).unflatten(2, colours.shape[-2:])
    features = F.normalize(patches - patches.mean(1, keepdim=True), dim=1)
    scores = correlation_volume(features[:1], features[1:], 32) * features.shape[1] * 12
    true = F.avg_pool2d(disparity[None, None], 2)[0, 0] / 2
    figure, panels = plt.subplots(2, 4, figsize=(14, 5.2), layout="constrained")
    span = {"cmap": "turbo", "vmin": 0, "vmax": float(true.max())}
    maps = {
        "left view": (left.permute(1, 2, 0), {}),
        "true disparity": (true, span),
        "soft-argmin": (soft_argmin(scores, 1.0)[0, 0], span),
        "local soft-argmin": (local_soft_argmin(scores, 1.0)[0, 0], span),
        "spread": (disparity_spread(scores, 1.0)[0, 0], {"cmap": "magma"}),
        "entropy": (disparity_entropy(scores)[0, 0], {"cmap": "magma"}),
    }
    for panel, (name, (image, options)) in zip(panels.flat, maps.items(), strict=False):
        panel.imshow(image, **options)
        panel.set(title=name, xticks=[], yticks=[])
    y = scores.shape[2] // 2
    panels[1, 2].imshow(scores[0, :, y], aspect="auto", cmap="magma", origin="lower")
    panels[1, 2].plot(true[y], color="cyan", linewidth=1)
    panels[1, 2].set(title="the volume along one row, truth in cyan", xlabel="column", ylabel="disparity")
    y, jump = _misled(scores, true)
    share = torch.softmax(scores[0, :, y, jump], 0)
    panels[1, 3].bar(range(32), share, color="grey")
    for function, colour in ((soft_argmin, "#D55E00"), (local_soft_argmin, "#0072B2")):
        place = function(scores[..., y : y + 1, jump : jump + 1], 1.0).item()
        panels[1, 3].axvline(place, color=colour, label=function.__name__.replace("_", " "))
    panels[1, 3].axvline(float(true[y, jump]), color="black", linestyle=":", label="truth")
    panels[1, 3].legend(fontsize=7)
    panels[1, 3].set(title=f"softmax at row {y}, column {jump}", xlabel="disparity")
    return figure


def _misled(scores: Tensor, true: Tensor) -> tuple[int, int]:
    """Where soft-argmin is farthest off although the peak is right: (row, column)."""
    mean, peak = soft_argmin(scores, 1.0)[0, 0], local_soft_argmin(scores, 1.0)[0, 0]
    off = (mean - true).abs() * ((peak - true).abs() < 0.5)
    off[:, : scores.shape[1]] = 0  # matches may lie outside the right view there
    return divmod(int(off.argmax()), off.shape[1])


def partial() -> plt.Figure:
    """Sparse depth smoothed by a plain mean over zeros, and by a partial convolution."""
    disparity = _scene()[2][None, None]
    torch.manual_seed(0)
    mask = (torch.rand_like(disparity) < 0.06).float()
    block = PartialConv2d(1, 1, kernel=9, bias=False)
    nn.init.constant_(block.conv.weight, 1 / 81)
    with torch.no_grad():
        filled, _ = block(disparity * mask, mask)
        plain = F.conv2d(disparity * mask, block.conv.weight, padding=4)
    figure, panels = plt.subplots(1, 4, figsize=(13, 2.9), layout="constrained")
    span = {"cmap": "turbo", "vmin": 0, "vmax": float(disparity.max())}
    shown = {"truth": disparity, "6 % of it known": disparity * mask, "mean with zeros": plain, "partial": filled}
    for panel, (name, image) in zip(panels, shown.items(), strict=True):
        panel.imshow(image[0, 0], **span, interpolation="none")
        panel.set(title=name, xticks=[], yticks=[])
    return figure


def _scene() -> tuple[Tensor, Tensor, Tensor]:
    """A rendered pair (3, h, w) in [0, 1] and its disparity (h, w), px."""
    sample = open_data("procedural:1,seed=36,size=128x256")[0]
    assert sample.disparity is not None
    left, right = (torch.from_numpy(image.transpose(2, 0, 1) / 255).float() for image in sample.images[:2])
    return left, right, torch.from_numpy(sample.disparity)


PICTURES = (
    receptive_fields, checkerboard, units, pooling, dropout, normalization, spiking, binary, positions, adversarial,
    depth, partial,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(draw.__name__ for draw in PICTURES)}; default: all")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/blocks/images"))
    arguments = parser.parse_args()
    for draw in PICTURES:
        if arguments.names and draw.__name__ not in arguments.names:
            continue
        figure, image = draw(), io.BytesIO()
        figure.savefig(image, dpi=80, format="png")
        plt.close(figure)
        print(write_whole(arguments.output / f"{draw.__name__}.png", image.getvalue()))


if __name__ == "__main__":
    main()
