"""Layers by name: which there are, which of two networks belong together, and what they give in a pass."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leadline.errors import UserError, unknown_name
from leadline.models import Network

Run = Callable[[Network], Any]  # one forward pass of a network


@dataclass(frozen=True)
class Layer:
    """What a layer gave in a probing pass."""

    name: str
    channels: int
    size: tuple[int, int]
    calls: int  # in one pass: two where each view goes through it by itself
    images: int  # over all calls


def probe(network: Network, run: Run) -> dict[str, Layer]:
    """The layers that give one tensor (b, c, h, w), in the order in which they are done.

    The pass is made by a copy in training mode, so that heads for training alone are seen, and no statistic moves.
    """
    copied = copy.deepcopy(network).train()
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def see(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                shapes.setdefault(name, []).append(tuple(output.shape))

        return hook

    for name, module in copied.named_modules():
        if name:
            module.register_forward_hook(see(name))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        run(copied)
    layers = {}
    for name, given in shapes.items():
        if len({shape[1:] for shape in given}) == 1:
            images = sum(shape[0] for shape in given)
            layers[name] = Layer(name, given[0][1], (given[0][2], given[0][3]), len(given), images)
    return layers


def pair_layers(
    wanted: dict[str, str] | str | None, student: dict[str, Layer], teacher: dict[str, Layer], size: tuple[int, int]
) -> dict[str, str]:
    """The student's layers and the teacher's that each imitates.

    Args:
        wanted: by name, or "auto" (None is the same): `match_layers`.
        student, teacher: as `probe` found them.
        size: (h, w) of the images that they were probed with.

    Raises:
        UserError: a name that is none, with the closest one that is; layers that saw another number of images (one
            sees the left view, the other both); nothing to match.
    """
    if wanted is None or wanted == "auto":
        return match_layers(student, teacher, size)
    assert not isinstance(wanted, str)
    if not wanted:
        raise UserError("distill.layers is empty: name layers as STUDENT'S: TEACHER'S, or write auto")
    for mine, its in wanted.items():
        for whose, name, known in (("student", mine, student), ("teacher", its, teacher)):
            if name not in known:
                raise unknown_name(f"layer of the {whose}", name, list(known))
        if student[mine].images != teacher[its].images:
            raise UserError(
                f"distill.layers: {mine} sees {student[mine].images} image(s) per pair and {its} of the teacher "
                f"{teacher[its].images}: pair layers that see the left view, or layers that see both"
            )
    return dict(wanted)


def match_layers(student: dict[str, Layer], teacher: dict[str, Layer], size: tuple[int, int]) -> dict[str, str]:
    """For each resolution below the full one, the ends of the first stretches of layers at it.

    Those are the ends of the stages of both encoders, where they are called such; a stretch ends where the resolution
    changes, and of modules in one another that end together, the outermost counts.
    """
    mine, its = stages(student, size), stages(teacher, size)
    pairs = {}
    for where, layer in mine.items():
        if where in its and its[where].images == layer.images:
            pairs[layer.name] = its[where].name
    if not pairs:
        raise UserError("distill: student and teacher have no layers at one resolution: name them as 'layers'")
    return pairs


def stages(layers: dict[str, Layer], size: tuple[int, int]) -> dict[tuple[int, int], Layer]:
    """The last layer of the first stretch at each resolution, by its size."""
    found: dict[tuple[int, int], Layer] = {}
    before: tuple[int, int] | None = None
    for layer in layers.values():
        if layer.size[0] * layer.size[1] >= size[0] * size[1]:
            before = None
        elif layer.size == before or layer.size not in found:
            found[layer.size] = layer
            before = layer.size
        else:
            before = None
    return found


class Recording:
    """What the named layers give in a pass; the views of a siamese encoder are joined to one batch, left first."""

    def __init__(self, calls: dict[str, int]):
        self.calls = calls
        self._given: dict[str, list[Tensor]] = {name: [] for name in calls}

    def keep(self, name: str, output: Tensor) -> None:
        # A second pass, as of the mirrored pair, is not looked at.
        if len(self._given[name]) < self.calls[name]:
            self._given[name].append(output.clone())  # a ReLU that works in place may follow

    def __getitem__(self, name: str) -> Tensor:
        given = self._given[name]
        return given[0] if len(given) == 1 else torch.cat(given)


@contextlib.contextmanager
def recording(network: Network, layers: Iterable[Layer]) -> Iterator[Recording]:
    """Records what `layers` give while the context is open."""
    record = Recording({layer.name: layer.calls for layer in layers})
    modules = dict(network.named_modules())

    def hook(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: record.keep(name, output)

    handles = [modules[name].register_forward_hook(hook(name)) for name in record.calls]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
