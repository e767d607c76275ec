"""How far an interpolated frame is from the true one. Every definition, with its source, is in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from leadline.data.sample import Sample
from leadline.evaluation.metrics import Metric
from leadline.evaluation.ssim import ssim, ssim_matlab
from leadline.evaluation.sums import Sums

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
IDENTICAL = 100.0  # dB that an image without any error counts as, so that means stay finite

METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", "dB"),
    "ssim": Metric("SSIM", ""),
    "ssim_matlab": Metric("SSIM (3-D window)", ""),
    "ie": Metric("interpolation error", "grey"),
    "ie_rms": Metric("interpolation error, RMS", "grey"),
    "psnr_y": Metric("PSNR of luma", "dB"),
    "sharpness": Metric("sharpness", ""),
}

Frame = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]


@dataclass
class FrameSums(Sums):
    """Sums over frames of the measures of each: the field averages PSNR and SSIM over images, not over pixels."""

    frames: int = 0
    psnr: float = 0.0  # dB
    psnr_luma: float = 0.0  # dB
    ssim: float = 0.0
    ssim_frames: int = 0  # those that the window fits into
    ssim_matlab: float = 0.0
    difference: float = 0.0  # mean absolute, grey values of 255
    rms: float = 0.0  # root mean square, grey values of 255
    sharpness: float = 0.0  # mean gradient over the truth's
    sharpness_frames: int = 0  # those whose truth is not flat

    @classmethod
    def of(cls, predicted: Frame, truth: Frame) -> FrameSums:
        """The sums of one frame.

        Args:
            predicted, truth: of one size; 8 or 16 bits, as they would be written to a file: what the network gave is
                rounded before it is measured, as in the published protocols.
        """
        one, two = _unit(predicted), _unit(truth)
        error = one - two
        structure = ssim(one, two)
        steep = mean_gradient(two)
        return cls(
            frames=1,
            psnr=_psnr(float(np.mean(error**2))),
            psnr_luma=_psnr(float(np.mean((error @ LUMA) ** 2))),
            ssim=structure or 0.0,
            ssim_frames=int(structure is not None),
            ssim_matlab=ssim_matlab(one, two),
            difference=float(np.abs(error).mean() * 255),
            rms=float(np.sqrt(np.mean(error**2)) * 255),
            sharpness=mean_gradient(one) / steep if steep else 0.0,
            sharpness_frames=int(steep > 0),
        )

    def metrics(self) -> dict[str, float | None]:
        """Every metric in its unit; None where no frame speaks for it."""

        def mean(total: float, count: int) -> float | None:
            return total / count if count else None

        return {
            "psnr": mean(self.psnr, self.frames),
            "ssim": mean(self.ssim, self.ssim_frames),
            "ssim_matlab": mean(self.ssim_matlab, self.frames),
            "ie": mean(self.difference, self.frames),
            "ie_rms": mean(self.rms, self.frames),
            "psnr_y": mean(self.psnr_luma, self.frames),
            "sharpness": mean(self.sharpness, self.sharpness_frames),
        }


def of_sample(predicted: np.ndarray, sample: Sample, valid: np.ndarray) -> FrameSums:
    """The sums of a prediction for a sample whose true frame is known; frames are compared as a whole."""
    assert sample.frame is not None
    return FrameSums.of(predicted, sample.frame)


def mean_gradient(image: Float[np.ndarray, "h w 3"]) -> float:
    """Mean length of the luma's gradient (differences to the right and lower neighbour), per px.

    Blurring takes from it, ringing and noise add to it. Related to the "Brenner" and "Tenengrad" focus measures, see
    S. Pertuz, D. Puig, M. Garcia, "Analysis of Focus Measure Operators for Shape-from-Focus", 2013.
    """
    luma = image @ LUMA
    along_x, along_y = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    return float(np.hypot(along_x, along_y).mean()) if along_x.size else 0.0


def _unit(frame: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    frame = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, 2)
    return frame.astype(np.float64) / np.iinfo(frame.dtype).max


def _psnr(squared: float) -> float:
    return float(min(IDENTICAL, -10 * np.log10(squared))) if squared > 0 else IDENTICAL
