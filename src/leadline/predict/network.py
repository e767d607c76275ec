"""A PyTorch network as a Predictor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.models.network import Network, Task, channels_last
from leadline.predict.tiled import ROW_OVERLAP, TiledPredictor, one_piece
from leadline.predict.tiles import Span, tile_grid


class NetworkPredictor(TiledPredictor):
    """A network on images of any size. Those of more than `max_area` px go through in overlapping strips."""

    def __init__(self, network: Network, device: str | torch.device | None = None, max_area: int | None = None):
        """Takes the network over: it is moved to the device and kept in eval mode.

        Args:
            network: of any task.
            device: None: the GPU where there is one, else the CPU.
            max_area: px, the largest (padded) image that is processed as one piece; None: the network's own limit.

        Raises:
            UserError: there is no such device.
        """
        self.device = find_device(device)
        self.network = channels_last(network.to(self.device))
        self.task = network.task
        self.takes_time = network.takes_time
        self.name = getattr(network, "name", type(network).__name__)
        self.max_disparity = network.reach if self.task is Task.STEREO else None
        self.max_area = network.max_area if max_area is None else max_area

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        return self.network.padded_size(height, width)

    def _tiles(self, height: int, width: int) -> list[tuple[Span, Span]]:
        if self.task is Task.MONO:
            return one_piece(self.name, (height, width))
        reach = self.network.reach or 192  # px that a match may lie away
        # The cut is in the middle of the overlap, and either half has to hold a whole match.
        across, down = 2 * (reach + ROW_OVERLAP), ROW_OVERLAP
        overlap = (across if self.task is Task.FLOW else down, across)
        return tile_grid((height, width), self._area_for(height, width), overlap, self.network.size_multiple)

    @torch.inference_mode()
    def _run(
        self, *images: Float32[np.ndarray, "1 3 h w"], time: float | None = None
    ) -> Float32[np.ndarray, "1 c h w"]:
        self.network.eval()
        tensors = [torch.from_numpy(image).to(self.device) for image in images]
        tensors = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors]
        if time is not None:
            tensors.append(torch.full((1, 1, 1, 1), time, device=self.device))
        prediction = self.network(*tensors)
        return prediction.float().cpu().numpy()


def find_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; None: the GPU where there is one, else the CPU. Raises UserError where it is missing."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {str(device)!r} cannot be used here: try cpu, or cuda where there is a GPU") from error
    return found
