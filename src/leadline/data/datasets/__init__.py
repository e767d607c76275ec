"""Data sets in their own layouts, one module each, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from leadline.errors import UserError
from leadline.models.network import Task

if TYPE_CHECKING:
    from leadline.data.datasets.base import FileDataset


@dataclass(frozen=True)
class Format:
    """A data set's layout on disk and the function that opens it.

    `function(path) -> FileDataset`; one that holds several tasks: `function(path, task) -> FileDataset`.
    """

    module: str  # in this package
    function: str
    layout: str  # for people, in one line
    tasks: tuple[Task, ...] = (Task.STEREO,)  # the first is meant where none is asked for


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


def open_files(kind: str, path: str, task: Task | None = None) -> FileDataset:
    """Opens the data set at `path` in the layout of the format `kind`, one of FORMATS.

    Raises:
        UserError: the format does not hold the task, or what its opener raises.
    """
    form = FORMATS[kind]
    if task is not None and task not in form.tasks:
        able = [name for name, other in FORMATS.items() if task in other.tasks]
        others = f"formats for it are {', '.join(able)}" if able else "there is no format for it"
        raise UserError(f"{kind}: holds {' and '.join(form.tasks)}, not {task.value}: {others}")
    opener = getattr(import_module(f"leadline.data.datasets.{form.module}"), form.function)
    return opener(path) if len(form.tasks) == 1 else opener(path, task or form.tasks[0])
