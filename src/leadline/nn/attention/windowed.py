"""Attention within windows, so that its cost grows with the image and not with its square."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class WindowedAttention(nn.Module):
    """Multi-head attention of the pixels of each side x side window, with a learned bias per relative position.

    With `shift` the windows are moved by half a side, so that two in a row join neighbours; at the image's edge
    windows are cut by padding, which no pixel attends to (Swin instead rolls the image over its edges).

    Shapes: (b, c, h, w) -> the same, any size. MACs: per padded pixel 4 * c^2 + 2 * c * side^2.
    Source: Liu et al., "Swin Transformer", ICCV 2021.
    """

    near: Tensor

    def __init__(self, channels: int, heads: int = 4, side: int = 8, shift: bool = False):
        super().__init__()
        self.heads, self.side, self.shift = heads, side, side // 2 if shift else 0
        self.enter, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        offset = place[:, None] - place[None] + side - 1  # (side^2, side^2, 2), 0 .. 2 side - 2
        self.register_buffer("near", offset[..., 0] * (2 * side - 1) + offset[..., 1], persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, _, h, w = x.shape
        top = left = self.shift
        bottom, right = -(h + top) % self.side, -(w + left) % self.side
        windows = self._cut(F.pad(x, (left, right, top, bottom)))  # (b * windows, side^2, c)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.enter(windows).chunk(3, 2)
        )
        inside = self._cut(F.pad(torch.ones_like(x[:, :1]), (left, right, top, bottom)))
        unseen = (inside.transpose(1, 2) - 1) * 1e4  # (b * windows, 1, side^2): next to -inf, in half precision too
        bias = self.bias[self.near].permute(2, 0, 1) + unseen.unsqueeze(1)
        # Spelled out: PyTorch's fused attention with a mask does not pass through its ONNX exporter from here.
        heard = torch.softmax(query @ key.transpose(2, 3) * query.shape[3] ** -0.5 + bias, -1) @ value
        tokens = self.out(heard.transpose(1, 2).flatten(2))
        return self._join(tokens, b, h + top + bottom, w + left + right)[:, :, top : top + h, left : left + w]

    def _cut(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "n s c"]:
        """The windows of a map, each as a row of tokens."""
        s = self.side
        rows = x.unflatten(2, (-1, s)).unflatten(4, (-1, s))  # (b, c, h / s, s, w / s, s)
        return rows.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)

    def _join(self, tokens: Float[Tensor, "n s c"], b: int, h: int, w: int) -> Float[Tensor, "b c h w"]:
        s = self.side
        windows = tokens.reshape(b, h // s, w // s, s, s, -1)
        return windows.permute(0, 5, 1, 3, 2, 4).reshape(b, -1, h, w)
