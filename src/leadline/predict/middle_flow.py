"""The motion that an interpolation network finds on its way, as a flow predictor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from leadline.errors import UserError
from leadline.models.network import Network, Task
from leadline.nn.warp import sample_at
from leadline.predict.network import NetworkPredictor

STEPS = 4  # of the fixed point


class MiddleFlow(NetworkPredictor):
    """Flow from frame 0 to frame 1 by way of the middle frame.

    The network knows, of each pixel of the middle frame, the flow to both frames. Their difference m is the motion over
    the whole time, but placed in the middle: a point of frame 0 at x with the flow f passes x + f / 2 there, if it
    moves evenly. So f(x) = m(x + f(x) / 2), which is solved by a few steps of a fixed point. What the network was
    trained for is a good picture, not a true flow: this is how far the one goes with the other.
    """

    def __init__(self, network: Network, device: str | torch.device | None = None):
        """
        Args:
            network: for interpolation, with a method `flow(frame0, frame1)` -> (b, 4, h, w), px, from the middle frame
                to frame 0 and to frame 1.

        Raises:
            UserError: a network without such flow.
        """
        name = getattr(network, "name", type(network).__name__)
        if network.task is not Task.INTERPOLATION or not hasattr(network, "flow"):
            raise UserError(f"{name}:flow: only interpolation networks that find a flow on their way have one")
        super().__init__(network, device)
        self.task = Task.FLOW
        self.takes_time = False
        self.name = f"{name}:flow"

    @torch.inference_mode()
    def _run(
        self, *images: Float32[np.ndarray, "1 3 h w"], time: float | None = None
    ) -> Float32[np.ndarray, "1 2 h w"]:
        self.network.eval()
        frames = [torch.from_numpy(image).to(self.device) for image in images]
        both = self.network.flow(*frames)  # type: ignore[operator]
        return from_the_middle((both[:, 2:] - both[:, :2]).float()).cpu().numpy()


def from_the_middle(motion: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """f with f(x) = motion(x + f(x) / 2), px."""
    height, width = motion.shape[-2:]
    x = torch.arange(width, device=motion.device, dtype=motion.dtype)
    y = torch.arange(height, device=motion.device, dtype=motion.dtype)[:, None]
    flow = motion
    for _ in range(STEPS):
        flow = sample_at(motion, x + flow[:, 0] / 2, y + flow[:, 1] / 2)
    return flow
