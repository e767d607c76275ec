"""Procedural scenes as a data set of samples, for validation, calibration and demonstrations."""

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from leadline.data.datasets.base import Dataset
from leadline.data.procedural.raycast import render_rooms
from leadline.data.procedural.render import middle_time, render_motion, render_stereo
from leadline.data.procedural.scene import SceneConfig
from leadline.data.sample import Sample
from leadline.errors import UserError, unknown_name
from leadline.geometry.camera import PinholeCamera, StereoCamera
from leadline.models.network import Task

# A camera with a 60 degree field of view and a hand's breadth of baseline, so that depths can be reported.
BASELINE = 0.12  # m
FOCAL_PER_WIDTH = 0.866


class Procedural(Dataset):
    """The first `count` scenes of the series `seed`, rendered when they are asked for.

    Args:
        size: (h, w), px.
        config: how scenes are drawn: a SceneConfig, of rooms a RoomConfig; None: by its defaults.
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        size: tuple[int, int] = (256, 512),
        config: Any = None,
    ):
        self.count, self.seed, self.size = count, seed, size
        self.config = config
        self.name = f"procedural:{count},seed={seed},size={size[0]}x{size[1]}"
        self.problems = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not -self.count <= index < self.count:
            raise IndexError(index)
        index %= self.count
        meta = {"source": "procedural", "seed": self.seed, "index": index}
        return self._render(index, name=f"scene_{index:05d}", meta=meta)

    @abstractmethod
    def _render(self, index: int, **about: Any) -> Sample:
        """Scene `index` as a Sample, with its name and meta."""


class ProceduralStereo(Procedural):
    """Pairs with their disparity."""

    task = Task.STEREO

    def _render(self, index: int, **about: Any) -> Sample:
        batch = render_stereo(self.seed, [index], self.size, self.config)
        return Sample(
            images=(_bytes(batch.left[0]), _bytes(batch.right[0])),
            disparity=batch.disparity[0, 0].numpy(),
            valid=batch.valid[0, 0].numpy(),
            occluded=batch.occluded[0, 0].numpy(),
            camera=StereoCamera(focal=FOCAL_PER_WIDTH * self.size[1], baseline=BASELINE),
            **about,
        )


class ProceduralMotion(Procedural):
    """Frames of layers that move, with their flow."""

    task = Task.FLOW

    def _render(self, index: int, **about: Any) -> Sample:
        motion = render_motion(self.seed, [index], self.size, self.config)
        return Sample(
            images=tuple(_bytes(frame[0]) for frame in motion.frames),
            flow=np.ascontiguousarray(motion.flow[0].permute(1, 2, 0).numpy()),
            valid=np.ones(self.size, bool),
            occluded=motion.occluded[0, 0].numpy(),
            **about,
        )


class ProceduralTriplets(Procedural):
    """Frames of layers that move, with the true one between them; the exposure stays, as in a video."""

    task = Task.INTERPOLATION

    def __init__(self, *args: Any, config: SceneConfig | None = None, **options: Any):
        super().__init__(*args, config=config or SceneConfig(photometric=0), **options)

    def _render(self, index: int, **about: Any) -> Sample:
        time = middle_time(self.seed, index, self.config)
        motion = render_motion(self.seed, [index], self.size, self.config, times=(time, 1.0))
        before, middle, after = (_bytes(frame[0]) for frame in motion.frames)
        return Sample(images=(before, after), frame=middle, time=time, valid=np.ones(self.size, bool), **about)


class ProceduralRooms(Procedural):
    """Rooms with their depth and camera, and the frames that the config asks for."""

    task = Task.MONO

    def _render(self, index: int, **about: Any) -> Sample:
        rooms = render_rooms(self.seed, [index], self.size, self.config)
        return Sample(
            images=(_bytes(rooms.images[0, 0]),),
            depth=rooms.depth[0, 0].numpy(),
            valid=np.ones(self.size, bool),
            intrinsics=PinholeCamera(*rooms.intrinsics[0].tolist()),
            frames=tuple(_bytes(frame) for frame in rooms.images[0, 1:]),
            poses=tuple(rooms.poses[0, 1:].double().numpy()),
            **about,
        )


SCENES: dict[Task, Callable[..., Procedural]] = {
    Task.STEREO: ProceduralStereo,
    Task.FLOW: ProceduralMotion,
    Task.INTERPOLATION: ProceduralTriplets,
    Task.MONO: ProceduralRooms,
}


def _bytes(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def open_procedural(spec: str, task: Task = Task.STEREO) -> Procedural:
    """Reads `COUNT[,seed=S][,size=HxW]`.

    Raises:
        UserError: a count below 1, a size below 16x16, a number with too many digits, or an unknown option.
    """
    first, *rest = spec.split(",")
    if not re.fullmatch(r"[0-9]{1,9}", first) or int(first) < 1:
        raise UserError(
            f"procedural:{spec}: the first part is how many scenes, 1 to 999999999: procedural:20,size=256x512"
        )
    options: dict[str, int | tuple[int, int]] = {}
    for part in rest:
        key, _, value = part.partition("=")
        if key == "seed" and re.fullmatch(r"[0-9]{1,18}", value):
            options["seed"] = int(value)
        elif key == "size" and (match := re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value)):
            options["size"] = (int(match[1]), int(match[2]))
            if min(options["size"]) < 16:
                raise UserError(f"procedural:{spec}: size {value} is below 16x16")
        elif key in ("seed", "size"):
            raise UserError(f"procedural:{spec}: {part!r} is not seed=NUMBER or size=HEIGHTxWIDTH")
        else:
            raise unknown_name(f"option of procedural:{first}", key, ["seed", "size"])
    if task not in SCENES:
        raise UserError(f"procedural: renders {' and '.join(SCENES)}, not {task.value}: give a data set")
    return SCENES[task](int(first), **options)
