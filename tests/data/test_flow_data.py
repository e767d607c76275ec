"""Flow data sets in their own layouts, made up and real, and flow formats."""

import numpy as np
import pytest
from shared import shared_data

from leadline.data import open_data
from leadline.data.formats.arrays import write_array
from leadline.data.formats.flo import write_flo
from leadline.data.formats.flow_map import read_flow
from leadline.data.formats.images import write_image
from leadline.data.formats.kitti import write_kitti_flow
from leadline.data.formats.pfm import write_pfm
from leadline.errors import UserError

H, W = 12, 16


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (H, W, 3), dtype=np.uint8)


def motion(h=H, w=W) -> np.ndarray:
    return np.random.default_rng(9).normal(0, 5, (h, w, 2)).astype(np.float32)


def put_frames(*paths) -> None:
    for number, path in enumerate(paths):
        write_image(path, frame(number))


def sintel(root):
    for name in ("clean", "final"):
        put_frames(*(root / "training" / name / "cave" / f"frame_{k:04d}.png" for k in (1, 2, 3)))
    for k in (1, 2):
        write_flo(root / "training/flow/cave" / f"frame_{k:04d}.flo", motion())
        mask = np.zeros((H, W), np.uint8)
        mask[:2] = 255
        write_image(root / "training/invalid/cave" / f"frame_{k:04d}.png", mask)
        write_image(root / "training/occlusions/cave" / f"frame_{k:04d}.png", mask)
    return "sintel", 2


def chairs(root):
    put_frames(root / "data/00001_img1.ppm", root / "data/00001_img2.ppm")
    write_flo(root / "data/00001_flow.flo", motion())
    return "chairs", 1


def chairs2(root):
    put_frames(root / "0000007-img_0.png", root / "0000007-img_1.png")
    write_flo(root / "0000007-flow_01.flo", motion())
    return "chairs", 1


def things(root):
    where = "TRAIN/A/0000"
    for side in ("left", "right"):
        put_frames(*(root / "frames_cleanpass" / where / side / f"{k:04d}.png" for k in (6, 7, 8)))
        for k in (6, 7):
            name = f"OpticalFlowIntoFuture_{k:04d}_{side[0].upper()}.pfm"
            third = np.concatenate([motion(), np.zeros((H, W, 1), np.float32)], 2)
            write_pfm(root / "optical_flow" / where / "into_future" / side / name, third)
    return "things", 4


def middlebury(root):
    put_frames(root / "other-data/Venus/frame10.png", root / "other-data/Venus/frame11.png")
    write_flo(root / "other-gt-flow/Venus/flow10.flo", motion())
    return "middlebury-flow", 1


def spring(root):
    h5py = pytest.importorskip("h5py")
    put_frames(*(root / "train/0001/frame_left" / f"frame_left_{k:04d}.png" for k in (1, 2)))
    place = root / "train/0001/flow_FW_left/flow_FW_left_0001.flo5"
    place.parent.mkdir(parents=True)
    doubled = np.full((2 * H, 2 * W, 2), np.nan, np.float32)
    doubled[::2, ::2] = motion()
    with h5py.File(place, "w") as file:
        file["flow"] = doubled
    return "spring", 1


def kitti(root):
    put_frames(root / "training/image_2/000000_10.png", root / "training/image_2/000000_11.png")
    seen = np.ones((H, W), bool)
    write_kitti_flow(root / "training/flow_occ/000000_10.png", np.round(motion() * 64) / 64, seen)
    seen[:3] = False
    write_kitti_flow(root / "training/flow_noc/000000_10.png", np.round(motion() * 64) / 64, seen)
    return "kitti2015", 1


def folder(root):
    put_frames(root / "a/frame0.png", root / "a/frame1.png")
    write_array(root / "a/flow.npz", flow=motion())
    put_frames(root / "triplet/frame0.png", root / "triplet/frame1.png", root / "triplet/frame2.png")
    return "folder", 1


@pytest.mark.parametrize("layout", [sintel, chairs, chairs2, things, middlebury, spring, kitti, folder])
def test_layouts(layout, tmp_path):
    kind, count = layout(tmp_path)
    data = open_data(f"{kind}:{tmp_path}", "flow")
    assert len(data) == count
    assert data.task == "flow"
    for sample in data:
        assert np.abs(sample.flow - motion())[sample.valid].max() < 1 / 64
        assert sample.valid.mean() > 0.8
        assert sample.images[0].shape == (H, W, 3)
    if kind == "sintel":
        assert not data[0].valid[:2].any()
        assert data[0].valid[2:].all()
        assert data[0].occluded[:2].all()
    if kind == "kitti2015":
        assert data[0].occluded[:3].all()
        assert not data[0].occluded[3:].any()


def test_a_missing_frame_makes_no_pair_across_the_gap(tmp_path):
    sintel(tmp_path)
    for name in ("clean", "final"):
        (tmp_path / "training" / name / "cave/frame_0002.png").unlink()
    with pytest.raises(UserError, match="no frame pairs laid out as"):
        open_data(f"sintel:{tmp_path}")


def test_a_missing_truth_is_told(tmp_path):
    chairs(tmp_path)
    (tmp_path / "data/00001_flow.flo").unlink()
    with pytest.raises(UserError, match=r"no complete frame pair .1 broken.*00001_flow: missing"):
        open_data(f"chairs:{tmp_path}")


def test_a_truth_of_another_size_is_told(tmp_path):
    chairs(tmp_path)
    write_flo(tmp_path / "data/00001_flow.flo", motion(H + 1))
    with pytest.raises(UserError, match="16 x 13 and the frames are 16 x 12"):
        open_data(f"chairs:{tmp_path}")[0]


@pytest.mark.parametrize("suffix", [".flo", ".npz", ".npy", ".pfm"])
def test_every_format_gives_the_same_flow(suffix, tmp_path):
    path, flow = tmp_path / f"a{suffix}", motion()
    flow[2, 3] = np.nan
    if suffix == ".flo":
        write_flo(path, flow)
    elif suffix == ".pfm":
        write_pfm(path, np.concatenate([flow, np.zeros((H, W, 1), np.float32)], 2))
    else:
        write_array(path, flow=flow)
    read, valid = read_flow(path)
    assert not valid[2, 3]
    assert valid.sum() == H * W - 1
    np.testing.assert_array_equal(read[valid], flow[valid])
    assert (read[2, 3] == 0).all()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"1 2", "flow is read from"),
        ("a.flo", b"PIEH", "truncated"),
        ("a.flo5", b"no hdf", "damaged or no HDF5"),
        ("a.npy", None, "a flow is float"),
    ],
)
def test_what_holds_no_flow_is_told(name, content, told, tmp_path):
    path = tmp_path / name
    if content is None:
        write_array(path, flow=np.zeros((4, 5), np.float32))
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_flow(path)


@pytest.mark.parametrize(
    ("spec", "count", "mean"),
    [
        ("sintel:native/sintel", 2, None),
        ("middlebury-flow:native/middlebury_flow", 2, None),
        ("chairs:native/flyingchairs_examples", 1, None),
        ("kitti2015:native/kitti2015", 1, 51.01),
        ("folder:samples", 5, None),
    ],
)
def test_real_files(spec, count, mean):
    kind, _, place = spec.partition(":")
    data = open_data(f"{kind}:{shared_data(place)}", "flow")
    assert len(data) == count
    sample = data[0]
    assert sample.valid.any()
    assert np.isfinite(sample.flow[sample.valid]).all()
    if mean is not None:  # as the sample's meta.json says
        assert np.hypot(*sample.flow[sample.valid].T).mean() == pytest.approx(mean, abs=0.01)
