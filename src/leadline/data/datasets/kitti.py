"""KITTI 2012 and 2015, stereo and optical flow: sparse lidar truth, 16-bit PNG.

Source: https://www.cvlibs.net/datasets/kitti/eval_stereo.php. A pair's truth is at frame 10; the later frames of the
multi-view extension are not listed. `disp_occ` is the truth of all pixels, `disp_noc` of those that both views see;
`flow_occ` and `flow_noc` are the same for the motion of the left view until frame 11.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, present
from leadline.data.formats.calib import Pair, read_kitti_calib
from leadline.data.formats.images import read_image
from leadline.data.formats.kitti import read_kitti_disparity, read_kitti_flow
from leadline.data.sample import Sample
from leadline.models.network import Task


@dataclass(frozen=True)
class _Layout:
    views: tuple[tuple[str, str, Pair], ...]  # folders of the left and right views and their cameras, best first
    occ: str
    noc: str
    calib: str


_KITTI2012 = _Layout(
    views=(("colored_0", "colored_1", "color"), ("image_0", "image_1", "grey")),
    occ="disp_occ",
    noc="disp_noc",
    calib="calib",
)
_KITTI2015 = _Layout(
    views=(("image_2", "image_3", "color"),), occ="disp_occ_0", noc="disp_noc_0", calib="calib_cam_to_cam"
)


def open_kitti2012(path: str | os.PathLike, task: Task = Task.STEREO) -> FileDataset:
    """KITTI 2012: colour views where they are there, else the grey ones. `path` is the root or a split of it."""
    return _open_flow("kitti2012", path, _KITTI2012) if task is Task.FLOW else _open("kitti2012", path, _KITTI2012)


def open_kitti2015(path: str | os.PathLike, task: Task = Task.STEREO) -> FileDataset:
    """KITTI 2015, with the mask of moving cars (foreground). `path` is the root or a split of it."""
    return _open_flow("kitti2015", path, _KITTI2015) if task is Task.FLOW else _open("kitti2015", path, _KITTI2015)


def _open_flow(kind: str, path: str | os.PathLike, layout: _Layout) -> FileDataset:
    root = check_folder(path)
    split = root / "training" if (root / "training").is_dir() else root
    views = next((split / views[0] for views in layout.views if (split / views[0]).is_dir()), None)
    has_truth = any((split / name).is_dir() for name in ("flow_occ", "flow_noc"))
    items, problems = [], []
    for frame in sorted(views.glob("*_10.png")) if views is not None else []:
        files = present(
            frame0=frame,
            frame1=frame.with_name(frame.name.replace("_10.png", "_11.png")),
            occ=split / "flow_occ" / frame.name,
            noc=split / "flow_noc" / frame.name,
            foreground=split / "obj_map" / frame.name,
        )
        if "frame1" not in files:
            problems.append(f"{frame.with_name(frame.name.replace('_10', '_11'))}: missing, the pair is left out")
        elif has_truth and not {"occ", "noc"} & set(files):
            problems.append(f"{split / 'flow_occ' / frame.name}: missing, the pair is left out")
        else:
            items.append(Item(frame.stem, files))
    return check_found(FileDataset(f"{kind}:{path}", items, _read_flow_pair, problems, Task.FLOW))


def _read_flow_pair(item: Item) -> Sample:
    files = item.files
    sample = Sample(item.name, (read_image(files["frame0"]), read_image(files["frame1"])))
    if "occ" in files or "noc" in files:
        truth = "occ" if "occ" in files else "noc"
        sample.flow, sample.valid = read_kitti_flow(files[truth])
        sample.meta["truth"] = "all pixels" if truth == "occ" else "non-occluded pixels"
    if "occ" in files and "noc" in files and sample.valid is not None:
        seen_by_both = read_kitti_flow(files["noc"])[1]
        if seen_by_both.shape == sample.valid.shape:
            sample.occluded = sample.valid & ~seen_by_both
    if "foreground" in files:
        objects = read_image(files["foreground"])
        sample.foreground = (objects if objects.ndim == 2 else objects.max(axis=2)) > 0
    return sample


def _open(kind: str, path: str | os.PathLike, layout: _Layout) -> FileDataset:
    root = check_folder(path)
    split = root / "training" if (root / "training").is_dir() else root
    folders = {child.name for child in split.iterdir() if child.is_dir()}
    views = next((views for views in layout.views if set(views[:2]) & folders), None)
    items: list[Item] = []
    problems: list[str] = []
    if views is not None:
        items, problems = _list(split, layout, views, has_truth=bool({layout.occ, layout.noc} & folders))
    return check_found(FileDataset(f"{kind}:{path}", items, _read_grey if _is_grey(views) else _read_color, problems))


def _is_grey(views: tuple[str, str, Pair] | None) -> bool:
    return views is not None and views[2] == "grey"


def _list(split: Path, layout: _Layout, views: tuple[str, str, Pair], has_truth: bool) -> tuple[list[Item], list[str]]:
    left, right = split / views[0], split / views[1]
    names = sorted({path.name for folder in (left, right) for path in folder.glob("*_10.png")})
    items, problems = [], []
    for name in names:
        files = present(
            left=left / name,
            right=right / name,
            occ=split / layout.occ / name,
            noc=split / layout.noc / name,
            foreground=split / "obj_map" / name,
            calib=split / layout.calib / name.replace("_10.png", ".txt"),
        )
        missing = [folder.name for role, folder in (("left", left), ("right", right)) if role not in files]
        if has_truth and not {"occ", "noc"} & set(files):
            missing.append(f"{layout.occ} or {layout.noc}")
        if missing:
            problems.append(f"{split / missing[0] / name}: missing, the pair is left out")
        else:
            items.append(Item(name.removesuffix(".png"), files))
    return items, problems


def _read_color(item: Item) -> Sample:
    return _read(item, "color")


def _read_grey(item: Item) -> Sample:
    return _read(item, "grey")


def _read(item: Item, pair: Pair) -> Sample:
    files = item.files
    sample = Sample(item.name, (read_image(files["left"]), read_image(files["right"])))
    if "calib" in files:
        sample.camera = read_kitti_calib(files["calib"], pair)
    if "occ" in files or "noc" in files:
        truth = "occ" if "occ" in files else "noc"
        sample.disparity, sample.valid = read_kitti_disparity(files[truth])
        sample.meta["truth"] = "all pixels" if truth == "occ" else "non-occluded pixels"
    if "occ" in files and "noc" in files and sample.valid is not None:
        seen_by_both = read_kitti_disparity(files["noc"])[1]
        if seen_by_both.shape == sample.valid.shape:
            sample.occluded = sample.valid & ~seen_by_both
    if "foreground" in files:
        objects = read_image(files["foreground"])
        sample.foreground = (objects if objects.ndim == 2 else objects.max(axis=2)) > 0
    return sample
