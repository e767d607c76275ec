"""Small data sets in their own layouts, made of noise, to test the readers on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from leadline.data.formats.images import write_image
from leadline.data.formats.pfm import write_pfm

HEIGHT, WIDTH = 6, 10


def image(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def disparity(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Multiples of 1/4 px from 0.25 to 3 px."""
    return (np.random.default_rng(seed).integers(1, 13, size) / 4).astype(np.float32)


def put_image(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    write_image(path, image(seed, size))


def put_pfm(path: Path, values: np.ndarray) -> None:
    write_pfm(path, values.astype(np.float32))


def put_16bit(path: Path, values: np.ndarray, scale: float) -> None:
    """Written by OpenCV, not by the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.rint(values * scale).astype(np.uint16))


def put_8bit(path: Path, stored: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), stored.astype(np.uint8))
