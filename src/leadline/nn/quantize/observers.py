"""From values seen in calibration to the range that is quantised.

A range that holds every value wastes codes on outliers; one that is too narrow clips. All observers but the first look
at a histogram of `BINS` equal bins between the extremes.

- minmax: the extremes.
- percentile: all but a share of the values at either end.
- mse: both ends drawn in by the factor under which the squared error is least.
- histogram: each end moved in, bin by bin, as long as the squared error falls (as PyTorch's HistogramObserver does).
- kl: the threshold under which the distribution of the quantised values is nearest to that of the values (S. Migacz,
  "8-bit Inference with TensorRT", GTC 2017).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from leadline.nn.quantize.affine import Grid, from_codes, scale_and_zero, to_codes

OBSERVERS = ("minmax", "percentile", "mse", "histogram", "kl")
BINS = 2048
PERCENTILE = 99.99


class Histogram:
    """How often values fell into equal bins of [minimum, maximum]; values beyond count in the outermost bins."""

    def __init__(self, minimum: float, maximum: float):
        self.minimum, self.maximum = minimum, maximum
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        clamped = values.detach().float().cpu().clamp(self.minimum, self.maximum)
        self.counts += torch.histc(clamped, BINS, self.minimum, self.maximum).double()

    @property
    def centres(self) -> Float[Tensor, " bins"]:
        width = (self.maximum - self.minimum) / BINS
        return self.minimum + width * (torch.arange(BINS, dtype=torch.float32) + 0.5)


def find_range(histogram: Histogram, observer: str, grid: Grid) -> tuple[float, float]:
    """(minimum, maximum) of what is to be quantised, within those of the histogram."""
    ends = histogram.minimum, histogram.maximum
    if observer == "minmax":
        return ends
    if observer == "percentile":
        return _percentile(histogram, PERCENTILE)
    if observer == "mse":
        candidates = [(ends[0] * share, ends[1] * share) for share in torch.linspace(0.1, 1, 91).tolist()]
        return min(candidates, key=lambda found: _squared_error(histogram, *found, grid))
    if observer == "histogram":
        return _trimmed(histogram, grid)
    return _least_divergence(histogram, grid)


def _percentile(histogram: Histogram, percent: float) -> tuple[float, float]:
    share = histogram.counts.cumsum(0) / histogram.counts.sum()
    tail = (1 - percent / 100) / 2
    first = int(torch.searchsorted(share, torch.tensor(tail, dtype=share.dtype)))
    last = int(torch.searchsorted(share, torch.tensor(1 - tail, dtype=share.dtype)))
    width = (histogram.maximum - histogram.minimum) / BINS
    return histogram.minimum + width * first, histogram.minimum + width * min(last + 1, BINS)


def _squared_error(histogram: Histogram, minimum: float, maximum: float, grid: Grid) -> float:
    values = histogram.centres
    scale, zero_point = scale_and_zero(torch.tensor(minimum), torch.tensor(maximum), grid)
    error = from_codes(to_codes(values, scale, zero_point, grid), scale, zero_point) - values
    return float((histogram.counts * error.double().square()).sum())


def _trimmed(histogram: Histogram, grid: Grid, step: int = BINS // 128) -> tuple[float, float]:
    width = (histogram.maximum - histogram.minimum) / BINS

    def ends(cut: tuple[int, int]) -> tuple[float, float]:
        return histogram.minimum + width * cut[0], histogram.maximum - width * cut[1]

    best = (0, 0)
    error = _squared_error(histogram, *ends(best), grid)
    while True:
        tries = [(best[0] + step, best[1]), (best[0], best[1] + step)]
        tries = [cut for cut in tries if sum(cut) < BINS - step]
        errors = [_squared_error(histogram, *ends(cut), grid) for cut in tries]
        if not errors or min(errors) >= error:
            return ends(best)
        error = min(errors)
        best = tries[errors.index(error)]


def _least_divergence(histogram: Histogram, grid: Grid) -> tuple[float, float]:
    """Thresholds on |x| from an eighth of the largest value up."""
    largest = max(-histogram.minimum, histogram.maximum)
    best, threshold = float("inf"), largest
    values, counts = histogram.centres, histogram.counts.clone()
    if 0 < (zero := int(values.abs().argmin())) < BINS - 1:  # what a ReLU made 0 would outweigh all else
        counts[zero] = (counts[zero - 1] + counts[zero + 1]) / 2
    else:
        counts[zero] = counts[1] if zero == 0 else counts[-2]
    for share in torch.linspace(0.125, 1, 57).tolist():
        low, high = max(histogram.minimum, -largest * share), min(histogram.maximum, largest * share)
        inside = (values >= low) & (values <= high)
        # P: the values with the clipped ones in the outermost bins; Q: what the codes can tell of those inside.
        clipped = counts * inside
        ends = inside.nonzero().flatten()
        p = clipped.clone()
        p[ends[0]] += counts[: ends[0]].sum()
        p[ends[-1]] += counts[ends[-1] + 1 :].sum()
        scale, zero_point = scale_and_zero(torch.tensor(low), torch.tensor(high), grid)
        codes = (to_codes(values, scale, zero_point, grid) - grid.low).long()
        used = (clipped > 0).double()
        levels = 2**grid.bits
        mass = torch.zeros(levels, dtype=torch.float64).index_add_(0, codes, clipped)
        filled = torch.zeros(levels, dtype=torch.float64).index_add_(0, codes, used)
        q = used * (mass / filled.clamp(min=1))[codes]
        p, q = p / p.sum(), q / q.sum().clamp(min=1e-30)
        shown = p > 0
        divergence = float((p[shown] * (p[shown] / q[shown].clamp(min=1e-12)).log()).sum())
        if divergence < best:
            best, threshold = divergence, largest * share
    return max(histogram.minimum, -threshold), min(histogram.maximum, threshold)
