"""Middlebury stereo: 2001, 2003, 2005, 2006, 2014, 2021 and the evaluation sets of version 3.

Source: https://vision.middlebury.edu/stereo/data/ and the pages of each year. Until 2006 the truth is an 8-bit image,
disparity times a scale that depends on the year and the size, 0 where unknown; since 2014 it is PFM.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, find_image, folders_under, item_name, present
from leadline.data.datasets.occlusion import occluded_by_cross_check
from leadline.data.datasets.scenes import read_scene, scene_files
from leadline.data.formats.content import read_content
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.geometry.camera import StereoCamera


@dataclass(frozen=True)
class _Layout:
    """File names (without suffix) of a scene with 8-bit truth."""

    left: str
    right: str
    truth: str
    right_truth: str


_TSUKUBA = _Layout("scene1.row3.col3", "scene1.row3.col4", "truedisp.row3.col3", "")
_2001_2003 = _Layout("im2", "im6", "disp2", "disp6")
_2005_2006 = _Layout("view1", "view5", "disp1", "disp5")
_OLD = (_2001_2003, _2005_2006, _TSUKUBA)

# Of the 2005 and 2006 cameras at full size: https://vision.middlebury.edu/stereo/data/scenes2006/
_FOCAL_2006, _BASELINE_2006 = 3740.0, 0.160  # px, m


def open_middlebury(path: str | os.PathLike) -> FileDataset:
    """Middlebury's scenes at or below `path`, which may also be one scene; years and sizes may be mixed."""
    root = check_folder(path).absolute()
    items, problems = [], []
    for folder in folders_under(root):
        files = _find(folder)
        if "left" in files and "right" in files:
            items.append(Item(item_name(root, folder), files))
        elif "left" in files:
            problems.append(f"{folder}: {files['left'].name} has no right view, the scene is left out")
    return check_found(FileDataset(f"middlebury:{path}", items, _read, problems))


def _find(folder: Path) -> dict[str, Path]:
    # Old scenes may have im0 to im8, so their pair is looked for before the newer im0, im1.
    for layout in _OLD:
        left = find_image(folder, layout.left)
        if left is not None and not (layout is _2001_2003 and find_image(folder, layout.right) is None):
            return present(
                left=left,
                right=find_image(folder, layout.right),
                old_truth=_near(folder, layout.truth),
                old_right_truth=_near(folder, layout.right_truth) if layout.right_truth else None,
                dmin=next((place / "dmin.txt" for place in _places(folder) if (place / "dmin.txt").is_file()), None),
            )
    return scene_files(folder)


def _near(folder: Path, stem: str) -> Path | None:
    return next((image for place in _places(folder) if (image := find_image(place, stem))), None)


def _places(folder: Path) -> list[Path]:
    """Views under SCENE/Illum1/Exp0 have their truth in SCENE."""
    if folder.name.startswith("Exp") and folder.parent.name.startswith("Illum"):
        return [folder, folder.parent.parent]
    return [folder]


def _read(item: Item) -> Sample:
    files = item.files
    if "old_truth" not in files:
        return read_scene(item)
    sample = Sample(item.name, (read_image(files["left"]), read_image(files["right"])))
    scale = disparity_scale(files["left"], sample.size)
    sample.meta["disparity_scale"] = scale
    sample.disparity, sample.valid = _read_8bit(files["old_truth"], scale)
    if "old_right_truth" in files:
        right, right_valid = _read_8bit(files["old_right_truth"], scale)
        if right.shape == sample.disparity.shape:
            sample.occluded = occluded_by_cross_check(sample.disparity, sample.valid, right, right_valid)
    if "dmin" in files:
        sample.camera = _camera_2006(files["dmin"], scale)
    return sample


def disparity_scale(left: Path, size: tuple[int, int]) -> int:
    """What the 8-bit truth is divided by, from the left view's file name and its size (h, w).

    2001: 8 (Tsukuba: 16). 2003: 4, 2 and 1 for the quarter, half and full size. 2005 and 2006: 3, 2 and 1 for the
    third, half and full size, which are 370, 555 and 1110 rows high.

    Raises:
        UserError: a size that was not distributed, so that the scale is not known.
    """
    scale = None
    if left.stem == _TSUKUBA.left:
        scale = 16
    elif left.stem == _2005_2006.left:
        scale = {370: 3, 555: 2, 1110: 1}.get(size[0])
    else:
        scale = {(375, 450): 4, (750, 900): 2, (1500, 1800): 1}.get(size, 8 if max(size) <= 450 else None)
    if scale is None:
        raise UserError(
            f"{left}: {size[1]} x {size[0]} is no size of this data set, so its disparity scale is not known: "
            "use the original files"
        )
    return scale


def _read_8bit(path: Path, scale: int) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    stored = read_image(path)
    if stored.dtype != np.uint8 or stored.ndim != 2:
        raise UserError(f"{path}: is {stored.dtype} {stored.shape}; this truth is 8-bit grey: use the original file")
    return stored.astype(np.float32) / np.float32(scale), stored > 0


def _camera_2006(path: Path, scale: int) -> StereoCamera:
    """dmin.txt: what the cropping of the views took off each full-size disparity."""
    try:
        cropped = float(read_content(path))
    except ValueError:
        raise UserError(f"{path}: is not one number: use the original file") from None
    return StereoCamera(focal=_FOCAL_2006 / scale, baseline=_BASELINE_2006, doffs=cropped / scale)
