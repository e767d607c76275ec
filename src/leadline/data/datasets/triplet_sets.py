"""Frames with a true one between them: Vimeo90K, UCF101, SNU-FILM, Xiph, Middlebury, and folders of one's own.

Sources: T. Xue et al., "Video Enhancement with Task-Oriented Flow", IJCV 2019 (Vimeo90K); Z. Liu et al., "Video Frame
Synthesis Using Deep Voxel Flow", ICCV 2017 (UCF101's 379 triplets); M. Choi et al., "Channel Attention Is All You Need
for Video Frame Interpolation", AAAI 2020 (SNU-FILM); S. Niklaus, F. Liu, "Softmax Splatting", CVPR 2020 (Xiph's eight
clips); S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011 (Middlebury).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from leadline.data.datasets.base import FileDataset, Item
from leadline.data.datasets.files import check_folder, check_found, find_image, folders_under, images_in, item_name
from leadline.data.formats.images import read_image
from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models.network import Task

SNU_LISTS = ("easy", "medium", "hard", "extreme")
MIDDLE = 0.5


def open_vimeo90k(path: str | os.PathLike) -> FileDataset:
    """Vimeo90K, triplets or septuplets: the folder, or one of its lists.

    A folder stands for its test list (tri_testlist.txt or sep_testlist.txt), or for all sequences where it has none; to
    train, name the other list: `vimeo90k:/data/vimeo_triplet/tri_trainlist.txt`. Of seven frames the outer two are
    given, and each of the five between is the truth of one sample, at its own time.
    """
    place = Path(path).expanduser()
    if place.is_file():
        root, listed = place.parent.absolute(), place
    else:
        root = check_folder(path).absolute()
        lists = (root / f"{kind}_testlist.txt" for kind in ("tri", "sep"))
        listed = next((file for file in lists if file.is_file()), None)
    sequences = root / "sequences" if (root / "sequences").is_dir() else root
    if listed is None:
        folders: list[Path] = [f for f in folders_under(sequences) if find_image(f, "im1") is not None]
    else:
        folders = [sequences / line for line in _lines(listed)]
    items, problems = [], []
    for folder in folders:
        frames = [find_image(folder, f"im{k}") for k in range(1, 8)]
        known = [frame for frame in frames if frame is not None]
        if len(known) not in (3, 7):
            problems.append(f"{folder}: {len(known)} of the frames im1 to im3 or im7, the sequence is left out")
            continue
        name = item_name(root, folder).removeprefix("sequences_")
        for k in range(1, len(known) - 1):
            label = name if len(known) == 3 else f"{name}_im{k + 1}"
            items.append(_item(label, known[0], known[k], known[-1]))
    return _dataset(f"vimeo90k:{path}", items, problems)


def open_ucf101(path: str | os.PathLike) -> FileDataset:
    """The 379 triplets of UCF101 that Deep Voxel Flow distributes: NUMBER/frame_00, frame_01_gt, frame_02."""
    return _by_folder("ucf101", path, ("frame_00", "frame_01_gt", "frame_02"))


def open_snu_film(path: str | os.PathLike) -> FileDataset:
    """SNU-FILM: one of its lists (eval_modes/test-hard.txt), or the folder, which stands for all four."""
    place = Path(path).expanduser()
    if place.is_file():
        lists = [place]
    else:
        root = check_folder(path).absolute()
        files = [folder / f"test-{mode}.txt" for mode in SNU_LISTS for folder in (root / "eval_modes", root)]
        lists = [file for file in files if file.is_file()]
    items, problems = [], []
    for listed in lists:
        mode = listed.stem.removeprefix("test-")
        for line in _lines(listed):
            parts = line.split()
            frames = [_locate(listed, part) for part in parts]
            if len(parts) != 3 or None in frames:
                problems.append(f"{listed}: {line.strip()!r} is not three frames that are there, it is left out")
                continue
            name = re.sub(r"[^\w.+-]+", "_", f"{mode}_{Path(parts[1]).parent.name}_{Path(parts[1]).stem}")
            items.append(_item(name, *frames))  # pyright: ignore[reportArgumentType]
    return _dataset(f"snu-film:{path}", items, problems)


def _locate(listed: Path, relative: str) -> Path | None:
    """A path of a list: they begin with "data/SNU-FILM/", and the set may lie anywhere above or beside the list."""
    parts = Path(relative).parts
    for skip in range(len(parts)):
        for root in (listed.parent, *listed.absolute().parents[1:3]):
            place = root.joinpath(*parts[skip:])
            if place.is_file():
                return place
    return None


def open_xiph(path: str | os.PathLike, resized: bool) -> FileDataset:
    """Xiph's clips at 4096x2160 as frames, CLIP-001.png to CLIP-100.png in one folder, or CLIP/001.png.

    Every second frame of each clip is the truth between its neighbours. Resized ("Xiph-2K"): halved by averaging;
    otherwise ("Xiph-4K"): the middle of half the height and width.
    """
    root = check_folder(path).absolute()
    clips: dict[str, dict[int, Path]] = {}
    for folder in folders_under(root):
        for image in images_in(folder):
            match = re.fullmatch(r"(.*\D)?(\d+)", image.stem)
            if match:
                clip = (match[1] or "").rstrip("-_. ") or item_name(root, folder)
                clips.setdefault(clip, {})[int(match[2])] = image
    items, problems = [], []
    for clip, frames in sorted(clips.items()):
        for number in range(2, min(max(frames), 99), 2):
            triple = [frames.get(number + step) for step in (-1, 0, 1)]
            if None in triple:
                problems.append(f"{root / clip}: a frame of {number - 1} to {number + 1} is missing, it is left out")
                continue
            items.append(_item(f"{clip}_{number:03d}", *triple))  # pyright: ignore[reportArgumentType]
    name = f"xiph-{'2k' if resized else '4k'}:{path}"
    return check_found(FileDataset(name, items, partial(_read_xiph, resized=resized), problems, Task.INTERPOLATION))


def open_xiph_2k(path: str | os.PathLike) -> FileDataset:
    return open_xiph(path, resized=True)


def open_xiph_4k(path: str | os.PathLike) -> FileDataset:
    return open_xiph(path, resized=False)


def open_middlebury_interp(path: str | os.PathLike) -> FileDataset:
    """Middlebury's OTHER set: other-data/SCENE/frame10, frame11 and other-gt-interp/SCENE/frame10i11."""
    root = check_folder(path).absolute()
    items, problems = [], []
    for folder in folders_under(root):
        first, second = find_image(folder, "frame10"), find_image(folder, "frame11")
        if first is None or second is None:
            continue
        places = (folder, folder.parent.parent / "other-gt-interp" / folder.name)
        truth = next((image for place in places if (image := find_image(place, "frame10i11"))), None)
        if truth is None:
            problems.append(f"{folder}: no frame10i11 in it or in other-gt-interp/{folder.name}, the scene is left out")
        else:
            items.append(_item(folder.name, first, truth, second))
    return _dataset(f"middlebury-interp:{path}", items, problems)


def open_triplet_folder(path: str | os.PathLike) -> FileDataset:
    """People's own triplets: NAME/frame0, frame1, frame2, of which frame1 is the true middle, or one such folder."""
    return _by_folder("folder", path, ("frame0", "frame1", "frame2"))


def _by_folder(kind: str, path: str | os.PathLike, names: tuple[str, str, str]) -> FileDataset:
    root = check_folder(path).absolute()
    items, problems = [], []
    for folder in folders_under(root):
        frames = [find_image(folder, name) for name in names]
        if all(frames):
            items.append(_item(item_name(root, folder), *frames))  # pyright: ignore[reportArgumentType]
        elif frames[0] is not None and frames[2] is not None:
            problems.append(f"{folder / names[1]}: missing, the triplet is left out")
    return _dataset(f"{kind}:{path}", items, problems)


def _item(name: str, first: Path, truth: Path, second: Path) -> Item:
    return Item(name, {"frame0": first, "truth": truth, "frame1": second})


def _dataset(name: str, items: list[Item], problems: list[str]) -> FileDataset:
    return check_found(FileDataset(name, items, _read, problems, Task.INTERPOLATION))


def _read(item: Item) -> Sample:
    before, truth, after = (read_image(item.files[role]) for role in ("frame0", "truth", "frame1"))
    return _sample(item, before, truth, after)


def _read_xiph(item: Item, resized: bool) -> Sample:
    frames = []
    for role in ("frame0", "truth", "frame1"):
        image = read_image(item.files[role])
        height, width = image.shape[:2]
        if resized:
            image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        else:
            top, left = height // 4, width // 4
            image = np.ascontiguousarray(image[top : height - top, left : width - left])
        frames.append(image)
    return _sample(item, *frames)


def _sample(item: Item, before: np.ndarray, truth: np.ndarray, after: np.ndarray) -> Sample:
    everywhere = np.ones(truth.shape[:2], bool)
    return Sample(item.name, (before, after), frame=_as_rgb(truth), time=_time(item), valid=everywhere)


def _time(item: Item) -> float:
    """Of a septuplet's frame, from its number; else the middle."""
    match = re.fullmatch(r".*_im(\d)", item.name)
    return (int(match[1]) - 1) / 6 if match else MIDDLE


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image


def _lines(listed: Path) -> Iterator[str]:
    try:
        text = listed.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{listed}: cannot be read as a list of sequences: check the file") from error
    return (line.strip() for line in text.splitlines() if line.strip())
