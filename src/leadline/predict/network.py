"""A PyTorch network as a Predictor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.predict.predictor import Predictor
from leadline.predict.tiles import tile_grid

MAX_AREA = 3_000_000  # px handed to the network at once; larger images go through in tiles
ROW_OVERLAP = 64  # px shared by tiles above one another


class NetworkPredictor(Predictor):
    """Pads images at the bottom and on the right, by repeating their edge, and crops the prediction back exactly.

    Padding there leaves pixel coordinates and the network's strides where they were. Images of more than `max_area` px
    are processed in overlapping strips, cut in the middle of the overlap, so that memory is bounded by the tile and
    not by the image.
    """

    def __init__(self, network: Network, device: str | torch.device | None = None, max_area: int = MAX_AREA):
        """Takes the network over: it is moved to the device and kept in eval mode.

        Args:
            network: of any task.
            device: None: the GPU where there is one, else the CPU.
            max_area: px, the largest (padded) image that is processed as one piece.

        Raises:
            UserError: there is no such device.
        """
        self.device = find_device(device)
        self.network = _channels_last(network.to(self.device))
        self.task = network.task
        self.name = getattr(network, "name", type(network).__name__)
        self.max_area = max_area

    def _predict(self, *images: np.ndarray) -> np.ndarray:
        self.network.eval()
        height, width = images[0].shape[:2]
        result = None
        for rows, columns in self._tiles(height, width):
            seen = [image[rows.start : rows.stop, columns.start : columns.stop] for image in images]
            tile = self._forward(*seen)
            if result is None:
                result = np.empty((height, width, tile.shape[2]), tile.dtype)
            result[rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = tile[
                rows.keep_start - rows.start : rows.keep_stop - rows.start,
                columns.keep_start - columns.start : columns.keep_stop - columns.start,
            ]
        assert result is not None  # there is at least one tile
        if self.task is Task.INTERPOLATION:
            return _to_integers(result, images[0].dtype)
        return result if self.task is Task.FLOW else result[:, :, 0]

    def _tiles(self, height: int, width: int):
        padded_height, padded_width = self.network.padded_size(height, width)
        max_area = self.max_area * height * width // (padded_height * padded_width)
        reach = getattr(self.network.config, "max_disparity", 192)  # px along the row that a match may lie away
        # The cut is in the middle of the overlap, and either half has to hold a whole match.
        overlap = (ROW_OVERLAP, 2 * (reach + ROW_OVERLAP))
        return tile_grid((height, width), max_area, overlap, self.network.size_multiple)

    @torch.inference_mode()
    def _forward(self, *images: np.ndarray) -> np.ndarray:
        """(h, w, c) float32 for images (or tiles) of one size."""
        height, width = images[0].shape[:2]
        padded_height, padded_width = self.network.padded_size(height, width)
        border = (0, padded_width - width, 0, padded_height - height)
        tensors = [F.pad(self._to_tensor(image), border, mode="replicate") for image in images]
        prediction = self.network(*(tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors))
        return prediction[0, :, :height, :width].permute(1, 2, 0).float().cpu().numpy()

    def _to_tensor(self, image: np.ndarray) -> Float[Tensor, "1 3 h w"]:
        """RGB in [0, 1] on the device."""
        white = np.iinfo(image.dtype).max
        tensor = torch.from_numpy(image.astype(np.float32)).to(self.device) / white
        tensor = tensor.expand(3, *tensor.shape) if tensor.ndim == 2 else tensor.permute(2, 0, 1)
        return tensor[None]


def _channels_last(network: Network) -> Network:
    """Puts the 2-D convolutions' weights in the layout that CPUs and tensor cores read fastest."""
    for parameter in network.parameters():
        if parameter.ndim == 4:  # Module.to(memory_format=...) fails on the 5-D weights of 3-D convolutions
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


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


def _to_integers(frame: np.ndarray, dtype: np.dtype) -> np.ndarray:
    white = np.iinfo(dtype).max
    return np.clip(np.rint(frame * white), 0, white).astype(dtype)
