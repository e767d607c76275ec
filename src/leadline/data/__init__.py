"""Samples: where they come from and how they are read. `open_data` is the door."""

from __future__ import annotations

from leadline.data.datasets import FORMATS, open_files
from leadline.data.datasets.base import Dataset
from leadline.errors import UserError, unknown_name
from leadline.models.network import Task

__all__ = ["Dataset", "open_data"]


def open_data(spec: str, task: Task | str | None = None) -> Dataset:
    """Opens a data set: lists its samples, and reads each when it is asked for.

    Args:
        spec: `FORMAT:PATH`, such as `kitti2015:/data/kitti2015` (the formats: `leadline data list`), or
            `procedural:COUNT[,seed=S][,size=HxW]` for rendered scenes.
        task: which samples of a format that holds several kinds; None: the format's first, mostly stereo.

    Raises:
        UserError: an unknown format, a task that it does not hold, a missing or empty folder, or nothing in the
            format's layout.
    """
    task = None if task is None else Task(task)
    kind, separator, rest = spec.partition(":")
    if not separator or not rest:
        example = f"{kind}:PATH" if kind in FORMATS else f"folder:{kind or 'PATH'}"
        raise UserError(f"{spec!r} is not FORMAT:PATH: write for example {example}")
    if kind == "procedural":
        from leadline.data.procedural import open_procedural

        return open_procedural(rest, task or Task.STEREO)
    if kind not in FORMATS:
        raise unknown_name("data format", kind, [*FORMATS, "procedural"])
    return open_files(kind, rest, task)
