"""Who teaches: a network, any other Predictor, or several of them together.

A teacher sees the very views that the student sees, cropped and augmented ("consistent teaching": L. Beyer et al.,
"Knowledge distillation: A good teacher is patient and consistent", CVPR 2022). Its prediction on other pixels, such as
those before a zoom or under an occluder, would be that of another image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from leadline.artifacts import is_artifact
from leadline.classical import ClassicalStereo
from leadline.errors import UserError
from leadline.geometry.consistency import consistent, fill_background
from leadline.models import Network, Task
from leadline.nn.warp import inside, warp_to_left
from leadline.predict import NetworkPredictor, Predictor, predict_checked
from leadline.training.distill.distribution import Planes
from leadline.training.distill.layers import Layer, Recording, recording
from leadline.zoo import find_checkpoint, load

CHECKED = 1.0  # px, largest left-right difference of a teacher that is no network, where the recipe does not say


@dataclass
class Taught:
    """What one teacher says of a batch."""

    prediction: Float[Tensor, "b c h w"]
    trust: Float[Tensor, "b 1 h w"]  # 1, or 0 where its own checks fail
    scores: Planes | None = None
    layers: Recording | None = None


class NetworkTeacher:
    """A network: frozen, in eval mode, without gradient, in the precision of the training around it."""

    def __init__(self, name: str, network: Network, about: dict[str, Any], left_right: float | None):
        self.name, self.about = name, about
        self.task = network.task
        self.network = network.requires_grad_(False).eval()
        self.left_right = left_right or None
        self.gives_scores = hasattr(network, "forward_scores")

    @torch.no_grad()
    def __call__(self, images: tuple[Tensor, ...], scores: bool, layers: Iterable[Layer]) -> Taught:
        self._follow(images[0].device)
        padded, (height, width) = self._pad(images), images[0].shape[-2:]
        found: Planes | None = None
        with recording(self.network, layers) as record:
            if scores:
                predictions, planes, spacing = self.network.forward_scores(*padded)  # type: ignore[operator]
                prediction, found = predictions[-1], (planes, float(spacing))
            else:
                prediction = self.network(*padded)
        prediction = prediction[..., :height, :width].float()
        trust = torch.ones_like(prediction[:, :1])
        if self.left_right is not None:
            left, right = padded
            mirrored = self.network(right.flip(3), left.flip(3)).flip(3)[..., :height, :width].float()
            difference = (prediction - warp_to_left(mirrored, prediction)).abs()
            trust = inside(prediction) * (difference <= self.left_right)
        return Taught(prediction, trust, found, record)

    def _follow(self, device: torch.device) -> None:
        """To where the images are; the teacher is no part of the trained module, so nothing else moves it."""
        if next(self.network.parameters()).device != device:
            self.network.to(device)

    def _pad(self, images: tuple[Tensor, ...]) -> list[Tensor]:
        height, width = images[0].shape[-2:]
        new = self.network.padded_size(height, width)
        border = (0, new[1] - width, 0, new[0] - height)
        padded = (functional.pad(x, border, mode="replicate") if any(border) else x for x in images)
        return [x.contiguous(memory_format=torch.channels_last) for x in padded]


class PredictorTeacher:
    """An exported model or a classical algorithm: pair by pair, on 16-bit images, with its left-right check.

    A classical algorithm is trusted only where it found a match itself, in both views.
    """

    gives_scores = False

    def __init__(self, name: str, predictor: Predictor, about: dict[str, Any], left_right: float | None):
        self.name, self.about = name, about
        self.task = predictor.task
        self.predictor = predictor
        self.left_right = CHECKED if left_right is None else left_right
        if self.task is not Task.STEREO:
            self.left_right = 0.0

    def __call__(self, images: tuple[Tensor, ...], scores: bool, layers: Iterable[Layer]) -> Taught:
        views = [_to_uint16(view) for view in images]
        predictions, trusts = zip(*(self._one(*pair) for pair in zip(*views, strict=True)), strict=True)
        stacked = torch.from_numpy(np.stack(predictions)).to(images[0].device)
        trust = torch.from_numpy(np.stack(trusts)).to(images[0].device)
        return Taught(stacked.permute(0, 3, 1, 2).float(), trust[:, None].float())

    def _one(self, *images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The prediction (h, w, c) and where it is trusted."""
        if isinstance(self.predictor, ClassicalStereo):
            return self._matched(self.predictor, *images)
        if self.left_right:
            left, right = images
            checked = predict_checked(self.predictor, left, right, threshold=self.left_right)
            return checked.disparity[..., None], checked.consistent
        prediction = self.predictor.predict(*images)
        if self.task is Task.INTERPOLATION:
            prediction = prediction.astype(np.float32) / 65535
        prediction = prediction if prediction.ndim == 3 else prediction[..., None]
        return prediction, np.ones(prediction.shape[:2], bool)

    def _matched(
        self, predictor: ClassicalStereo, left: np.ndarray, right: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        disparity, found = predictor.match(left, right)
        trusted = found
        if self.left_right:
            mirrored = (np.ascontiguousarray(view[:, ::-1]) for view in (right, left))
            of_right, found_right = (seen[:, ::-1] for seen in predictor.match(*mirrored))
            trusted = found & consistent(disparity, np.where(found_right, of_right, np.inf), self.left_right)
        return fill_background(disparity, found)[..., None], trusted


Teacher = NetworkTeacher | PredictorTeacher


def load_teacher(
    name: str, student: Network, num_disparities: int | None = None, left_right: float | None = None
) -> Teacher:
    """A teacher by what `leadline.load` takes.

    Args:
        student: has to be for the same task.
        num_disparities: px, of a classical algorithm; None: the student's range.
        left_right: px, the largest left-right difference that is trusted; 0: not looked at; None: CHECKED for what is
            no network.

    Raises:
        UserError: as `leadline.load`; another task than the student's; a left-right check of what is not stereo.
    """
    if name in ClassicalStereo.NAMES:
        reach = num_disparities or -(-int(getattr(student.config, "max_disparity", 192)) // 16) * 16
        predictor = load(name, num_disparities=reach)
    else:
        predictor = load(name, device="cpu")  # it follows the images
    if predictor.task is not student.task:
        raise UserError(
            f"teacher {name} is for {predictor.task.value} and the student for {student.task.value}: "
            "take a teacher of the student's task"
        )
    if left_right and predictor.task is not Task.STEREO:
        raise UserError(
            f"distill.left_right is for stereo, and teacher {name} is for {predictor.task.value}: leave it out"
        )
    if isinstance(predictor, NetworkPredictor):
        about = {"name": name, "network": predictor.network.name, "sha256": _hash(find_checkpoint(name))}
        return NetworkTeacher(name, predictor.network, about, left_right)
    about = {"name": name}
    if is_artifact(name):
        about["sha256"] = _hash(Path(name) / "manifest.json")  # which has the hashes of the other files
    elif isinstance(predictor, ClassicalStereo):
        import cv2

        about |= {"opencv": cv2.__version__, "num_disparities": predictor.num_disparities}
    return PredictorTeacher(name, predictor, about, left_right)


@dataclass
class Lesson:
    """What all teachers together say of a batch."""

    prediction: Float[Tensor, "b c h w"]
    trust: Float[Tensor, "b 1 h w"]
    scores: list[Planes] = field(default_factory=list)
    layers: Recording | None = None  # of the first teacher


def combine(taught: list[Taught], how: str, spread: float | None) -> Lesson:
    """The ensemble's prediction and how far it is trusted.

    Args:
        taught: at least one.
        how: "mean" or "median" over the teachers, pixel by pixel.
        spread: in the prediction's unit: trust is multiplied by exp(-deviation / spread), deviation being the standard
            deviation over the teachers, of flow the length of both components' together. None: it is not.
    """
    stacked = torch.stack([one.prediction for one in taught])
    trusts = torch.stack([one.trust for one in taught])
    # What a teacher does not trust itself does not count where another one does.
    counted = trusts if len(taught) > 1 else torch.ones_like(trusts)
    known = torch.where(counted.sum(0, keepdim=True) > 0, counted, torch.ones_like(counted))
    mean = (stacked * known).sum(0) / known.sum(0)
    prediction = mean if how == "mean" else _median(stacked, known)
    trust = trusts.amax(0)
    if spread is not None:
        variance = ((stacked - mean).square() * known).sum(0) / known.sum(0)
        trust = trust * torch.exp(-variance.sum(1, keepdim=True).sqrt() / spread)
    scores = [one.scores for one in taught if one.scores is not None]
    return Lesson(prediction, trust, scores, taught[0].layers)


def _median(values: Float[Tensor, "n b c h w"], known: Float[Tensor, "n b 1 h w"]) -> Float[Tensor, "b c h w"]:
    """Of the values that count; of an even number, the mean of the middle two, as np.median has it."""
    hidden = torch.where(known > 0, values, torch.full_like(values, torch.nan))
    return torch.nanquantile(hidden, 0.5, dim=0)


def _to_uint16(view: Float[Tensor, "b c h w"]) -> np.ndarray:
    """(b, h, w, c), 65535 for white."""
    scaled = (view.detach().float().clamp(0, 1) * 65535).round().permute(0, 2, 3, 1)
    return scaled.cpu().numpy().astype(np.uint16)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
