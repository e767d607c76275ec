"""The files that `leadline predict` writes for a pair."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from leadline.colors import color_disparity
from leadline.data.formats.depth_png import MILLIMETRES, write_depth_png
from leadline.data.formats.disparity import write_disparity
from leadline.data.formats.images import write_image
from leadline.data.formats.kitti import MAX_DISPARITY
from leadline.data.formats.ply import write_ply
from leadline.files import write_whole
from leadline.geometry.camera import StereoCamera
from leadline.geometry.cloud import point_cloud
from leadline.geometry.depth import disparity_to_depth

FILES = (
    "disparity.pfm",
    "disparity.png",
    "disparity_color.png",
    "depth.png",
    "cloud.ply",
    "disparity_right.pfm",
    "consistent.png",
    "confidence.png",
)  # all that a run may write beside meta.json


@dataclass
class Results:
    """Writes files into one folder and remembers each with what it holds, for meta.json."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Removes what an earlier run left here, as its meta.json tells: its depth.png would pass for this pair's."""
        about = self.folder / "meta.json"
        try:
            earlier = json.loads(about.read_text(encoding="utf-8"))
            if isinstance(earlier, dict) and "leadline" in earlier:
                about.unlink()
                for name in FILES:
                    if name in earlier["files"]:
                        (self.folder / name).unlink(missing_ok=True)
        except (OSError, ValueError, KeyError, TypeError):
            return  # there was none, it is no run's, or writing will say what is wrong

    def disparity(self, disparity: Float32[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]) -> None:
        """disparity.pfm, disparity.png and disparity_color.png."""
        write_disparity(self.folder / "disparity.pfm", disparity, valid)
        self.files["disparity.pfm"] = "disparity, px, float32; inf where invalid"
        fits = valid & (disparity <= MAX_DISPARITY)
        if (valid & ~fits).any():
            self.warnings.append(
                f"{int((valid & ~fits).sum())} pixels have a disparity over {MAX_DISPARITY:.3f} px, "
                "which a 16-bit PNG cannot hold: they are 0 (invalid) in disparity.png; disparity.pfm has them"
            )
        write_disparity(self.folder / "disparity.png", disparity, fits)
        self.files["disparity.png"] = "disparity x 256, px, uint16; 0 where invalid or over 255.99 px"
        write_image(self.folder / "disparity_color.png", color_disparity(disparity, valid))
        self.files["disparity_color.png"] = "disparity in colours (Turbo: blue far, red near); black where invalid"

    def depth(
        self,
        disparity: Float32[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
        image: np.ndarray,
        camera: StereoCamera,
        max_depth: float | None,
    ) -> None:
        """depth.png and cloud.ply."""
        depth, known = disparity_to_depth(disparity, camera, valid)
        write_depth_png(self.folder / "depth.png", depth, known)
        farthest = 65535 / MILLIMETRES
        self.files["depth.png"] = f"depth, mm, uint16; 0 where invalid or farther than {farthest:.3f} m"
        points, colors = point_cloud(disparity, image, camera, valid, max_depth)
        write_ply(self.folder / "cloud.ply", points, colors)
        self.files["cloud.ply"] = "points, m, left camera at the origin: x right, y down, z forward; RGB"
        if known.any() and not len(points):
            self.warnings.append(f"cloud.ply is empty: every point is farther than {max_depth:g} m")

    def right_view(self, disparity: Float32[np.ndarray, "h w"]) -> None:
        """disparity_right.pfm."""
        write_disparity(self.folder / "disparity_right.pfm", disparity, np.isfinite(disparity))
        self.files["disparity_right.pfm"] = "disparity of the right view, px: x_left = x_right + d"

    def trust(self, consistent: Bool[np.ndarray, "h w"], confidence: Float32[np.ndarray, "h w"]) -> None:
        """consistent.png and confidence.png."""
        write_image(self.folder / "consistent.png", consistent.astype(np.uint8) * 255)
        self.files["consistent.png"] = "255 where the left and right disparity agree within 1 px, else 0"
        write_image(self.folder / "confidence.png", np.rint(confidence * 255).astype(np.uint8))
        self.files["confidence.png"] = "255 x exp(-left-right difference / 1 px), uint8"

    def meta(self, about: dict[str, Any]) -> dict[str, Any]:
        """meta.json, and what it holds."""
        whole = {**about, "files": self.files, "warnings": self.warnings}
        write_whole(self.folder / "meta.json", (json.dumps(whole, indent=2) + "\n").encode())
        return whole
