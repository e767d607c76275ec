"""Which frames belong together, for commands that take two of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from leadline.errors import UserError

if TYPE_CHECKING:
    import numpy as np


@dataclass
class FramePair:
    """Two frames, read when asked for, and the name of the folder that their results go to."""

    first: str
    second: str
    name: str
    pictures: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)  # of a video: already read
    times: tuple[float, float] | None = None  # s, of a video

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Raises UserError where a file is missing, damaged or no image, or the frames differ in size."""
        from leadline.data.formats.images import read_image

        frames = self.pictures or (read_image(self.first), read_image(self.second))
        sizes = [frame.shape[:2] for frame in frames]
        if sizes[0] != sizes[1]:
            told = " and ".join(f"{width} x {height}" for height, width in sizes)
            raise UserError(f"{self.first}, {self.second}: the frames differ in size ({told}): give frames of one size")
        return frames


def find_frames(paths: Sequence[str], step: int = 1) -> tuple[Iterator[FramePair], int | None]:
    """The pairs of consecutive frames that `paths` name, and their number where it is known beforehand.

    One folder or video is a sequence, as are three files and more. Two files are one pair; two folders are pairs of
    files in the order of their sorted names.

    Args:
        step: frames of a sequence from one to the other of a pair.

    Raises:
        UserError: a path that is missing; fewer than two frames.
    """
    from leadline.cli.pairs import find_pairs
    from leadline.video import is_video

    if step < 1:
        raise UserError(f"--step {step}: give 1 or more")
    if len(paths) == 2 and not any(is_video(path) and Path(path).is_file() for path in paths):
        if step > 1:
            raise UserError("--step is for a sequence: a folder, a video, or three files and more")
        pairs = find_pairs(paths[0], paths[1], sides=("FRAME0", "FRAME1"))
        return iter([FramePair(str(p.left), str(p.right), p.name) for p in pairs]), len(pairs)
    if len(paths) == 1 and Path(paths[0]).is_file():
        if not is_video(paths[0]):
            raise UserError(f"{paths[0]}: one image alone has nothing to go to: name a second one, a folder or a video")
        return _of_video(paths[0], step), None
    files = _in_folder(paths[0]) if len(paths) == 1 else [Path(path) for path in paths]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file: check the path")
    if len(files) <= step:
        raise UserError(f"{len(files)} frame(s) with a step of {step}: at least {step + 1} are needed")
    ends = list(zip(files[:-step], files[step:], strict=True))
    return iter([FramePair(str(a), str(b), a.stem) for a, b in ends]), len(ends)


def _in_folder(path: str) -> list[Path]:
    from leadline.data.formats.images import SUFFIXES

    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{path}: no such file or folder: check the path")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UserError(f"{path}: no image in this folder ({', '.join(SUFFIXES)})")
    return files


def _of_video(path: str, step: int) -> Iterator[FramePair]:
    from leadline.video.frames import read_frames

    before: list[tuple[np.ndarray, float]] = []
    number = -1
    for number, (picture, time) in enumerate(read_frames(path)):
        before.append((picture, time))
        if len(before) > step:
            start, begin = before.pop(0)
            names = [f"{path}#{k}" for k in (number - step, number)]
            yield FramePair(names[0], names[1], f"{number - step:06d}", (start, picture), (begin, time))
    if number < step:
        raise UserError(f"{path}: {number + 1} frame(s) with a step of {step}: at least {step + 1} are needed")
