"""The pinhole camera, and the calibrated, rectified stereo camera."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class PinholeCamera:
    """A camera without distortion: x = fx X / Z + cx, y = fy Y / Z + cy. Pixel centres have whole coordinates."""

    fx: float  # px
    fy: float  # px
    cx: float  # px
    cy: float  # px

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class StereoCamera:
    """Pinhole model of a rectified pair. Depth of a pixel is `focal * baseline / (disparity + doffs)`.

    `doffs` = cx of the right camera - cx of the left one (Middlebury's convention), in pixels.
    """

    focal: float  # px
    baseline: float  # m
    cx: float | None = None  # px, left camera; None: the image centre
    cy: float | None = None  # px; None: the image centre
    doffs: float = 0.0  # px

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)
