"""What every predictor is, and which images it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from leadline.errors import UserError
from leadline.models.network import Task

VIEWS = {
    Task.STEREO: ("left", "right"),
    Task.FLOW: ("frame0", "frame1"),
    Task.INTERPOLATION: ("frame0", "frame1"),
    Task.MONO: ("image",),
}


TIME = "time"  # the third input of an interpolation model that takes one, (1, 1, 1, 1), in (0, 1)


def input_names(task: Task, takes_time: bool) -> tuple[str, ...]:
    """What a model of a task is fed, in order."""
    return (*VIEWS[task], TIME) if takes_time else VIEWS[task]


class Predictor(ABC):
    """Anything that turns images into a prediction: a network, an exported model, a classical algorithm.

    It owns normalisation, padding and un-padding. A subclass gives `task`, `name` and `_predict`.
    """

    task: Task
    name: str
    takes_time: bool = False  # interpolation: whether it knows any time, or the middle alone
    max_disparity: int | None = None  # stereo: px that it searches; None: not known

    def predict(self, *images: np.ndarray, time: float | None = None) -> np.ndarray:
        """The prediction for one pair (or image).

        Args:
            images: uint8 or uint16, (h, w) or (h, w, 3) RGB, any size, all of one size. uint16 is read over its full
                range: 65535 is white.
            time: of interpolation: when the frame is, 0 being the first image and 1 the second; None: in the middle.
                `leadline.predict.frames_between` finds other times with a model that knows the middle alone.

        Returns:
            stereo: disparity (h, w) float32, px, left view · flow: (h, w, 2) float32, px · interpolation: a frame
            (h, w, 3) of the first image's type · mono: depth (h, w) float32, m.

        Raises:
            UserError: the wrong number of images, or images of another kind, size or number of channels; a time
                outside (0, 1), or one that the model does not know.
        """
        check_images(images, self.task)
        if time is None:
            return self._predict(*images)
        self._check_time(time)
        return self._predict(*images, time=float(time)) if self.takes_time else self._predict(*images)

    @abstractmethod
    def _predict(self, *images: np.ndarray, **options: Any) -> np.ndarray:
        """`predict` for images that have been checked; where it `takes_time`, that may be given as `time`."""

    def _check_time(self, time: float) -> None:
        if self.task is not Task.INTERPOLATION:
            raise UserError(f"{self.name} is for {self.task.value}: a time belongs to interpolation")
        check_time(time)
        if not self.takes_time and time != 0.5:
            raise UserError(
                f"{self.name} knows the middle (time 0.5) alone, not {time:g}: leadline.predict.frames_between and "
                "`leadline interpolate` find other times by halving"
            )


def check_time(time: float) -> None:
    """Raises UserError unless 0 < time < 1."""
    if not 0 < time < 1:
        raise UserError(f"time {time:g} does not lie between the frames: give more than 0 and less than 1")


def check_images(images: tuple[Any, ...], task: Task) -> None:
    """Raises UserError unless `images` are what a predictor of `task` takes."""
    views = VIEWS[task]
    if len(images) != len(views):
        raise UserError(f"{task.value} takes {len(views)} image(s) ({', '.join(views)}), got {len(images)}")
    for view, image in zip(views, images, strict=True):
        if not isinstance(image, np.ndarray):
            raise UserError(f"{view} image is of type {type(image).__name__}: give a NumPy array of uint8 or uint16")
        shape = "x".join(map(str, image.shape))
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise UserError(
                f"{view} image has shape {shape}: give (h, w) greyscale or (h, w, 3) RGB, one image at a time, no alpha"
            )
        if image.size == 0:
            raise UserError(f"{view} image is empty (shape {shape})")
        if image.dtype not in (np.uint8, np.uint16):
            raise UserError(
                f"{view} image holds {image.dtype} values: give uint8 or uint16 as the camera does "
                "(from [0, 1]: (image * 255).round().astype('uint8'))"
            )
    sizes = [image.shape[:2] for image in images]
    if len(set(sizes)) > 1:
        told = ", ".join(f"{view} {size[1]}x{size[0]}" for view, size in zip(views, sizes, strict=True))
        raise UserError(f"the images differ in size (width x height: {told}): give images of one size")
