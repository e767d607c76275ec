"""What every data set is: a name, a length, samples by index, and what was found wrong when it was opened."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from leadline.data.sample import Sample
from leadline.errors import UserError
from leadline.models.network import Task


class Dataset(ABC):
    """Samples by index, read when asked for."""

    name: str  # such as "kitti2015:/data/kitti2015"
    task: Task = Task.STEREO  # what its samples have a truth for
    problems: list[str]  # one line for each thing that was missing at opening; its items are left out

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Raises IndexError past the end, UserError where the sample is broken."""

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Item:
    """The files of one sample, by their role (left, right, truth, ...), not read yet."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)


class FileDataset(Dataset):
    """Items found on disk and the function that reads one."""

    def __init__(
        self,
        name: str,
        items: list[Item],
        read: Callable[[Item], Sample],
        problems: list[str] | None = None,
        task: Task = Task.STEREO,
    ):
        self.name = name
        self.task = task
        self.problems = list(problems or [])
        self._items = _unique(items)
        self._read = read

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        return check_sample(self._read(self._items[operator.index(index)]))

    def item(self, index: int) -> Item:
        """The name and the files of a sample, without reading them."""
        return self._items[index]


def check_sample(sample: Sample) -> Sample:
    """The sample, if its parts fit together.

    Raises:
        UserError: images or truth of different sizes, or a truth without any valid pixel.
    """
    sizes = [(image.shape[0], image.shape[1]) for image in sample.images]
    if len(set(sizes)) != 1:
        found = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise UserError(f"{sample.name}: the views differ in size ({found}): bring them to one size")
    for role in ("disparity", "flow", "frame", "depth", "valid", "occluded", "foreground"):
        values = getattr(sample, role)
        if values is not None and values.shape[:2] != sample.size:
            (height, width), (h, w) = values.shape[:2], sample.size
            found = f"{role} is {width} x {height} and the views are {w} x {h}"
            raise UserError(f"{sample.name}: {found}: use the files of one resolution")
    if sample.valid is not None and not sample.valid.any():
        wanted = "finite" if sample.flow is not None else "finite and positive"
        raise UserError(f"{sample.name}: no pixel of the truth is valid ({wanted}): check its sign, scale and encoding")
    return sample


def _unique(items: list[Item]) -> list[Item]:
    """Numbers the names that occur again, as predictions are written under them."""
    seen: dict[str, int] = {}
    unique = []
    for item in items:
        count = seen[item.name] = seen.get(item.name, 0) + 1
        unique.append(item if count == 1 else Item(f"{item.name}~{count}", item.files))
    return unique
