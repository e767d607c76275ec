"""Structural similarity of two images, in the two forms in which papers on frame interpolation give it."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]
SIGMA, RADIUS = 1.5, 5  # of the Gaussian window, px


def ssim(one: Float[np.ndarray, "h w 3"], two: Float[np.ndarray, "h w 3"]) -> float | None:
    """Mean SSIM over channels and over the windows that lie wholly inside, weighted by a Gaussian of 11x11.

    The standard one: Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", 2004; with population covariances, as scikit-image gives it for gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False.

    Args:
        one, two: values in [0, 1].

    Returns:
        at most 1; None for images smaller than the window.
    """
    if min(one.shape[:2]) < 2 * RADIUS + 1:
        return None
    inside = slice(RADIUS, -RADIUS)
    return float(_similarity(one, two, _gaussian_2d)[inside, inside].mean())


def ssim_matlab(one: Float[np.ndarray, "h w 3"], two: Float[np.ndarray, "h w 3"]) -> float:
    """Mean SSIM with a Gaussian window of 11x11x11 over rows, columns and channels, the edge repeated on all sides.

    This is what RIFE and the interpolation papers before and after it call SSIM ("ssim_matlab" in their code): the
    window blurs across the three channels too, which makes it higher than the standard one. Only such numbers compare
    with theirs.
    """
    return float(_similarity(one, two, _gaussian_3d).mean())


def _similarity(one: np.ndarray, two: np.ndarray, blur) -> Float[np.ndarray, "h w 3"]:
    one, two = one.astype(np.float64), two.astype(np.float64)
    mean_one, mean_two = blur(one), blur(two)
    variance_one = blur(one * one) - mean_one**2
    variance_two = blur(two * two) - mean_two**2
    covariance = blur(one * two) - mean_one * mean_two
    luminance = (2 * mean_one * mean_two + C1) / (mean_one**2 + mean_two**2 + C1)
    return luminance * (2 * covariance + C2) / (variance_one + variance_two + C2)


def _kernel() -> Float[np.ndarray, " 11"]:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    return kernel / kernel.sum()


def _gaussian_2d(image: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    kernel = _kernel()
    return cv2.sepFilter2D(np.ascontiguousarray(image), cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def _gaussian_3d(image: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    # Along an axis of three with its ends repeated the Gaussian is a 3x3 matrix.
    mixing = np.zeros((3, 3))
    for channel in range(3):
        for offset, weight in zip(range(-RADIUS, RADIUS + 1), _kernel(), strict=True):
            mixing[channel, min(max(channel + offset, 0), 2)] += weight
    return _gaussian_2d(image) @ mixing.T
