"""What networks and exported models share as Predictors: conversion, padding, tiles."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float32

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.predict.predictor import Predictor
from leadline.predict.tiles import Span

MAX_AREA = 3_000_000  # px handed to a model at once; larger images go through in tiles
MAX_WHOLE = 8_000_000  # px of an image that cannot go through in tiles
ROW_OVERLAP = 64  # px shared by tiles above one another


class TiledPredictor(Predictor):
    """Pads images at the bottom and on the right, by repeating their edge, and crops the prediction back exactly.

    Padding there leaves pixel coordinates and a network's strides where they were. Large images are processed in
    overlapping tiles, cut in the middle of the overlap, so that memory is bounded by the tile and not by the image.
    A subclass says how images are tiled and padded, and runs one tile.
    """

    max_area: int

    @abstractmethod
    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that the model sees for a tile of (height, width)."""

    @abstractmethod
    def _tiles(self, height: int, width: int) -> list[tuple[Span, Span]]:
        """The (rows, columns) of the tiles of an image."""

    @abstractmethod
    def _run(self, *images: Float32[np.ndarray, "1 3 h w"], **options: Any) -> Float32[np.ndarray, "1 c h w"]:
        """The model on padded images, RGB in [0, 1]; options as `_predict` has them."""

    def _area_for(self, height: int, width: int) -> int:
        """`max_area`, less what padding adds."""
        padded_height, padded_width = self._padded_size(height, width)
        return self.max_area * height * width // (padded_height * padded_width)

    def _predict(self, *images: np.ndarray, **options: Any) -> np.ndarray:
        height, width = images[0].shape[:2]
        result = None
        for rows, columns in self._tiles(height, width):
            seen = [image[rows.start : rows.stop, columns.start : columns.stop] for image in images]
            tile = self._tile(*seen, **options)
            if result is None:
                result = np.empty((height, width, tile.shape[2]), tile.dtype)
            result[rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = tile[
                rows.keep_start - rows.start : rows.keep_stop - rows.start,
                columns.keep_start - columns.start : columns.keep_stop - columns.start,
            ]
        assert result is not None  # there is at least one tile
        return as_prediction(result, self.task, images[0].dtype)

    def _tile(self, *images: np.ndarray, **options: Any) -> Float32[np.ndarray, "h w c"]:
        height, width = images[0].shape[:2]
        padded = self._padded_size(height, width)
        prediction = self._run(*(to_model_image(image, padded) for image in images), **options)
        return prediction[0, :, :height, :width].transpose(1, 2, 0)


def one_piece(name: str, size: tuple[int, int], largest: tuple[int, int] | None = None) -> list[tuple[Span, Span]]:
    """The whole image as the only tile: the depth of a single image follows from all of it.

    Args:
        size: (h, w) of the image.
        largest: (h, w) that the model takes; None: any, up to MAX_WHOLE px.

    Raises:
        UserError: a larger image.
    """
    height, width = size
    fits = height * width <= MAX_WHOLE if largest is None else height <= largest[0] and width <= largest[1]
    if not fits:
        limit = f"{MAX_WHOLE / 1e6:g} million px" if largest is None else f"{largest[1]} x {largest[0]}"
        raise UserError(
            f"{name}: an image of {width} x {height} is larger than {limit}, and monocular depth cannot be pieced "
            "together from tiles: make it smaller, --resize HxW does (in Python: leadline.predict.Resized)"
        )
    return [(Span(0, height, 0, height), Span(0, width, 0, width))]


def to_model_image(image: np.ndarray, size: tuple[int, int]) -> Float32[np.ndarray, "1 3 h w"]:
    """RGB in [0, 1], padded to `size` at the bottom and right by repeating the edge.

    Args:
        image: uint8 or uint16, (h, w) or (h, w, 3), not larger than `size`.
    """
    height, width = image.shape[:2]
    plane = image[..., None] if image.ndim == 2 else image
    padded = np.pad(plane, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="edge")
    scaled = np.empty((1, 3, *size), np.float32)
    np.divide(padded.transpose(2, 0, 1), np.float32(np.iinfo(image.dtype).max), out=scaled[0])  # grey fills all three
    return scaled


def as_prediction(maps: Float32[np.ndarray, "h w c"], task: Task, dtype: np.dtype) -> np.ndarray:
    """A model's output in the form in which a Predictor gives it; `dtype` is that of the images."""
    if task is Task.INTERPOLATION:
        white = np.iinfo(dtype).max
        return np.clip(np.rint(maps * white), 0, white).astype(dtype)
    return maps if task is Task.FLOW else maps[:, :, 0]
