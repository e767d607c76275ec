from pathlib import Path

import numpy as np
import pytest
from shared import shared_data

import leadline
from leadline.data.formats.images import write_image
from leadline.errors import UserError


def image(value: int, size=(8, 12)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def put(folder: Path, **values: int) -> None:
    for name, value in values.items():
        write_image(folder / f"{name}.png", image(value))


def opened(spec: str):
    data = leadline.open_data(spec, "interpolation")
    assert data.task == "interpolation"
    return data


def values(sample) -> tuple[int, int, int]:
    return tuple(int(frame[0, 0, 0]) for frame in (sample.images[0], sample.frame, sample.images[1]))


def test_vimeo_triplets_and_their_lists(tmp_path):
    for k, sequence in enumerate(["00001/0001", "00001/0002", "00002/0001"]):
        put(tmp_path / "sequences" / sequence, im1=10 * k, im2=10 * k + 1, im3=10 * k + 2)
    (tmp_path / "tri_testlist.txt").write_text("00001/0002\n\n")
    (tmp_path / "tri_trainlist.txt").write_text("00001/0001\n00002/0001\n00009/0009\n")
    test = opened(f"vimeo90k:{tmp_path}")
    assert [values(sample) for sample in test] == [(10, 11, 12)]
    assert test[0].name == "00001_0002"
    train = opened(f"vimeo90k:{tmp_path}/tri_trainlist.txt")
    assert [values(sample) for sample in train] == [(0, 1, 2), (20, 21, 22)]
    assert "00009/0009: 0 of the frames" in train.problems[0]
    (tmp_path / "tri_testlist.txt").unlink()
    assert len(opened(f"vimeo90k:{tmp_path}")) == 3


def test_vimeo_septuplets_have_times(tmp_path):
    put(tmp_path / "sequences/00001/0001", **{f"im{k}": 10 * k for k in range(1, 8)})
    (tmp_path / "sep_testlist.txt").write_text("00001/0001\n")
    data = opened(f"vimeo90k:{tmp_path}")
    assert [values(sample) for sample in data] == [(10, 10 * k, 70) for k in range(2, 7)]
    assert [sample.time for sample in data] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert len({sample.name for sample in data}) == 5


def test_ucf101(tmp_path):
    put(tmp_path / "1", frame_00=1, frame_01_gt=2, frame_02=3, frame_01_ours=9)
    put(tmp_path / "2", frame_00=1, frame_02=3)
    data = opened(f"ucf101:{tmp_path}")
    assert [values(sample) for sample in data] == [(1, 2, 3)]
    assert "frame_01_gt: missing" in data.problems[0]


def test_snu_film(tmp_path):
    put(tmp_path / "test/GOPRO_test/A_1", **{"000001": 1, "000003": 3, "000005": 5})
    prefix = "data/SNU-FILM/test/GOPRO_test/A_1"
    line = " ".join(f"{prefix}/{name}.png" for name in ("000001", "000003", "000005"))
    (tmp_path / "eval_modes").mkdir()
    (tmp_path / "eval_modes/test-hard.txt").write_text(f"{line}\n{prefix}/000001.png\n")
    (tmp_path / "eval_modes/test-easy.txt").write_text(f"{line}\n")
    assert [sample.name for sample in opened(f"snu-film:{tmp_path}")] == ["easy_A_1_000003", "hard_A_1_000003"]
    hard = opened(f"snu-film:{tmp_path}/eval_modes/test-hard.txt")
    assert [values(sample) for sample in hard] == [(1, 3, 5)]
    assert "is not three frames" in hard.problems[0]


@pytest.mark.parametrize("form", ["Tango-{:03d}.png", "Tango/{:03d}.png"])
def test_xiph(tmp_path, form):
    for k in range(1, 6):
        frame = image(10 * k, (16, 24))
        frame[4:12, 6:18] = 10 * k + 5
        write_image(tmp_path / form.format(k), frame)
    half, middle = opened(f"xiph-2k:{tmp_path}"), opened(f"xiph-4k:{tmp_path}")
    assert [sample.name for sample in half] == ["Tango_002", "Tango_004"]
    assert [values(sample) for sample in half] == [(10, 20, 30), (30, 40, 50)]
    assert [values(sample) for sample in middle] == [(15, 25, 35), (35, 45, 55)]
    assert half[0].size == middle[0].size == (8, 12)
    assert (middle[0].frame == 25).all()


def test_middlebury(tmp_path):
    put(tmp_path / "other-data/Urban3", frame09=0, frame10=1, frame11=3)
    put(tmp_path / "other-data/Army", frame10=1, frame11=3)
    put(tmp_path / "other-gt-interp/Urban3", frame10i11=2)
    data = opened(f"middlebury-interp:{tmp_path}")
    assert [values(sample) for sample in data] == [(1, 2, 3)]
    assert "Army: no frame10i11" in data.problems[0]


def test_folders_of_ones_own(tmp_path):
    put(tmp_path / "a", frame0=1, frame1=2, frame2=3)
    write_image(tmp_path / "b" / "frame0.png", image(4)[..., 0])
    put(tmp_path / "b", frame1=5, frame2=6)
    data = opened(f"folder:{tmp_path}")
    assert data[0].name == "a"
    assert data[1].frame.shape == (8, 12, 3)
    assert opened(f"folder:{tmp_path}/a")[0].time == 0.5


def test_what_is_missing_is_told(tmp_path):
    put(tmp_path / "a", frame0=1, frame2=3)
    for spec, reason in [
        (f"ucf101:{tmp_path}", "no stereo pairs|nothing|no .* laid out"),
        (f"folder:{tmp_path}", "frame1: missing"),
        (f"vimeo90k:{tmp_path}/none", "no such folder"),
    ]:
        with pytest.raises(UserError, match=reason) as error:
            opened(spec)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="holds interpolation, not stereo"):
        leadline.open_data(f"ucf101:{tmp_path}", "stereo")


def test_a_truth_of_another_size_is_a_problem_of_the_sample(tmp_path):
    put(tmp_path / "a", frame0=1, frame2=3)
    write_image(tmp_path / "a" / "frame1.png", image(2, (4, 4)))
    results = leadline.evaluate("mean", f"folder:{tmp_path}")
    assert "frame is 4 x 4 and the views are 12 x 8" in str(results.problems[0])


def test_real_triplets():
    data = opened(f"folder:{shared_data('samples')}")
    assert len(data) == 8
    results = leadline.evaluate(["mean", "dis-warp"], data, limit=3)
    assert not results.problems
    mean, warped = (results.over_samples(name) for name in ("mean", "dis-warp"))
    assert warped["psnr"] > mean["psnr"] + 3
    assert warped["ssim"] > mean["ssim"]
    assert warped["sharpness"] > mean["sharpness"] - 0.05
