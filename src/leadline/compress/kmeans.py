"""k-means of numbers on a line: exact assignments, in K log n per round."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Integer

INITS = ("linear", "density", "random")
ROUNDS = 100


def kmeans(
    values: Float64[np.ndarray, " n"], clusters: int, init: str = "linear", seed: int = 0
) -> tuple[Float64[np.ndarray, " k"], Integer[np.ndarray, " n"]]:
    """Lloyd's algorithm on sorted numbers: clusters are ranges there, found by bisection and averaged by prefix sums.

    Args:
        values: of any order; more than `clusters` different ones, or each becomes a cluster of its own.
        clusters: at least 1.
        init: where it starts. "linear": evenly from the least to the greatest; "density": quantiles, as many numbers
            in each; "random": numbers drawn.
        seed: of the draw.

    Returns:
        Centroids, rising, at most `clusters` (those that end up empty are dropped), and each number's centroid.

    Source: S. Lloyd, "Least squares quantization in PCM", 1982; initialisations of S. Han et al., "Deep Compression",
    ICLR 2016.
    """
    ordered = np.sort(values)
    different = np.unique(ordered)
    if len(different) <= clusters:
        return different, np.searchsorted(different, values)
    centroids = _start(ordered, different, clusters, init, seed)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(ROUNDS):
        ends = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2, side="right")
        bounds = np.concatenate([[0], ends, [len(ordered)]])
        counts = np.diff(bounds)
        means = np.where(counts > 0, np.diff(sums[bounds]) / np.maximum(counts, 1), centroids)
        if np.array_equal(means, centroids):
            break
        centroids = means
    index = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values, side="left")
    used, index = np.unique(index, return_inverse=True)
    return centroids[used], index


def _start(
    ordered: Float64[np.ndarray, " n"], different: Float64[np.ndarray, " m"], clusters: int, init: str, seed: int
) -> Float64[np.ndarray, " k"]:
    if init == "linear":
        return np.linspace(ordered[0], ordered[-1], clusters)
    if init == "density":
        return np.unique(np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters))
    return np.sort(np.random.default_rng(seed).choice(different, clusters, replace=False))
