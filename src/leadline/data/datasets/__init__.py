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
        "kitti",
        "open_kitti2012",
        "[training/]colored_0,colored_1 or image_0,image_1, disp_occ, disp_noc, flow_occ, flow_noc, calib",
        (Task.STEREO, Task.FLOW),
    ),
    "kitti2015": Format(
        "kitti",
        "open_kitti2015",
        "[training/]image_2,image_3, disp_occ_0, disp_noc_0, flow_occ, flow_noc, obj_map, calib_cam_to_cam",
        (Task.STEREO, Task.FLOW),
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
        "NAME/left.png,right.png,disparity.npz,meta.json or NAME/im0,im1 or left/*,right/*,disparity/*, or one pair; "
        "flow: NAME/frame0.png,frame1.png,flow.npz,occlusion.png; "
        "interpolation: NAME/frame0.png,frame1.png,frame2.png, frame1 being the true middle; "
        "mono: NAME/image.png,depth.npz,meta.json",
        (Task.STEREO, Task.FLOW, Task.INTERPOLATION, Task.MONO),
    ),
    "sintel": Format(
        "flow_sets",
        "open_sintel",
        "[training/]final or clean/SCENE/frame_*.png, flow, occlusions, invalid/SCENE/frame_*",
        (Task.FLOW,),
    ),
    "chairs": Format("flow_sets", "open_chairs", "[data/]*_img1.ppm,*_img2.ppm,*_flow.flo", (Task.FLOW,)),
    "things": Format(
        "flow_sets",
        "open_things",
        "**/frames_finalpass or frames_cleanpass/**/left,right, **/optical_flow/**/into_future/left,right",
        (Task.FLOW,),
    ),
    "middlebury-flow": Format(
        "flow_sets",
        "open_middlebury_flow",
        "other-data/SCENE/frame10.png,frame11.png, other-gt-flow/SCENE/flow10.flo",
        (Task.FLOW,),
    ),
    "spring": Format(
        "flow_sets",
        "open_spring",
        "[train/]SCENE/frame_left,frame_right/*.png, flow_FW_left,flow_FW_right/*.flo5",
        (Task.FLOW,),
    ),
    "vimeo90k": Format(
        "triplet_sets",
        "open_vimeo90k",
        "sequences/*/*/im1.png to im3.png or im7.png, tri_ or sep_testlist.txt; PATH may be one of the lists",
        (Task.INTERPOLATION,),
    ),
    "ucf101": Format(
        "triplet_sets", "open_ucf101", "NUMBER/frame_00.png,frame_01_gt.png,frame_02.png", (Task.INTERPOLATION,)
    ),
    "snu-film": Format(
        "triplet_sets",
        "open_snu_film",
        "eval_modes/test-easy.txt (medium, hard, extreme), test/*/*/*.png; PATH may be one of the lists",
        (Task.INTERPOLATION,),
    ),
    "xiph-2k": Format(
        "triplet_sets", "open_xiph_2k", "CLIP-001.png or CLIP/001.png ..., halved in size", (Task.INTERPOLATION,)
    ),
    "xiph-4k": Format(
        "triplet_sets", "open_xiph_4k", "CLIP-001.png or CLIP/001.png ..., the middle half", (Task.INTERPOLATION,)
    ),
    "middlebury-interp": Format(
        "triplet_sets",
        "open_middlebury_interp",
        "other-data/SCENE/frame10.png,frame11.png, other-gt-interp/SCENE/frame10i11.png",
        (Task.INTERPOLATION,),
    ),
    "nyu": Format("nyu", "open_nyu", "**/rgb_*.jpg,sync_depth_*.png, or nyu_depth_v2_labeled.mat", (Task.MONO,)),
    "kitti-depth": Format(
        "kitti_depth",
        "open_kitti_depth",
        "[train/,val/]DRIVE/proj_depth/groundtruth/image_0*/* and DRIVE/image_0*/data/*; or image,groundtruth_depth,"
        "intrinsics; or image_02,groundtruth. PATH may end in ,split=FILE",
        (Task.MONO,),
    ),
    "tum": Format("tum", "open_tum", "**/rgb/TIME.png, depth/TIME.png", (Task.MONO,)),
    "diode": Format("diode", "open_diode", "**/NAME.png,NAME_depth.npy,NAME_depth_mask.npy", (Task.MONO,)),
    "sun": Format("sun", "open_sun", "**/SCENE/image/*,depth_bfx/* or depth/*,intrinsics.txt", (Task.MONO,)),
    "redwood": Format("redwood", "open_redwood", "**/color,rgb or image/NUMBER*, depth/NUMBER*", (Task.MONO,)),
    "frames": Format("frames", "open_frames", "**/consecutive images, meta.json with fx,fy,cx,cy", (Task.MONO,)),
}


def open_files(kind: str, path: str, task: Task | None = None) -> FileDataset:
    """Opens the data set at `path` in the layout of the format `kind`, one of FORMATS.

    Raises:
        UserError: the format does not hold the task, or what its opener raises.
    """
    form = FORMATS[kind]
    if task is Task.MONO and Task.MONO not in form.tasks and Task.STEREO in form.tasks:
        from leadline.data.datasets.stereo_as_mono import StereoAsMono

        return StereoAsMono(open_files(kind, path, Task.STEREO))
    if task is not None and task not in form.tasks:
        able = [name for name, other in FORMATS.items() if task in other.tasks]
        others = f"formats for it are {', '.join(able)}" if able else "there is no format for it"
        raise UserError(f"{kind}: holds {' and '.join(form.tasks)}, not {task.value}: {others}")
    opener = getattr(import_module(f"leadline.data.datasets.{form.module}"), form.function)
    return opener(path) if len(form.tasks) == 1 else opener(path, task or form.tasks[0])
