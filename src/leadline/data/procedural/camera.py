"""What a real camera does to a rendered view: colour, exposure, blur, noise, lens and mounting."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from leadline.data.procedural.bank import NOISE_SIDE, Bank
from leadline.data.procedural.scene import SceneConfig


@dataclass(frozen=True)
class ViewFaults:
    """The imperfections of one view of a batch; every tensor (b,) unless said otherwise."""

    gain: Float[Tensor, "b 3"]
    gamma: Float[Tensor, " b"]
    blur: Float[Tensor, " b"]  # standard deviation, px
    noise: Float[Tensor, " b"]  # standard deviation, signal in [0, 1]
    vignette: Float[Tensor, " b"]  # darkening at the corners, 0..1
    grey: Float[Tensor, " b"]  # 0 or 1
    noise_at: tuple[tuple[int, int], ...]  # where in the noise bank each scene reads


@dataclass(frozen=True)
class Rig:
    """How the two cameras of each scene differ. `shift` and `tilt` move the right view's rows."""

    views: tuple[ViewFaults, ...]
    shift: Float[Tensor, "b 1 1"]  # px, down
    tilt: Float[Tensor, "b 1 1"]  # px per px of distance from the centre column
    reflection: Float[Tensor, "b 1 1"]  # strength 0 (none) .. 1
    reflection_share: Float[Tensor, "b 1 1"]  # disparity of the virtual image, as a share of the surface's own
    is_misaligned: bool  # any scene of the batch
    has_reflections: bool


def draw_faults(rng: np.random.Generator, config: SceneConfig, views: int) -> dict[str, np.ndarray]:
    """Draws the imperfections of one scene, as plain arrays that `stack_rig` batches."""
    low_light = rng.random() < config.low_light
    photometric = rng.random() < config.photometric
    exposure = rng.normal(0, 0.15) - (rng.uniform(0.7, 1.8) if low_light else 0)
    difference = (
        rng.normal(0, 0.12, (views, 1)) + rng.normal(0, 0.04, (views, 3)) if photometric else np.zeros((views, 3))
    )
    gamma = np.exp(rng.normal(0, 0.12) + (rng.normal(0, 0.06, views) if photometric else np.zeros(views)))
    blurred = rng.random() < config.blur
    blur = abs(rng.normal(0, 0.8)) * np.exp(rng.normal(0, 0.2, views)) if blurred else np.zeros(views)
    noisy = rng.random() < config.noise
    noise = np.exp(rng.uniform(np.log(0.002), np.log(0.02))) * (2.0 if low_light else 1.0) if noisy else 0.0
    vignetting = rng.uniform(0, 0.5) if rng.random() < config.vignetting else 0.0
    misaligned = rng.random() < config.misalignment
    reflecting = rng.random() < config.reflections
    return {
        "gain": np.exp(exposure + difference),
        "gamma": gamma,
        "blur": blur,
        "noise": np.full(views, noise),
        "vignette": np.full(views, vignetting),
        "grey": np.full(views, float(rng.random() < config.greyscale)),
        "noise_at": rng.integers(0, NOISE_SIDE, (views, 2)),
        "shift": np.array(rng.normal(0, 0.4) if misaligned else 0.0),
        "tilt": np.array(rng.normal(0, 0.001) if misaligned else 0.0),
        "reflection": np.array(rng.uniform(0.3, 1) if reflecting else 0.0),
        "reflection_share": np.array(rng.uniform(0.2, 0.8)),
    }


def stack_rig(scenes: list[dict[str, np.ndarray]], device: torch.device | str) -> Rig:
    def tensor(name: str, *view: int) -> Tensor:
        return torch.tensor(np.stack([scene[name][view] for scene in scenes]), dtype=torch.float32, device=device)

    views = tuple(
        ViewFaults(
            *(tensor(name, v) for name in ("gain", "gamma", "blur", "noise", "vignette", "grey")),
            noise_at=tuple((int(s["noise_at"][v, 0]), int(s["noise_at"][v, 1])) for s in scenes),
        )
        for v in range(len(scenes[0]["gamma"]))
    )
    return Rig(
        views,
        *(tensor(name)[:, None, None] for name in ("shift", "tilt", "reflection", "reflection_share")),
        is_misaligned=any(scene["shift"] != 0 for scene in scenes),
        has_reflections=any(scene["reflection"] > 0 for scene in scenes),
    )


def expose(image: Float[Tensor, "b 3 h w"], faults: ViewFaults, bank: Bank) -> Float[Tensor, "b 3 h w"]:
    """A rendered view as the camera would record it, in [0, 1]."""
    image = _blur(image, faults.blur).clamp(min=0)
    image = image * (faults.gain[:, :, None, None] * _vignette(image, faults.vignette))
    image = image.clamp(1e-4, 1) ** faults.gamma[:, None, None, None]
    grey = 0.299 * image[:, 0:1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:3]
    image = torch.lerp(image, grey.expand_as(image), faults.grey[:, None, None, None])
    # Shot noise grows with the signal, read noise does not; a grey camera has one noise value per pixel.
    grain = torch.stack([_grain(bank, at, (image.shape[-2], image.shape[-1])) for at in faults.noise_at])
    grain = torch.lerp(grain, grain[:, 0:1].expand_as(grain), faults.grey[:, None, None, None])
    strength = faults.noise[:, None, None, None] * (0.4 + 0.6 * image.sqrt())
    return (image + grain * strength).clamp(0, 1)


def _blur(image: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """Separable Gaussian, radius 2; every scene its own width, none for sigma 0."""
    if not bool((sigma > 0).any()):
        return image
    b, _, h, w = image.shape
    offsets = torch.arange(-2.0, 3.0, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(image, (2, 2, 2, 2), mode="replicate").reshape(1, b * 3, h + 4, w + 4)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=b * 3)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=b * 3)
    return flat.reshape(b, 3, h, w)


def _vignette(image: Float[Tensor, "b 3 h w"], strength: Float[Tensor, " b"]) -> Float[Tensor, "b 1 h w"]:
    height, width = image.shape[-2:]
    y = torch.linspace(-1, 1, height, device=image.device)[:, None]
    x = torch.linspace(-1, 1, width, device=image.device)[None, :]
    return 1 - strength[:, None, None, None] * (0.5 * (x * x + y * y))[None, None]


def _grain(bank: Bank, at: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    """A window of the noise bank that wraps round: the same for a scene on every device."""
    rows = (torch.arange(size[0], device=bank.noise.device) + at[0]) % NOISE_SIDE
    columns = (torch.arange(size[1], device=bank.noise.device) + at[1]) % NOISE_SIDE
    return bank.noise[:, rows][:, :, columns]
