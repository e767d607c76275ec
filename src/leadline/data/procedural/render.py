"""Stereo pairs, flow pairs and triplets from procedural scenes: exact ground truth, batched, on any device.

A scene is a function of (seed, index) alone: neither the batch it is rendered in nor the device changes it beyond
float rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leadline.data.batch import StereoBatch
from leadline.data.procedural.bank import Bank, load_bank
from leadline.data.procedural.camera import Rig, draw_faults, expose, stack_rig
from leadline.data.procedural.composite import Mirror, Plane, View, paint, visible_in
from leadline.data.procedural.motion import draw_motion, flow_at, moved_from
from leadline.data.procedural.scene import Layer, Layers, SceneConfig, draw_layers
from leadline.data.procedural.worlds import render_world, world_of

# On a CPU one scene at a time stays in the cache and its layers keep tight windows; a GPU takes the whole batch.
CPU_CHUNK = 1


def render_stereo(
    seed: int,
    indices: Sequence[int],
    size: tuple[int, int],
    config: SceneConfig | None = None,
    device: torch.device | str = "cpu",
) -> StereoBatch:
    """Renders the stereo pairs of scenes `indices` of the endless series `seed`.

    Args:
        size: (h, w), px.

    Returns:
        Left, right, the exact disparity of the left view, all valid, and where the right view does not see it
        (hidden behind something nearer, or outside the right image).
    """
    config = config or SceneConfig()
    step = CPU_CHUNK if torch.device(device).type == "cpu" else max(len(indices), 1)
    worlds = [index for index in indices if world_of(seed, index, config)]
    layered = [index for index in indices if index not in worlds]
    chunks = [layered[i : i + step] for i in range(0, len(layered), step)]
    batches = [_render_stereo(seed, chunk, size, config, device) for chunk in chunks]
    batch = StereoBatch.cat(batches + [render_world(seed, index, size, config, device) for index in worlds])
    if not worlds:
        return batch
    rendered = layered + worlds
    order = [rendered.index(index) for index in indices]
    return StereoBatch(*(tensor[order] for tensor in batch.tensors))


def _render_stereo(
    seed: int, indices: Sequence[int], size: tuple[int, int], config: SceneConfig, device: torch.device | str
) -> StereoBatch:
    bank = load_bank(str(device))
    layers, rig = draw_scenes(seed, indices, size, config, bank, device, views=2)
    x, y = pixel_grid(len(indices), size, device)
    mirror = Mirror(rig.reflection, rig.reflection_share) if rig.has_reflections else None
    left = paint(layers, bank, locate_left, x, y, mirror=mirror)
    right = paint(layers, bank, locate_right, x, y, shift=-1.0, mirror=mirror)
    occluded = ~visible_in(right.disparity, x - left.disparity, left.disparity, tolerance=0.75)
    if rig.is_misaligned:
        y_right = y + rig.shift + rig.tilt * (x - size[1] / 2)
        right = paint(layers, bank, locate_right, x, y_right, shift=-1.0, mirror=mirror)
    left_image, right_image = expose(left.colour, rig.views[0], bank), expose(right.colour, rig.views[1], bank)
    disparity = left.disparity[:, None].contiguous()
    everywhere = torch.ones_like(disparity, dtype=torch.bool)
    return StereoBatch(left_image, right_image, disparity, everywhere, occluded[:, None])


def draw_scenes(
    seed: int,
    indices: Sequence[int],
    size: tuple[int, int],
    config: SceneConfig,
    bank: Bank,
    device: torch.device | str,
    views: int,
    moving: bool = False,
) -> tuple[Layers, Rig]:
    """The layers, with their motions if they move, and the camera faults of scenes (seed, index)."""
    layers, faults = [], []
    for index in indices:
        stream = np.random.Philox(key=np.array([seed, index], dtype=np.uint64))
        rng = np.random.Generator(stream)
        scene = draw_layers(rng, size, config, bank)
        layers.append(draw_motion(np.random.Generator(stream.jumped()), scene, size, config) if moving else scene)
        faults.append(draw_faults(rng, config, views))
    return Layers(layers, device), stack_rig(faults, device)


def pixel_grid(count: int, size: tuple[int, int], device: torch.device | str) -> tuple[Plane, Plane]:
    y, x = torch.meshgrid(
        torch.arange(size[0], dtype=torch.float32, device=device),
        torch.arange(size[1], dtype=torch.float32, device=device),
        indexing="ij",
    )
    return x.expand(count, -1, -1), y.expand(count, -1, -1)


def locate_left(layer: Layer, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """The left view is the reference."""
    return x - layer.cx, y - layer.cy


def locate_right(layer: Layer, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Solves x_left - disparity(x_left, y) = x for x_left, exactly: the surfaces are quadrics.

    With X = x_left - cx: k X^2 - (1 - a) X + c = 0, c = x - cx + d0 + b Y + n Y^2; of the two roots the one that
    goes over into the plane's for k -> 0, in the form that does not cancel.
    """
    right_x, here_y = locate_left(layer, x, y)
    c = right_x + layer.d0 + here_y * (layer.b + layer.n * here_y)
    slope = 1 - layer.a
    # Beyond the fold of a curved surface nothing projects there; the clamp keeps such points finite and far off.
    root = (slope * slope - 4 * layer.k * c).clamp(min=0).sqrt()
    return 2 * c / (slope + root), here_y


@dataclass
class MotionBatch:
    """Frames of scenes whose layers move, and the exact flow from the first frame to the last."""

    frames: tuple[Float[Tensor, "b 3 h w"], ...]
    flow: Float[Tensor, "b 2 h w"]  # px, (u, v), frames[0] -> frames[-1]
    occluded: Bool[Tensor, "b 1 h w"]  # not seen in the last frame
    # of a triplet: px, (u, v) from its middle frame to the first, then to the last
    middle_flow: Float[Tensor, "b 4 h w"] | None = None


def render_motion(
    seed: int,
    indices: Sequence[int],
    size: tuple[int, int],
    config: SceneConfig | None = None,
    device: torch.device | str = "cpu",
    times: Sequence[float] = (1.0,),
) -> MotionBatch:
    """Renders the same layers as moving frames, the first at time 0: (1,) gives a flow pair, (0.5, 1) a triplet.

    Every layer moves by itself, or all as a moving camera sees them (`motion.py`), so that the frame at 0.5 is truly
    the middle one.
    """
    config = config or SceneConfig()
    step = CPU_CHUNK if torch.device(device).type == "cpu" else max(len(indices), 1)
    chunks = [indices[i : i + step] for i in range(0, len(indices), step)]
    parts = [_render_motion(seed, chunk, size, config, device, times) for chunk in chunks]
    frames = tuple(torch.cat(views) for views in zip(*(part.frames for part in parts), strict=True))
    middle = [part.middle_flow for part in parts if part.middle_flow is not None]
    return MotionBatch(
        frames,
        torch.cat([p.flow for p in parts]),
        torch.cat([p.occluded for p in parts]),
        torch.cat(middle) if middle else None,
    )


def _render_motion(
    seed: int,
    indices: Sequence[int],
    size: tuple[int, int],
    config: SceneConfig,
    device: torch.device | str,
    times: Sequence[float],
) -> MotionBatch:
    bank = load_bank(str(device))
    layers, rig = draw_scenes(seed, indices, size, config, bank, device, views=1 + len(times), moving=True)
    x, y = pixel_grid(len(indices), size, device)
    seen = [paint(layers, bank, _locate_at(t), x, y, time=t) for t in (0.0, *times)]
    frames = tuple(expose(view.colour, faults, bank) for view, faults in zip(seen, rig.views, strict=True))
    first, last = seen[0], seen[-1]
    here_x, here_y = x - layers.of(first.front, "cx"), y - layers.of(first.front, "cy")

    u, v = flow_at(layers, first.front, times[-1], here_x, here_y)
    occluded = _hidden_in(last, first, x + u, y + v)
    middle = _flow_to_both(layers, seen[1], x, y, times[0], times[1]) if len(times) == 2 else None
    return MotionBatch(frames, torch.stack([u, v], 1), occluded[:, None], middle)


def middle_time(seed: int, index: int, config: SceneConfig) -> float:
    """When the middle frame of triplet (seed, index) is: at 0.5, or with `config.other_time` anywhere in (0, 1)."""
    # A counter far from where the scene's own draws begin.
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64), counter=1 << 64))
    return float(rng.uniform(0.02, 0.98)) if rng.random() < config.other_time else 0.5


def _flow_to_both(layers: Layers, view: View, x: Plane, y: Plane, time: float, end: float) -> Float[Tensor, "b 4 h w"]:
    """Flow from the view at `time` to those at 0 and at `end`, of the surface that it shows."""
    field = partial(layers.of, view.front)
    here_x, here_y = moved_from(field, time, x - field("cx"), y - field("cy"))
    u, v = flow_at(layers, view.front, time, here_x, here_y)
    end_u, end_v = flow_at(layers, view.front, end, here_x, here_y)
    return torch.stack([-u, -v, end_u - u, end_v - v], 1)


def _locate_at(time: float):
    def locate(layer: Layer, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        return moved_from(partial(getattr, layer), time, *locate_left(layer, x, y))

    return locate


def _hidden_in(last: View, first: View, x: Plane, y: Plane) -> Bool[Tensor, "b h w"]:
    """A point is hidden where none of the four pixels round its new place shows its own layer."""
    b, height, width = x.shape
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    x0, y0 = x.floor().clamp(0, width - 1).long(), y.floor().clamp(0, height - 1).long()
    flat = last.front.reshape(b, -1)
    seen = torch.zeros_like(outside)
    for dx in (0, 1):
        for dy in (0, 1):
            at = (y0 + dy).clamp(max=height - 1) * width + (x0 + dx).clamp(max=width - 1)
            seen |= torch.gather(flat, 1, at.reshape(b, -1)).reshape(b, height, width) == first.front
    return outside | ~seen
