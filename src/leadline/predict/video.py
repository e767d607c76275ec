"""Depth of a video's frames, one after the other, by a network that remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.predict.network import find_device
from leadline.predict.predictor import check_images
from leadline.predict.tiled import to_model_image


class VideoDepth:
    """The state of a recurrent depth network between the frames of one video; make a new one for the next video."""

    def __init__(self, network: Network, device: str | torch.device | None = None):
        """Raises UserError for a network without memory."""
        if network.task is not Task.MONO or getattr(network, "memory", None) is None:
            raise UserError(
                f"{getattr(network, 'name', 'the network')} has no memory for video: train one with memory: 64"
            )
        self.device = find_device(device)
        self.network = network.to(self.device).eval()
        self.state: Any = None
        self.size: tuple[int, int] | None = None

    @torch.inference_mode()
    def next(self, image: np.ndarray) -> Float32[np.ndarray, "h w"]:
        """Depth, m, of the next frame. Raises UserError where a frame is of another size than the first."""
        check_images((image,), Task.MONO)
        height, width = image.shape[:2]
        if self.size is not None and self.size != (height, width):
            first = f"{self.size[1]} x {self.size[0]}"
            raise UserError(f"a frame is {width} x {height} and the video's first is {first}: give frames of one size")
        self.size = (height, width)
        padded = self.network.padded_size(height, width)
        tensor = torch.from_numpy(to_model_image(image, padded)).to(self.device)
        depth, self.state = self.network.forward_state(tensor, self.state)  # type: ignore[operator]
        return depth[0, 0, :height, :width].float().cpu().numpy()
