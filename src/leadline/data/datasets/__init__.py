"""Data sets in their own layouts, one module each, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leadline.data.datasets.base import FileDataset


@dataclass(frozen=True)
class Format:
    """A data set's layout on disk and the function that opens it: `function(path) -> FileDataset`."""

    module: str  # in this package
    function: str
    layout: str  # for people, in one line


FORMATS = {
    "kitti2012": Format(
        "kitti", "open_kitti2012", "[training/]colored_0,colored_1 or image_0,image_1, disp_occ, disp_noc, calib"
    ),
    "kitti2015": Format(
        "kitti", "open_kitti2015", "[training/]image_2,image_3, disp_occ_0, disp_noc_0, obj_map, calib_cam_to_cam"
    ),
    "sceneflow": Format(
        "sceneflow",
        "open_sceneflow",
        "**/frames_finalpass or frames_cleanpass/**/left,right, **/disparity/**/left,right",
    ),
    "middlebury": Format(
        "middlebury", "open_middlebury", "**/SCENE/im2,im6,disp2,disp6 or view1,view5,disp1,disp5 or im0,im1,disp0.pfm"
    ),
    "eth3d": Format("eth3d", "open_eth3d", "**/SCENE/im0.png,im1.png, disp0GT.pfm, mask0nocc.png, calib.txt"),
    "drivingstereo": Format(
        "drivingstereo", "open_drivingstereo", "**/left-image*,right-image*,disparity-map*/**, **/half-image-calib"
    ),
    "folder": Format(
        "folder",
        "open_folder",
        "NAME/left.png,right.png,disparity.npz,meta.json or NAME/im0,im1 or left/*,right/*,disparity/*, or one pair",
    ),
}


def open_files(kind: str, path: str) -> FileDataset:
    """Opens the data set at `path` in the layout of the format `kind`, one of FORMATS."""
    form = FORMATS[kind]
    module = import_module(f"leadline.data.datasets.{form.module}")
    return getattr(module, form.function)(path)
