"""Training batches: procedural scenes and data sets, mixed, rendered ahead in worker processes.

The batch of a step is a function of the plan (seed, sources, sizes) and the step alone: not of the number of workers,
nor of where the run was interrupted. A run that goes on at step s asks for the stream from s.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from leadline.data.augment import AugmentConfig
from leadline.data.batch import Batch
from leadline.data.datasets.base import Dataset
from leadline.data.tasks import data_of
from leadline.errors import UserError, unknown_name
from leadline.models.network import Task

Size = tuple[int, int]
DataSets = dict[str, Dataset]  # by their FORMAT:PATH


@dataclass(frozen=True)
class Source:
    """Where scenes come from.

    Args:
        name: "procedural", or FORMAT:PATH of a data set.
        weight: share of the samples relative to the other sources.
        scenes: fields of SceneConfig that differ from its defaults, for procedural scenes.
    """

    name: str
    weight: float = 1.0
    scenes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stretch:
    """Consecutive batches of one size: `batches` of `batch` pairs, cropped from scenes of `render_size`."""

    batches: int
    batch: int
    crop: Size
    render_size: Size


@dataclass(frozen=True)
class Plan:
    """Everything that decides which batch comes when.

    Args:
        sources: drawn from by weight, independently for each scene.
        stretches: one after the other.
        seed: of the whole stream.
        reuse: how often each scene is used. `reuse` batches of scenes make a block, and go round `reuse` times in new
            order, each time with another crop and augmentation: a step never has the same scene twice, and a scene
            comes back a few steps later.
        augment: applied to each crop.
        task: what the batches are for.
        rank, ranks: this process among those that train together; each has scenes of its own.
    """

    sources: tuple[Source, ...]
    stretches: tuple[Stretch, ...]
    seed: int
    reuse: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    task: Task = Task.STEREO
    rank: int = 0
    ranks: int = 1

    @property
    def batches(self) -> int:
        return sum(stretch.batches for stretch in self.stretches)

    def first_scene(self, stretch: int) -> int:
        """The number of scenes, over all ranks, that are rendered before this stretch begins."""
        return sum(s.batch * self.reuse * _blocks(s, self.reuse) * self.ranks for s in self.stretches[:stretch])


@dataclass(frozen=True)
class Block:
    """`reuse`² consecutive batches, made together from `reuse` batches of scenes."""

    stretch: int
    number: int  # within the stretch
    skip: int = 0  # batches of it that are already used


def generator_for(*parts: int | str) -> torch.Generator:
    """A generator seeded by all parts, so that neighbouring numbers give unrelated streams."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class BatchStream:
    """The batches of a plan from number `start` on, in order.

    Args:
        plan: what to make.
        start: the first batch to give; 0 is the beginning of the run.
        workers: processes that make blocks ahead, each with one torch thread; 0 makes them in this process.
        device: where procedural scenes are rendered when there are no workers; batches then stay there.

    Raises:
        UserError: unknown source, scene option or data set; a data set without pairs or without truth.
    """

    def __init__(self, plan: Plan, start: int = 0, workers: int = 0, device: torch.device | str = "cpu"):
        self.plan = plan
        self.start = start
        self.workers = workers
        self.device = device if workers == 0 else "cpu"
        self.data_sets: DataSets = {}
        for source in plan.sources:
            if source.name == "procedural":
                scene_config(source.scenes, plan.task)  # for its errors
            else:
                self.data_sets[source.name] = _open(source.name, plan.task)

    def __iter__(self) -> Iterator[Batch]:
        blocks = list(blocks_from(self.plan, self.start))
        loader = DataLoader(
            _Blocks(self.plan, blocks, self.data_sets, self.device),
            batch_size=None,
            shuffle=False,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=_quiet_worker,
            prefetch_factor=2 if self.workers else None,
        )
        for block, made in zip(blocks, loader, strict=True):
            if isinstance(made, UserError):
                raise made
            yield from made.split(self.plan.stretches[block.stretch].batch)


def blocks_from(plan: Plan, start: int) -> Iterator[Block]:
    """The blocks that hold the batches from number `start` on; the first may begin within."""
    before = 0
    for index, stretch in enumerate(plan.stretches):
        for number in range(_blocks(stretch, plan.reuse)):
            first = before + number * plan.reuse**2
            last = min(first + plan.reuse**2, before + stretch.batches)
            if last > start:
                yield Block(index, number, skip=max(0, start - first))
        before += stretch.batches


def _blocks(stretch: Stretch, reuse: int) -> int:
    return -(-stretch.batches // reuse**2)


class _Blocks(TorchDataset):
    def __init__(self, plan: Plan, blocks: list[Block], data_sets: DataSets, device: torch.device | str):
        self.plan, self.blocks, self.data_sets, self.device = plan, blocks, data_sets, device

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Batch | UserError:
        try:
            batches = make_block(self.plan, self.blocks[index], self.data_sets, self.device)
        except UserError as error:
            return error  # a worker that raises would wrap it into a traceback
        # In one piece, as each tensor that leaves a worker takes a file descriptor.
        return Batch.cat(batches) if len(batches) > 1 else batches[0]


def make_block(plan: Plan, block: Block, data_sets: DataSets, device: torch.device | str = "cpu") -> list[Batch]:
    """Renders or reads the scenes of a block and gives its batches, those to skip left out."""
    stretch = plan.stretches[block.stretch]
    scenes = _scenes(plan, block, data_sets, device)
    count = min(plan.reuse**2, stretch.batches - block.number * plan.reuse**2)
    batches = []
    order: list[int] = []
    for use in range(count):
        draw = generator_for(plan.seed, "use", block.stretch, block.number, use, plan.rank)
        if use % plan.reuse == 0:  # a new round: each scene once more
            order = torch.randperm(len(scenes), generator=draw).tolist() if plan.reuse > 1 else list(range(len(scenes)))
        part = use % plan.reuse
        if use >= block.skip:
            chosen = scenes.take(order[part * stretch.batch : (part + 1) * stretch.batch])
            batches.append(data_of(plan.task).augment(chosen, stretch.crop, plan.augment, draw))
    return batches


def _scenes(plan: Plan, block: Block, data_sets: DataSets, device: torch.device | str) -> Batch:
    """The scenes of a block at render size, a batch at a time so that rendering needs no more memory than one."""
    stretch = plan.stretches[block.stretch]
    per_block = stretch.batch * plan.reuse
    first = plan.first_scene(block.stretch) + (block.number * plan.ranks + plan.rank) * per_block
    parts = []
    for begin in range(first, first + per_block, stretch.batch):
        numbers = list(range(begin, begin + stretch.batch))
        weights = torch.tensor([source.weight for source in plan.sources])
        draws = [generator_for(plan.seed, "source", number) for number in numbers]
        chosen = [int(torch.multinomial(weights, 1, generator=draw)) for draw in draws]
        for index, source in enumerate(plan.sources):
            its_own = [number for number, choice in zip(numbers, chosen, strict=True) if choice == index]
            if source.name == "procedural" and its_own:
                scenes = scene_config(source.scenes, plan.task)
                parts.append(data_of(plan.task).render(plan.seed, its_own, stretch.render_size, scenes, device))
            elif its_own:
                parts.append(_read(data_sets[source.name], plan, its_own, stretch.render_size).to(device))
    return Batch.cat(parts) if len(parts) > 1 else parts[0]


def _read(data: Dataset, plan: Plan, numbers: list[int], size: Size) -> Batch:
    task = data_of(plan.task)
    items = []
    for number in numbers:
        draw = generator_for(plan.seed, "sample", number)
        sample = data[int(torch.randint(len(data), (1,), generator=draw))]
        items.append(task.random_window(task.from_sample(sample), size, draw))
    return Batch.cat(items)


def _open(spec: str, task: Task) -> Dataset:
    from leadline.data import open_data

    data = open_data(spec, task)
    if len(data) == 0:
        raise UserError(f"{spec}: holds nothing to train on")
    return data


def scene_config(fields: dict[str, Any], task: Task = Task.STEREO) -> Any:
    """The SceneConfig, or of monocular depth the RoomConfig, with some of its fields changed.

    Raises:
        UserError: an unknown field, or a value that it does not take.
    """
    from dataclasses import fields as fields_of

    from leadline.data.procedural import RoomConfig, SceneConfig

    kind = RoomConfig if task is Task.MONO else SceneConfig
    known = [item.name for item in fields_of(kind)]
    for key in fields:
        if key not in known:
            raise unknown_name("option of scenes", key, known)
    try:
        return TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"scenes.{place}: {first['msg'].lower()}, got {first['input']!r}") from error


def _as_it_is(item: Any) -> Any:
    return item


def _quiet_worker(worker: int) -> None:
    """One thread each: parallelism comes from the workers, and training needs the other cores."""
    if get_worker_info() is not None:
        torch.set_num_threads(1)
        # Ctrl-C, or a SIGTERM to the process group, reaches the workers too, and the run wants to end its step first.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
