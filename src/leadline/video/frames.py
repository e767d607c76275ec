"""The frames of a video, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from leadline.artifacts.runtimes import need
from leadline.errors import UserError


def read_frames(path: str | os.PathLike) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], float]]:
    """Each picture of a video as RGB, and its time in seconds.

    Raises:
        UserError: PyAV is not installed; no such file, no readable video, or pictures of changing size.
    """
    av = need("av", "video")
    source = Path(path)
    if not source.is_file():
        raise UserError(f"{source}: no such file: check the path")
    try:
        with av.open(os.fspath(source)) as reader:
            if not reader.streams.video:
                raise UserError(f"{source}: holds no video stream")
            size = None
            for number, frame in enumerate(reader.decode(video=0)):
                picture = frame.to_ndarray(format="rgb24")
                if size is not None and picture.shape != size:
                    raise UserError(f"{source}: frame {number} has another size than those before: cut the video there")
                size = picture.shape
                yield picture, float(frame.time) if frame.time is not None else float(number)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{source}: not a readable video ({error.strerror}): copy it again") from error
