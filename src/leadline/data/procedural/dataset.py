"""Procedural scenes as a data set of samples, for validation, calibration and demonstrations."""

import re

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from leadline.data.datasets.base import Dataset
from leadline.data.procedural.render import render_stereo
from leadline.data.procedural.scene import SceneConfig
from leadline.data.sample import Sample
from leadline.errors import UserError, unknown_name
from leadline.geometry.camera import StereoCamera

# A camera with a 60 degree field of view and a hand's breadth of baseline, so that depths can be reported.
BASELINE = 0.12  # m
FOCAL_PER_WIDTH = 0.866


class ProceduralStereo(Dataset):
    """The first `count` scenes of the series `seed`, rendered when they are asked for.

    Args:
        size: (h, w), px.
        config: how scenes are drawn.
    """

    def __init__(
        self, count: int, seed: int = 0, size: tuple[int, int] = (256, 512), config: SceneConfig | None = None
    ):
        self.count, self.seed, self.size = count, seed, size
        self.config = config or SceneConfig()
        self.name = f"procedural:{count},seed={seed},size={size[0]}x{size[1]}"
        self.problems = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not -self.count <= index < self.count:
            raise IndexError(index)
        index %= self.count
        batch = render_stereo(self.seed, [index], self.size, self.config)
        return Sample(
            name=f"scene_{index:05d}",
            images=(_bytes(batch.left[0]), _bytes(batch.right[0])),
            disparity=batch.disparity[0, 0].numpy(),
            valid=batch.valid[0, 0].numpy(),
            occluded=batch.occluded[0, 0].numpy(),
            camera=StereoCamera(focal=FOCAL_PER_WIDTH * self.size[1], baseline=BASELINE),
            meta={"source": "procedural", "seed": self.seed, "index": index},
        )


def _bytes(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def open_procedural(spec: str) -> ProceduralStereo:
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
    return ProceduralStereo(int(first), **options)  # pyright: ignore[reportArgumentType]
