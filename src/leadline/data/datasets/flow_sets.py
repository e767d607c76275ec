"""Optical flow in the layouts of its data sets: Sintel, FlyingChairs, FlyingThings3D, Middlebury, Spring.

Sources: D. Butler et al., "A Naturalistic Open Source Movie for Optical Flow Evaluation", ECCV 2012 (Sintel);
A. Dosovitskiy et al., "FlowNet", ICCV 2015 (FlyingChairs); N. Mayer et al., CVPR 2016 (FlyingThings3D); S. Baker et
al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011 (Middlebury); L. Mehl et al., "Spring: A
High-Resolution High-Detail Dataset and Benchmark", CVPR 2023.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import (
    check_folder,
    check_found,
    find_file,
    find_image,
    folders_under,
    images_in,
    item_name,
    present,
)
from leadline.data.formats.flow_map import SUFFIXES, read_flow
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models.network import Task


def open_sintel(path: str | os.PathLike) -> FileDataset:
    """MPI Sintel: `[training/]final|clean/SCENE/frame_NNNN.png`, with flow, occlusions and invalid beside them.

    Where both passes are there, the final one; to read the clean one name its folder (`sintel:.../training/clean`).
    """
    given = check_folder(path)
    root = given / "training" if (given / "training").is_dir() else given
    passes = [name for name in ("final", "clean") if (root / name).is_dir()]
    if root.name in ("final", "clean"):
        root, passes = root.parent, [root.name]
    items, problems = [], []
    for scene in sorted(p for p in (root / passes[0]).iterdir() if p.is_dir()) if passes else []:
        for frame, after in _consecutive(images_in(scene)):
            files = present(
                frame0=frame,
                frame1=after,
                truth=root / "flow" / scene.name / f"{frame.stem}.flo",
                occluded=root / "occlusions" / scene.name / frame.name,
                invalid=root / "invalid" / scene.name / frame.name,
            )
            if "truth" in files or not (root / "flow").is_dir():
                items.append(Item(f"{scene.name}_{frame.stem}", files))
            else:
                problems.append(f"{root / 'flow' / scene.name / frame.stem}.flo: missing, the pair is left out")
    return check_found(FileDataset(f"sintel:{path}", items, read_flow_item, problems, Task.FLOW))


def open_chairs(path: str | os.PathLike) -> FileDataset:
    """FlyingChairs: `[data/]NNNNN_img1.ppm, NNNNN_img2.ppm, NNNNN_flow.flo`.

    FlyingChairs2's and FlowNet2's own names (`-img_0.png, -img_1.png, -flow_01.flo`; `-img0.ppm, -img1.ppm, -gt.flo`)
    are known too.
    """
    given = check_folder(path)
    root = given / "data" if (given / "data").is_dir() else given
    items, problems = [], []
    for first, second, flow in (
        ("_img1", "_img2", "_flow"),
        ("-img_0", "-img_1", "-flow_01"),
        ("-img0", "-img1", "-gt"),
    ):
        for frame in images_in(root):
            if not frame.stem.endswith(first):
                continue
            name = frame.stem.removesuffix(first)
            files = present(frame0=frame, frame1=find_image(root, name + second), truth=root / f"{name}{flow}.flo")
            missing = next((role for role in ("frame1", "truth") if role not in files), None)
            if missing:
                where = f"{name}{second if missing == 'frame1' else flow}"
                problems.append(f"{root / where}: missing, the pair is left out")
            else:
                items.append(Item(name, files))
    return check_found(FileDataset(f"chairs:{path}", items, read_flow_item, problems, Task.FLOW))


def open_things(path: str | os.PathLike) -> FileDataset:
    """FlyingThings3D (Driving and Monkaa too): `**/frames_*pass/**/left/NNNN.png` and `**/optical_flow/**/into_future/
    left/OpticalFlowIntoFuture_NNNN_L.pfm`; both views. Where both passes are there, the final one."""
    root = check_folder(path).absolute()
    found: list[tuple[Path, Path, str]] = []
    for folder in folders_under(root):
        if folder.name not in ("left", "right"):
            continue
        for index, part in enumerate(folder.parts):
            if part in ("frames_finalpass", "frames_cleanpass"):
                tree = Path(*folder.parts[:index], "optical_flow", *folder.parts[index + 1 : -1], "into_future")
                found.append((folder, tree / folder.name, part))
    final = any(kind == "frames_finalpass" for _, _, kind in found)
    items, problems = [], []
    for folder, truth, kind in found:
        if final and kind != "frames_finalpass":
            continue
        side = folder.name[0].upper()
        for frame, after in _consecutive(images_in(folder)):
            flow = truth / f"OpticalFlowIntoFuture_{frame.stem}_{side}.pfm"
            files = present(frame0=frame, frame1=after, truth=flow)
            if "truth" in files:
                items.append(Item(item_name(root, folder / frame.stem), files))
            else:
                problems.append(f"{flow}: missing, the pair is left out")
    return check_found(FileDataset(f"things:{path}", items, read_flow_item, problems, Task.FLOW))


def open_middlebury_flow(path: str | os.PathLike) -> FileDataset:
    """Middlebury: `other-data/SCENE/frame10.png, frame11.png` and `other-gt-flow/SCENE/flow10.flo` (or one tree)."""
    root = check_folder(path)
    trees = [root / name for name in ("other-data", "other-color-twoframes", "other-gray-twoframes")]
    data = next((tree for tree in trees if tree.is_dir()), root)
    has_truth = (root / "other-gt-flow").is_dir()
    items, problems = [], []
    for scene in sorted(p for p in data.iterdir() if p.is_dir()):
        truth = [place / "flow10.flo" for place in (root / "other-gt-flow" / scene.name, scene)]
        files = present(
            frame0=find_image(scene, "frame10"),
            frame1=find_image(scene, "frame11"),
            truth=next((flow for flow in truth if flow.is_file()), None),
        )
        missing = next((role for role in ("frame0", "frame1", "truth") if role not in files), None)
        if missing in ("frame0", "frame1") and not images_in(scene):
            continue  # another folder, such as other-gt-flow itself
        if missing is None or (missing == "truth" and not has_truth):
            items.append(Item(scene.name, files))
        else:
            name = {"frame0": "frame10.png", "frame1": "frame11.png", "truth": "flow10.flo"}[missing]
            problems.append(f"{scene / name}: missing, the pair is left out")
    return check_found(FileDataset(f"middlebury-flow:{path}", items, read_flow_item, problems, Task.FLOW))


def open_spring(path: str | os.PathLike) -> FileDataset:
    """Spring: `[train/]SCENE/frame_left/frame_left_NNNN.png` and `flow_FW_left/flow_FW_left_NNNN.flo5`, both views.

    The flow has twice the frames' resolution; the pixel at (2 y, 2 x) of it is taken for (y, x).
    """
    given = check_folder(path)
    root = given / "train" if (given / "train").is_dir() else given
    items, problems = [], []
    for scene in sorted(p for p in root.iterdir() if p.is_dir()):
        for side in ("left", "right"):
            truth = scene / f"flow_FW_{side}"
            for frame, after in _consecutive(images_in(scene / f"frame_{side}")):
                number = frame.stem.rsplit("_", 1)[-1]
                files = present(frame0=frame, frame1=after, truth=truth / f"flow_FW_{side}_{number}.flo5")
                if "truth" in files or not truth.is_dir():
                    items.append(Item(f"{scene.name}_{side}_{number}", files))
                else:
                    problems.append(f"{truth}/flow_FW_{side}_{number}.flo5: missing, the pair is left out")
    return check_found(FileDataset(f"spring:{path}", items, read_flow_item, problems, Task.FLOW))


def list_flow_scenes(root: Path) -> tuple[list[Item], list[str]]:
    """People's own: `NAME/frame0.png, frame1.png` with `flow.npz` (or .flo, ...) and `occlusion.png` where known."""
    items, problems = [], []
    for folder in (root, *sorted(child for child in root.iterdir() if child.is_dir())):
        files = present(
            frame0=find_image(folder, "frame0"),
            frame1=find_image(folder, "frame1"),
            truth=find_file(folder, "flow", SUFFIXES),
            occluded=find_image(folder, "occlusion"),
        )
        if "frame0" in files and "frame1" in files:
            if find_image(folder, "frame2") is None:  # else it is a triplet, whose frame1 is the middle one
                items.append(Item(item_name(root, folder), files))
        elif "frame0" in files or "frame1" in files:
            missing = "frame1" if "frame0" in files else "frame0"
            problems.append(f"{folder / missing}.png: missing, the pair is left out")
    return items, problems


def _consecutive(frames: list[Path]) -> list[tuple[Path, Path]]:
    """Frames whose names end in neighbouring numbers; a missing frame makes no pair across the gap."""
    numbered = [(int(match[1]), frame) for frame in frames if (match := re.search(r"(\d+)$", frame.stem))]
    numbered.sort()
    return [(a, b) for (i, a), (j, b) in pairwise(numbered) if j == i + 1]


def read_flow_item(item: Item) -> Sample:
    """Reads the frames with what else there is of truth, invalid, occluded."""
    files = item.files
    sample = Sample(item.name, (read_image(files["frame0"]), read_image(files["frame1"])))
    if "truth" not in files:
        return sample
    flow, valid = read_flow(files["truth"])
    height, width = sample.size
    if flow.shape[:2] == (2 * height, 2 * width) and files["truth"].suffix == ".flo5":
        flow, valid = flow[::2, ::2].copy(), valid[::2, ::2].copy()
    if valid.shape != sample.size:
        found = f"{valid.shape[1]} x {valid.shape[0]} and the frames are {width} x {height}"
        raise UserError(f"{files['truth']}: the flow is {found}: use the files of one resolution")
    if "invalid" in files:
        valid = valid & (_mask(files["invalid"], sample) == 0)
    if "occluded" in files:
        sample.occluded = _mask(files["occluded"], sample) > 0
    sample.flow, sample.valid = np.where(valid[..., None], flow, np.float32(0)), valid
    return sample


def _mask(path: Path, sample: Sample) -> np.ndarray:
    mask = read_image(path)
    mask = mask if mask.ndim == 2 else mask.max(axis=2)
    if mask.shape != sample.size:
        raise UserError(f"{path}: is {mask.shape[1]} x {mask.shape[0]}, the frames are not: use the original files")
    return mask
