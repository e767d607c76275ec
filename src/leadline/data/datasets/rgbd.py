"""What the readers of single images with depth share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.datasets.base import Item
from leadline.data.formats.content import read_content
from leadline.data.formats.depth_png import read_depth_png
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import PinholeCamera

Depth = tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]


def pair_up(
    images: dict[str, Path], depths: dict[str, Path], name: Callable[[str], str], missing: str
) -> tuple[list[Item], list[str]]:
    """Items of the images and depths with one key, and a line for each that lacks its other part.

    Args:
        images, depths: files by what tells which belong together.
        name: of an item, from its key.
        missing: what an item without one part is called.
    """
    items, problems = [], []
    for key in sorted({*images, *depths}):
        if key in images and key in depths:
            items.append(Item(name(key), {"image": images[key], "depth": depths[key]}))
        else:
            there, lacking = (images, "depth") if key in images else (depths, "image")
            problems.append(f"{there[key]}: its {lacking} is missing, {missing} is left out")
    return items, problems


def read_rgbd(item: Item, scale: float, camera: PinholeCamera | None = None) -> Sample:
    """An image and a 16-bit depth PNG of `scale` per metre."""
    sample = Sample(item.name, (read_image(item.files["image"]),))
    if "depth" in item.files:
        sample.depth, sample.valid = read_depth_png(item.files["depth"], scale)
    sample.intrinsics = camera
    return sample


def camera_of(path: Path) -> PinholeCamera:
    """The camera in a meta.json: fx, fy (default fx), cx, cy in px, at its top or under `calib` or `camera`.

    Raises:
        UserError: not JSON, or no such numbers.
    """
    camera = find_camera(path)
    if camera is None:
        raise UserError(f"{path}: states no camera: add fx, fy, cx and cy (px) under 'calib'")
    return camera


def find_camera(path: Path) -> PinholeCamera | None:
    """The same, or None where nothing is said of fx."""
    try:
        meta = json.loads(read_content(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not valid JSON ({error}): mend or remove it") from error
    if not isinstance(meta, dict):
        raise UserError(f"{path}: is not a JSON object: mend or remove it")
    values = next((v for key in ("calib", "camera") if isinstance(v := meta.get(key), dict)), meta)
    if "fx" not in values:
        return None
    try:
        fx = float(values["fx"])
        camera = PinholeCamera(fx, float(values.get("fy", fx)), float(values["cx"]), float(values["cy"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: fx, fy, cx and cy (px) are not all numbers: mend them") from error
    if not (camera.fx > 0 and camera.fy > 0):
        raise UserError(f"{path}: fx and fy are px, more than 0")
    return camera
