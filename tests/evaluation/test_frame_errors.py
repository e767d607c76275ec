import numpy as np
import pytest
from shared import shared_parity
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from leadline.evaluation.frame_errors import FrameSums, mean_gradient
from leadline.evaluation.ssim import ssim, ssim_matlab


def noisy_pair(seed: int = 0, size: tuple[int, int] = (37, 52)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).round().astype(np.uint8), truth


def test_psnr_and_ssim_are_those_of_scikit_image():
    found, truth = noisy_pair()
    metrics = FrameSums.of(found, truth).metrics()
    assert metrics["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, found), abs=1e-9)
    expected = structural_similarity(
        truth, found, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert metrics["ssim"] == pytest.approx(expected, abs=1e-9)


def test_ssim_with_the_3d_window_is_that_of_the_original():
    with np.load(shared_parity("ops_parity.npz")) as parity:
        one, two = (parity[f"rife/ssim/{side}"][0].transpose(1, 2, 0) for side in "ab")
        expected = float(parity["rife/ssim/ssim_matlab"])
    assert ssim_matlab(one, two) == pytest.approx(expected, abs=2e-5)  # the original rounds to float32 on its way
    assert abs(ssim(one, two) - expected) > 1e-3  # the two are not the same thing


def test_interpolation_error_by_hand():
    truth = np.full((16, 20, 3), 100, np.uint8)
    found = truth.copy()
    found[:, :10] += 4
    metrics = FrameSums.of(found, truth).metrics()
    assert metrics["ie"] == pytest.approx(2)
    assert metrics["ie_rms"] == pytest.approx(np.sqrt(8))
    assert metrics["psnr"] == metrics["psnr_y"] == pytest.approx(10 * np.log10(255**2 / 8))
    assert metrics["sharpness"] is None  # nothing in a flat image is sharp


def test_identical_frames():
    _, truth = noisy_pair()
    metrics = FrameSums.of(truth, truth).metrics()
    assert (metrics["psnr"], metrics["ssim"], metrics["ie"], metrics["sharpness"]) == (100, 1, 0, 1)


def test_sharpness_falls_with_blur_and_knows_a_ramp():
    ramp = np.repeat(np.arange(40, dtype=np.float64)[None, :, None], 30, 0) / 255
    assert mean_gradient(np.repeat(ramp, 3, 2)) == pytest.approx(1 / 255)
    _, truth = noisy_pair()
    blurred = ((truth[:, 1:].astype(int) + truth[:, :-1]) // 2).astype(np.uint8)
    assert 0.5 < FrameSums.of(blurred, truth[:, 1:]).metrics()["sharpness"] < 0.95


def test_16_bits_are_measured_in_the_same_units():
    found, truth = noisy_pair()
    deep = [image.astype(np.uint16) * 257 for image in (found, truth)]
    for key, value in FrameSums.of(found, truth).metrics().items():
        assert FrameSums.of(*deep).metrics()[key] == pytest.approx(value, abs=1e-9), key


def test_frames_count_alike_whatever_their_size():
    one, two = FrameSums.of(*noisy_pair(1)), FrameSums.of(*noisy_pair(2, (20, 100)))
    whole = (one + two).metrics()
    assert whole["psnr"] == pytest.approx((one.psnr + two.psnr) / 2)
    assert whole["ssim_matlab"] == pytest.approx((one.ssim_matlab + two.ssim_matlab) / 2)


def test_frames_too_small_for_the_window():
    small = np.zeros((8, 30, 3), np.uint8)
    metrics = FrameSums.of(small, small).metrics()
    assert metrics["ssim"] is None
    assert metrics["ssim_matlab"] == pytest.approx(1)
    assert FrameSums().metrics()["psnr"] is None
