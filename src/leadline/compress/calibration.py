"""The images that ranges are found on, and what the layers of a network see of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from leadline.data import open_data
from leadline.deploy.export import CALIBRATION_PAIRS, CALIBRATION_SEED
from leadline.errors import UserError
from leadline.evaluation.runner import Samples
from leadline.models import Network, Task
from leadline.nn.quantize.affine import Grid
from leadline.nn.quantize.observers import Histogram, find_range
from leadline.predict.predictor import VIEWS
from leadline.predict.tiled import to_model_image

SIZE = (256, 512)  # of rendered scenes
LARGEST = (544, 1280)  # px: of larger images the upper left window is taken

Images = list[tuple[Tensor, ...]]


def calibration_images(network: Network, data: Samples | str | None, limit: int = CALIBRATION_PAIRS) -> Images:
    """Images (1, 3, h, w) as the network takes them, of rendered scenes unless there is data.

    Raises:
        UserError: data without samples, or that cannot be read.
    """
    views = len(VIEWS[network.task])
    source = data
    if source is None:
        source = f"procedural:{limit},seed={CALIBRATION_SEED},size={SIZE[0]}x{SIZE[1]}"
    rendered = data is None and network.task not in (Task.STEREO, Task.FLOW)
    kind = {Task.INTERPOLATION: Task.FLOW, Task.MONO: Task.STEREO}[network.task] if rendered else network.task
    samples = open_data(source, kind) if isinstance(source, str) else source
    if len(samples) == 0:
        raise UserError(f"{data if isinstance(data, str) else 'data'}: no images to calibrate on: give some")
    found = []
    for index in range(min(len(samples), limit)):
        images = [image[: LARGEST[0], : LARGEST[1]] for image in samples[index].images[:views]]
        size = network.padded_size(*images[0].shape[:2])
        found.append(tuple(torch.from_numpy(to_model_image(image, size)) for image in images))
    return found


Seen = Callable[[str, Tensor, Tensor], None]  # layer's name, its input, its output


@torch.no_grad()
def run_watched(network: Network, names: Iterable[str], images: Images, see: Seen) -> None:
    """Runs the network on each sample, showing `see` what goes in and out of the layers named."""
    device = next(network.parameters()).device

    def hook(name: str) -> Any:
        return lambda _, arguments, out: see(name, arguments[0], out)

    hooks = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        for sample in images:
            network(*(image.to(device) for image in sample))
    finally:
        for handle in hooks:
            handle.remove()


class Ranges:
    """The ranges of the layers' inputs and outputs, by "NAME.input" and "NAME.output".

    Args:
        observer: how a range is read from the values.
        limits: layer -> upper end of the ReLU that alone sees its output; what is below 0 does not count there.

    Raises:
        UserError: values that are not finite, or a tensor that is the same everywhere in all images.
    """

    def __init__(self, network: Network, names: list[str], images: Images, observer: str, limits: dict[str, float]):
        self.network, self.observer, self.limits = network, observer, limits
        self.extremes: dict[str, tuple[float, float]] = {}
        self.histograms: dict[str, Histogram] = {}
        run_watched(network, names, images, self._see_extremes)
        for tensor, (low, high) in self.extremes.items():
            if low == high and tensor.endswith("input"):
                raise UserError(
                    f"{network.name}: {tensor} is {low:g} everywhere in calibration, which gives no range: calibrate "
                    "on other images (--data), or leave the layer out (--skip)"
                )
        if observer != "minmax":
            for tensor, (low, high) in self.extremes.items():
                self.histograms[tensor] = Histogram(low, high if high > low else low + 1)
            run_watched(network, names, images, self._see_histogram)

    def _see_extremes(self, name: str, given: Tensor, made: Tensor) -> None:
        for tensor, values in ((f"{name}.input", given), (f"{name}.output", made)):
            low, high = float(values.amin()), float(values.amax())
            if not math.isfinite(low) or not math.isfinite(high):
                raise UserError(
                    f"{self.network.name}: {tensor} holds NaN or infinite values in calibration: the weights or the "
                    "images are damaged, or training diverged"
                )
            if name in self.limits and tensor.endswith("output"):
                low, high = max(low, 0.0), min(max(high, 0.0), self.limits[name])
            before = self.extremes.get(tensor, (low, high))
            self.extremes[tensor] = min(low, before[0]), max(high, before[1])

    def _see_histogram(self, name: str, given: Tensor, made: Tensor) -> None:
        self.histograms[f"{name}.input"].add(given)
        self.histograms[f"{name}.output"].add(made)

    def find(self, tensor: str, grid: Grid) -> tuple[float, float]:
        """The range of a tensor as the observer sees it."""
        low, high = self.extremes[tensor]
        if self.observer == "minmax" or low == high:
            return low, high
        return find_range(self.histograms[tensor], self.observer, grid)


class InputStatistics:
    """Of the patches that a layer's weights are multiplied with: their second moments (k, k) and mean (k), per group.

    For convolutions in 2-D and 3-D without dilation, and linear layers; what error-compensating rounding needs.
    """

    def __init__(self, layer: nn.Module):
        self.layer = layer
        self.moments: Tensor | None = None
        self.mean: Tensor | None = None
        self.count = 0

    @staticmethod
    def knows(layer: nn.Module) -> bool:
        if isinstance(layer, nn.Linear):
            return True
        return isinstance(layer, nn.Conv2d | nn.Conv3d) and set(layer.dilation) == {1}

    def add(self, x: Tensor, most: int = 4096) -> None:
        """Takes a tensor's patches in, at most so many of them, spread evenly."""
        patches = self._patches(x)  # (groups, n, k)
        step = max(1, patches.shape[1] // most)
        patches = patches[:, ::step].float()
        moments, total = patches.transpose(1, 2) @ patches, patches.sum(1)
        self.moments = moments if self.moments is None else self.moments + moments
        self.mean = total if self.mean is None else self.mean + total
        self.count += patches.shape[1]

    def _patches(self, x: Tensor) -> Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return x.reshape(1, -1, x.shape[-1])
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        dims = len(layer.kernel_size)
        padding = [side for side in reversed(layer.padding) for _ in range(2)]  # type: ignore[arg-type]
        x = torch.nn.functional.pad(x, [int(side) for side in padding])
        for axis in range(dims):
            x = x.unfold(2 + axis, layer.kernel_size[axis], layer.stride[axis])
        x = x.unflatten(1, (layer.groups, -1))  # b g c *where *kernel
        order = [1, 0, *range(3, 3 + dims), 2, *range(3 + dims, 3 + 2 * dims)]
        return x.permute(order).flatten(2 + dims).flatten(1, 1 + dims)
