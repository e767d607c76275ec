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
from jaxtyping import Bool, Float
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from leadline.data.augment import AugmentConfig, augment, take
from leadline.data.batch import StereoBatch
from leadline.data.datasets.base import Dataset
from leadline.data.sample import Sample
from leadline.errors import UserError, unknown_name

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
        rank, ranks: this process among those that train together; each has scenes of its own.
    """

    sources: tuple[Source, ...]
    stretches: tuple[Stretch, ...]
    seed: int
    reuse: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)
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
                scene_config(source.scenes)  # for its errors
            else:
                self.data_sets[source.name] = _open(source.name)

    def __iter__(self) -> Iterator[StereoBatch]:
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
            yield from split(made, self.plan.stretches[block.stretch].batch)


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

    def __getitem__(self, index: int) -> StereoBatch | UserError:
        try:
            batches = make_block(self.plan, self.blocks[index], self.data_sets, self.device)
        except UserError as error:
            return error  # a worker that raises would wrap it into a traceback
        # In one piece, as each tensor that leaves a worker takes a file descriptor.
        return StereoBatch.cat(batches) if len(batches) > 1 else batches[0]


def split(batches: StereoBatch, size: int) -> Iterator[StereoBatch]:
    """Cuts joined batches apart again."""
    for begin in range(0, len(batches), size):
        yield StereoBatch(*(tensor[begin : begin + size] for tensor in vars(batches).values()))


def make_block(plan: Plan, block: Block, data_sets: DataSets, device: torch.device | str = "cpu") -> list[StereoBatch]:
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
            chosen = take(scenes, order[part * stretch.batch : (part + 1) * stretch.batch])
            batches.append(augment(chosen, stretch.crop, plan.augment, draw))
    return batches


def _scenes(plan: Plan, block: Block, data_sets: DataSets, device: torch.device | str) -> StereoBatch:
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
                config = scene_config(source.scenes)
                parts.append(_render(plan.seed, its_own, stretch.render_size, config, device))
            elif its_own:
                parts.append(_read(data_sets[source.name], plan.seed, its_own, stretch.render_size).to(device))
    return StereoBatch.cat(parts) if len(parts) > 1 else parts[0]


def _render(seed: int, numbers: list[int], size: Size, config: Any, device: torch.device | str) -> StereoBatch:
    from leadline.data.procedural import render_stereo

    return render_stereo(seed, numbers, size, config, device)


def _read(data: Dataset, seed: int, numbers: list[int], size: Size) -> StereoBatch:
    pairs = []
    for number in numbers:
        draw = generator_for(seed, "sample", number)
        sample = data[int(torch.randint(len(data), (1,), generator=draw))]
        pairs.append(random_window(from_sample(sample), size, draw))
    return StereoBatch.cat(pairs)


def _open(spec: str) -> Dataset:
    from leadline.data import open_data

    data = open_data(spec)
    if len(data) == 0:
        raise UserError(f"{spec}: holds no pairs to train on")
    return data


def scene_config(fields: dict[str, Any]) -> Any:
    """The SceneConfig with some of its fields changed.

    Raises:
        UserError: an unknown field, or a value that it does not take.
    """
    from dataclasses import fields as fields_of

    from leadline.data.procedural import SceneConfig

    known = [item.name for item in fields_of(SceneConfig)]
    for key in fields:
        if key not in known:
            raise unknown_name("option of scenes", key, known)
    try:
        return TypeAdapter(SceneConfig).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"scenes.{place}: {first['msg'].lower()}, got {first['input']!r}") from error


def from_sample(sample: Sample) -> StereoBatch:
    """A Sample as a batch of one: RGB in [0, 1]; without a truth nothing is valid.

    Raises:
        UserError: the sample is not a pair of views of one size.
    """
    if len(sample.images) != 2 or sample.images[0].shape[:2] != sample.images[1].shape[:2]:
        raise UserError(f"{sample.name}: not a left and a right view of one size: take it out of the training data")
    height, width = sample.size
    left, right = (_image(image) for image in sample.images)
    none = torch.zeros(1, 1, height, width, dtype=torch.bool)
    disparity, valid, occluded = none.float(), none, none
    if sample.disparity is not None and sample.valid is not None:
        disparity = torch.from_numpy(sample.disparity.copy())[None, None]
        valid = torch.from_numpy(sample.valid.copy())[None, None]
    if sample.occluded is not None:
        occluded = torch.from_numpy(sample.occluded.copy())[None, None]
    return StereoBatch(left, right, disparity, valid, occluded)


def _image(image: Any) -> Float[Tensor, "1 3 h w"]:
    largest = 65535.0 if image.dtype.itemsize == 2 else 255.0
    tensor = torch.from_numpy(image.astype("float32") / largest)
    tensor = tensor[None].expand(3, -1, -1) if tensor.ndim == 2 else tensor.permute(2, 0, 1)
    return tensor[None].contiguous()


def random_window(pair: StereoBatch, size: Size, draw: torch.Generator) -> StereoBatch:
    """A random window of `size` (h, w), the same in both views; a pair that is too small is enlarged first."""
    height, width = pair.left.shape[-2:]
    factor = max(size[0] / height, size[1] / width)
    if factor > 1:
        new = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
        pair = StereoBatch(
            functional.interpolate(pair.left, new, mode="bilinear", align_corners=False),
            functional.interpolate(pair.right, new, mode="bilinear", align_corners=False),
            functional.interpolate(pair.disparity, new, mode="nearest-exact") * (new[1] / width),
            _nearest(pair.valid, new),
            _nearest(pair.occluded, new),
        )
        height, width = new
    top = int(torch.randint(height - size[0] + 1, (1,), generator=draw))
    left = int(torch.randint(width - size[1] + 1, (1,), generator=draw))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    return StereoBatch(*(getattr(pair, name)[..., rows, columns] for name in vars(pair)))


def _nearest(mask: Bool[Tensor, "b 1 h w"], size: Size) -> Bool[Tensor, "b 1 h2 w2"]:
    return functional.interpolate(mask.float(), size, mode="nearest-exact") > 0.5


def _as_it_is(item: Any) -> Any:
    return item


def _quiet_worker(worker: int) -> None:
    """One thread each: parallelism comes from the workers, and training needs the other cores."""
    if get_worker_info() is not None:
        torch.set_num_threads(1)
        # Ctrl-C, or a SIGTERM to the process group, reaches the workers too, and the run wants to end its step first.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
