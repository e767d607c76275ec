"""Camera poses and gyroscope measurements from text files.

TUM: `time tx ty tz qx qy qz qw` per line (https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats); KITTI's
odometry: the 12 numbers of the 3x4 matrix per line, a line per frame
(https://www.cvlibs.net/datasets/kitti/eval_odometry.php). Both take the camera's coordinates into the world's.
"""

from __future__ import annotations

import os
import re

import numpy as np
from jaxtyping import Float

from leadline.data.formats.content import read_content
from leadline.errors import UserError


def read_poses(path: str | os.PathLike) -> tuple[Float[np.ndarray, "n 4 4"], Float[np.ndarray, " n"] | None]:
    """Reads poses in either format, told apart by the numbers in a line.

    Returns:
        camera-to-world matrices, and the times in seconds (None in KITTI's format, whose lines are the frames).

    Raises:
        UserError: lines of another length, what is not a number, no rotation, or times that do not grow.
    """
    rows = _numbers(path, {8: "TUM's time tx ty tz qx qy qz qw", 12: "KITTI's 3x4 matrix"})
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    if rows.shape[1] == 12:
        poses[:, :3] = rows.reshape(-1, 3, 4)
        times = None
    else:
        times = rows[:, 0]
        if (np.diff(times) <= 0).any():
            raise UserError(f"{path}: the times do not grow: sort the poses by their time")
        lengths = np.linalg.norm(rows[:, 4:], axis=1)
        if (np.abs(lengths - 1) > 0.01).any():
            line = int(np.abs(lengths - 1).argmax())
            raise UserError(f"{path}: pose {line} has a quaternion of length {lengths[line]:.3f}: it should be 1")
        poses[:, :3, :3] = _rotations(rows[:, 4:] / lengths[:, None])
        poses[:, :3, 3] = rows[:, 1:4]
    turns = poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    if np.abs(turns - np.eye(3)).max(initial=0) > 0.01 or (np.linalg.det(poses[:, :3, :3]) < 0).any():
        raise UserError(f"{path}: holds a matrix that is no rotation: check the order of its numbers")
    return poses, times


def read_gyro(path: str | os.PathLike) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Reads angular rates: `time wx wy wz` per line, or EuRoC's CSV with more columns and times in nanoseconds.

    Returns:
        times in seconds, and rad/s about x, y, z.

    Raises:
        UserError: fewer than four numbers in a line, what is not a number, or times that do not grow.
    """
    rows = _numbers(path, {4: "time wx wy wz", 7: "time wx wy wz ax ay az"})
    times = rows[:, 0] * (1e-9 if rows[0, 0] > 1e14 else 1.0)
    if (np.diff(times) <= 0).any():
        raise UserError(f"{path}: the times do not grow: sort the measurements by their time")
    return times, rows[:, 1:4]


def _numbers(path: str | os.PathLike, lengths: dict[int, str]) -> Float[np.ndarray, "n m"]:
    """The numbers of each line that is no comment."""
    try:
        text = read_content(path).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text file: give {' or '.join(lengths.values())} per line") from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            row = [float(part) for part in re.split(r"[\s,;]+", content.strip(",; "))]
        except ValueError:
            raise UserError(f"{path}: line {number} holds more than numbers: {content[:40]!r}") from None
        if len(row) not in lengths or not np.isfinite(row).all():
            raise UserError(f"{path}: line {number} has {len(row)} numbers: give {' or '.join(lengths.values())}")
        if rows and len(row) != len(rows[0]):
            raise UserError(f"{path}: line {number} has {len(row)} numbers, those before have {len(rows[0])}")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: holds no line of numbers: give {' or '.join(lengths.values())} per line")
    return np.array(rows)


def _rotations(q: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    """From unit quaternions x, y, z, w."""
    x, y, z, w = q.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )
