"""Scene Flow: FlyingThings3D, Driving and Monkaa, rendered, dense truth of both views.

Source: N. Mayer et al., "A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow
Estimation", CVPR 2016; https://lmb.informatik.uni-freiburg.de/resources/datasets/SceneFlowDatasets.en.html.

The views lie under a folder named `...frames_finalpass` or `...frames_cleanpass`, the truth in the same place under the
`...disparity` beside it, however deep: the three sets apart as they are distributed, or merged into one tree.
The baseline is one unit of the renderer, so there is no metric camera; the focal length is in the sample's meta.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, images_in, item_name, present
from leadline.data.datasets.occlusion import occluded_by_cross_check
from leadline.data.formats.disparity import read_disparity
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample

_PASS = re.compile(r"(.*)frames_(final|clean)pass")


def open_sceneflow(path: str | os.PathLike) -> FileDataset:
    """Scene Flow at or below `path`, which may also be one scene. Where both passes are there, the final one.

    To read the clean pass, name its folder: `sceneflow:/data/sceneflow/frames_cleanpass`.
    """
    root = check_folder(path).absolute()
    scenes = [scene for folder in folders_under(root) if (scene := _scene_of(folder))]
    both = len({kind for _, _, kind in scenes}) > 1
    items, problems = [], []
    for place, truth, kind in scenes:
        if both and kind == "clean":
            continue
        found, missing = _list(root, place, truth)
        items += found
        problems += missing
    return check_found(FileDataset(f"sceneflow:{path}", items, _read, problems))


def _scene_of(folder: Path) -> tuple[Path, Path | None, str] | None:
    """For a scene's folder: itself, its place in the disparity tree (None: no such tree), and the pass."""
    if not ((folder / "left").is_dir() or (folder / "right").is_dir()):
        return None
    for index, part in enumerate(folder.parts):
        match = _PASS.fullmatch(part)
        if match:
            above, below = Path(*folder.parts[:index]), folder.parts[index + 1 :]
            trees = (above / f"{match[1]}{tree}" for tree in ("disparity", "frames_disparity"))
            tree = next((tree for tree in trees if tree.is_dir()), None)
            return folder, tree.joinpath(*below) if tree else None, match[2]
    return None


def _list(root: Path, scene: Path, truth: Path | None) -> tuple[list[Item], list[str]]:
    stems = {image.stem for side in ("left", "right") for image in images_in(scene / side)}
    items, problems = [], []
    for stem in sorted(stems):
        needed = {side: scene / side / f"{stem}.png" for side in ("left", "right")}
        further: dict[str, Path] = {}
        if truth is not None:
            needed["truth"] = truth / "left" / f"{stem}.pfm"
            further["right_truth"] = truth / "right" / f"{stem}.pfm"
        missing = next((file for file in needed.values() if not file.is_file()), None)
        if missing:
            problems.append(f"{missing}: missing, the pair is left out")
        else:
            items.append(Item(item_name(root, scene / stem), needed | present(**further)))
    return items, problems


def _read(item: Item) -> Sample:
    files = item.files
    sample = Sample(item.name, (read_image(files["left"]), read_image(files["right"])))
    # Driving has a set with a 15 mm lens; everything else was rendered with 35 mm.
    sample.meta["focal_px"] = 450.0 if "15mm_focallength" in files["left"].parts else 1050.0
    if "truth" in files:
        sample.disparity, sample.valid = read_disparity(files["truth"])
    if "right_truth" in files and sample.disparity is not None and sample.valid is not None:
        right, right_valid = read_disparity(files["right_truth"])
        if right.shape == sample.disparity.shape:
            sample.occluded = occluded_by_cross_check(sample.disparity, sample.valid, right, right_valid)
    return sample
