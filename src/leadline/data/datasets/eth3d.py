"""ETH3D two-view stereo: grey views, lidar truth.

Source: T. Schöps et al., "A Multi-View Stereo Benchmark with High-Resolution Images and Multi-Camera Videos", CVPR
2017; https://www.eth3d.net/datasets.
"""

from __future__ import annotations

import os

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, folders_under, item_name
from leadline.data.datasets.scenes import read_scene, scene_files


def open_eth3d(path: str | os.PathLike) -> FileDataset:
    """ETH3D's scenes at or below `path`, which may also be one scene.

    The truth is in the scene's folder, or under `two_view_training_gt` beside `two_view_training`, as it is
    distributed.
    """
    root = check_folder(path).absolute()
    items, problems = [], []
    for scene in folders_under(root):
        files = scene_files(scene, scene.parent.with_name(f"{scene.parent.name}_gt") / scene.name)
        if "left" in files and "right" in files:
            items.append(Item(item_name(root, scene), files))
        elif "left" in files or "right" in files:
            missing = "im1" if "left" in files else "im0"
            problems.append(f"{scene / missing}.png: missing, the scene is left out")
    return check_found(FileDataset(f"eth3d:{path}", items, read_scene, problems))
