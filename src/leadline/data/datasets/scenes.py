"""Scene folders with im0, im1, a PFM truth and calib.txt: Middlebury since 2014, ETH3D, and people's own."""

from __future__ import annotations

from pathlib import Path

from leadline.data.datasets.base import Item
from leadline.data.datasets.files import find_image, present
from leadline.data.datasets.occlusion import occluded_by_cross_check
from leadline.data.formats.calib import read_calib
from leadline.data.formats.disparity import read_disparity
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample


def scene_files(folder: Path, truth_folder: Path | None = None) -> dict[str, Path]:
    """The files of one scene by role; `truth_folder` is looked into too where the truth came separately."""
    places = [place for place in (folder, truth_folder) if place is not None]

    def first(*names: str) -> Path | None:
        return next((place / name for name in names for place in places if (place / name).is_file()), None)

    return present(
        left=find_image(folder, "im0"),
        right=find_image(folder, "im1"),
        truth=first("disp0GT.pfm", "disp0.pfm"),
        right_truth=first("disp1GT.pfm", "disp1.pfm"),
        mask=first("mask0nocc.png"),
        calib=first("calib.txt"),
    )


def read_scene(item: Item) -> Sample:
    """Reads a pair with what else there is of truth, right_truth, mask and calib.

    Occlusion is from the mask (255: seen by both views), or else from the truth of both views.
    """
    files = item.files
    sample = Sample(item.name, (read_image(files["left"]), read_image(files["right"])))
    if "calib" in files:
        sample.camera = read_calib(files["calib"])
    if "truth" not in files:
        return sample
    sample.disparity, sample.valid = read_disparity(files["truth"])
    if "mask" in files:
        mask = read_image(files["mask"])
        mask = mask if mask.ndim == 2 else mask[:, :, 0]
        sample.occluded = sample.valid & (mask != 255) if mask.shape == sample.valid.shape else mask != 255
    elif "right_truth" in files:
        right, right_valid = read_disparity(files["right_truth"])
        if right.shape == sample.disparity.shape:
            sample.occluded = occluded_by_cross_check(sample.disparity, sample.valid, right, right_valid)
    return sample
