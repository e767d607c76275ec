"""The C++ example builds as it stands, and says what leadline says."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from deploy.networks import noise_pair, small_plummet

import leadline
from leadline.deploy import export

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "opencv_dnn_cpp"
PACKAGES = "apt-get install --no-install-recommends cmake g++ libopencv-dnn-dev libopencv-imgcodecs-dev"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip(f"no CMake or no C++ compiler here: {PACKAGES}")
    build = tmp_path_factory.mktemp("build")
    configured = subprocess.run(["cmake", "-S", EXAMPLE, "-B", build], capture_output=True, text=True, check=False)
    if configured.returncode and "OpenCV" in configured.stderr:
        pytest.skip(f"OpenCV's headers are not here: {PACKAGES}")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", build], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in built.stderr
    return build / "disparity"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    pytest.importorskip("google.protobuf")
    return export(small_plummet(), "caffe", tmp_path_factory.mktemp("exported"), (64, 96), verify_on=None)


def run(program, folder, *arguments):
    command = [str(argument) for argument in (program, *arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_same_as_leadline(program, artifact, tmp_path):
    pair = noise_pair(50, 90)
    for name, image in zip(("left", "right"), pair, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1])
    done = run(program, tmp_path, artifact.folder, "left.png", "right.png", "disparity.pfm")
    assert done.returncode == 0, done.stderr
    found = cv2.imread(str(tmp_path / "disparity.pfm"), cv2.IMREAD_UNCHANGED)
    expected = leadline.load(artifact.folder).predict(*pair)
    assert expected.std() > 0.1
    assert np.abs(found - expected).mean() < 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_what_it_cannot_do_is_told(program, artifact, tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((80, 96, 3), np.uint8))
    cases = {("absent.png", "absent.png"): "not an image", ("large.png", "large.png"): "larger than the model"}
    for images, message in cases.items():
        done = run(program, tmp_path, artifact.folder, *images, "disparity.pfm")
        assert done.returncode == 1
        assert message in done.stderr
    assert run(program, tmp_path).returncode == 2
