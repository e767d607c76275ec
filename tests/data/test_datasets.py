"""Every format's layout, built small; and what each says when something is missing or does not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from trees import HEIGHT, WIDTH, disparity, image, put_8bit, put_16bit, put_image, put_pfm

from leadline.data import open_data
from leadline.data.datasets.middlebury import disparity_scale
from leadline.data.datasets.occlusion import occluded_by_cross_check
from leadline.data.formats.images import write_image
from leadline.errors import UserError


def names(spec: str) -> list[str]:
    return [sample.name for sample in open_data(spec)]


# KITTI


@pytest.fixture
def kitti2015(tmp_path: Path) -> Path:
    split = tmp_path / "kitti" / "training"
    for index in range(2):
        name = f"{index:06}_10.png"
        put_image(split / "image_2" / name, index)
        put_image(split / "image_3" / name, index + 10)
        put_image(split / "image_2" / f"{index:06}_11.png", index)
        noc = disparity(index)
        noc[0] = 0
        put_16bit(split / "disp_occ_0" / name, disparity(index), 256)
        put_16bit(split / "disp_noc_0" / name, noc, 256)
        put_8bit(split / "obj_map" / name, np.eye(HEIGHT, WIDTH) * 3)
    return tmp_path / "kitti"


def test_kitti2015(kitti2015: Path):
    for path in (kitti2015, kitti2015 / "training"):
        dataset = open_data(f"kitti2015:{path}")
        assert len(dataset) == 2
        assert dataset.problems == []
    sample = dataset[1]
    assert sample.name == "000001_10"
    np.testing.assert_array_equal(sample.images[0], image(1))
    np.testing.assert_array_equal(sample.images[1], image(11))
    np.testing.assert_array_equal(sample.disparity, disparity(1))
    assert sample.occluded is not None
    assert sample.foreground is not None
    assert sample.occluded[0].all()
    assert not sample.occluded[1:].any()
    np.testing.assert_array_equal(sample.foreground, np.eye(HEIGHT, WIDTH) > 0)
    assert sample.camera is None
    with pytest.raises(IndexError):
        dataset[2]
    assert dataset[-1].name == "000001_10"


def test_kitti2015_missing_partners(kitti2015: Path):
    (kitti2015 / "training/image_3/000000_10.png").unlink()
    dataset = open_data(f"kitti2015:{kitti2015}")
    assert [sample.name for sample in dataset] == ["000001_10"]
    assert len(dataset.problems) == 1
    assert "image_3/000000_10.png: missing" in dataset.problems[0]
    (kitti2015 / "training/disp_occ_0/000001_10.png").unlink()
    assert open_data(f"kitti2015:{kitti2015}")[0].meta["truth"] == "non-occluded pixels"
    (kitti2015 / "training/disp_noc_0/000001_10.png").unlink()
    with pytest.raises(UserError, match=r"no complete stereo pair \(2 broken\)"):
        open_data(f"kitti2015:{kitti2015}")


def test_kitti2012_takes_color_where_it_is(tmp_path: Path):
    for folder, seed in (("image_0", 0), ("image_1", 1), ("colored_0", 2), ("colored_1", 3)):
        put_image(tmp_path / folder / "000000_10.png", seed)
        sample = open_data(f"kitti2012:{tmp_path}")[0] if folder in ("image_1", "colored_1") else None
        if sample is not None:
            np.testing.assert_array_equal(sample.images[0], image(seed - 1))
            assert sample.disparity is None


# Scene Flow


def put_sceneflow(tree: Path, place: str, stem: str, prefix: str = "", kind: str = "final") -> None:
    views, truth = tree / f"{prefix}frames_{kind}pass" / place, tree / f"{prefix}disparity" / place
    put_image(views / "left" / f"{stem}.png", 1)
    put_image(views / "right" / f"{stem}.png", 2)
    put_pfm(truth / "left" / f"{stem}.pfm", np.full((HEIGHT, WIDTH), 2))
    put_pfm(truth / "right" / f"{stem}.pfm", np.full((HEIGHT, WIDTH), 2))


def test_sceneflow_layouts(tmp_path: Path):
    merged, apart = tmp_path / "merged", tmp_path / "apart"
    put_sceneflow(merged, "TRAIN/A/0000", "0006")
    put_sceneflow(merged, "TRAIN/15mm_focallength/scene_forwards/fast", "0001")
    put_sceneflow(merged, "TRAIN/funnyworld_x2", "0000")
    put_sceneflow(apart / "FlyingThings3D", "TEST/B/0001", "0010")
    put_sceneflow(apart / "Driving", "35mm_focallength/scene_backwards/slow", "0001")
    put_sceneflow(apart, "eating_x2", "0003", prefix="monkaa_")
    assert len(open_data(f"sceneflow:{merged}")) == 3
    assert names(f"sceneflow:{apart}") == [
        "Driving_frames_finalpass_35mm_focallength_scene_backwards_slow_0001",
        "FlyingThings3D_frames_finalpass_TEST_B_0001_0010",
        "monkaa_frames_finalpass_eating_x2_0003",
    ]
    assert names(f"sceneflow:{merged}/frames_finalpass/TRAIN/A/0000") == ["0006"]
    focal = {sample.name[23:27]: sample.meta["focal_px"] for sample in open_data(f"sceneflow:{merged}")}
    assert focal == {"15mm": 450.0, "A_00": 1050.0, "funn": 1050.0}
    sample = open_data(f"sceneflow:{apart}")[0]
    assert sample.occluded is not None
    np.testing.assert_array_equal(sample.occluded, np.tile(np.arange(WIDTH) < 2, (HEIGHT, 1)))


def test_sceneflow_passes(tmp_path: Path):
    put_sceneflow(tmp_path, "TRAIN/A/0000", "0006", kind="clean")
    assert names(f"sceneflow:{tmp_path}") == ["frames_cleanpass_TRAIN_A_0000_0006"]
    put_sceneflow(tmp_path, "TRAIN/A/0000", "0006", kind="final")
    assert names(f"sceneflow:{tmp_path}") == ["frames_finalpass_TRAIN_A_0000_0006"]
    assert names(f"sceneflow:{tmp_path}/frames_cleanpass") == ["TRAIN_A_0000_0006"]


def test_sceneflow_missing(tmp_path: Path):
    put_sceneflow(tmp_path, "TRAIN/A/0000", "0006")
    put_sceneflow(tmp_path, "TRAIN/A/0000", "0007")
    (tmp_path / "disparity/TRAIN/A/0000/left/0007.pfm").unlink()
    (tmp_path / "disparity/TRAIN/A/0000/right/0006.pfm").unlink()
    dataset = open_data(f"sceneflow:{tmp_path}")
    assert len(dataset) == 1
    assert dataset[0].occluded is None
    assert [problem.partition(":")[0][-13:] for problem in dataset.problems] == ["left/0007.pfm"]


# Middlebury


@pytest.mark.parametrize(
    ("left", "size", "scale"),
    [
        ("im2", (383, 434), 8),
        ("im2", (375, 450), 4),
        ("im2", (750, 900), 2),
        ("im2", (1500, 1800), 1),
        ("view1", (370, 463), 3),
        ("view1", (555, 695), 2),
        ("view1", (1110, 1390), 1),
        ("scene1.row3.col3", (288, 384), 16),
    ],
)
def test_middlebury_scales(left: str, size: tuple[int, int], scale: int):
    assert disparity_scale(Path(f"{left}.png"), size) == scale


@pytest.mark.parametrize(("left", "size"), [("im2", (600, 800)), ("view1", (400, 500))])
def test_middlebury_unknown_size(left: str, size: tuple[int, int]):
    with pytest.raises(UserError, match="scale is not known"):
        disparity_scale(Path(f"{left}.png"), size)


def test_middlebury_years_together(tmp_path: Path):
    for stem in ("im0", "im1", "im2", "im6"):
        put_image(tmp_path / "2001/bull" / f"{stem}.ppm", 1)
    put_8bit(tmp_path / "2001/bull/disp2.pgm", np.full((HEIGHT, WIDTH), 12))
    size = (370, 20)
    for stem in ("view1", "view5"):
        put_image(tmp_path / "2006/Aloe/Illum1/Exp0" / f"{stem}.png", 1, size)
    stored = np.full(size, 30)
    stored[0] = 0
    put_8bit(tmp_path / "2006/Aloe/disp1.png", stored)
    (tmp_path / "2006/Aloe/dmin.txt").write_text("270\n")
    put_scene(tmp_path / "2014/Pipes-perfect", truth="disp0.pfm")
    old, middle, new = open_data(f"middlebury:{tmp_path}")
    assert [old.name, middle.name, new.name] == ["2001_bull", "2006_Aloe_Illum1_Exp0", "2014_Pipes-perfect"]
    assert old.disparity is not None
    assert middle.disparity is not None
    assert middle.valid is not None
    assert middle.camera is not None
    assert (old.disparity == 1.5).all()
    assert (middle.disparity[1:] == 10).all()
    assert not middle.valid[0].any()
    assert middle.camera.doffs == 90
    np.testing.assert_array_equal(new.disparity, disparity(5))


def put_scene(folder: Path, truth: str = "disp0GT.pfm", truth_folder: Path | None = None) -> None:
    put_image(folder / "im0.png", 3)
    put_image(folder / "im1.png", 4)
    values = disparity(5)
    put_pfm((truth_folder or folder) / truth, values)
    (folder / "calib.txt").write_text(
        "cam0=[100 0 5; 0 100 3; 0 0 1]\ncam1=[100 0 5; 0 100 3; 0 0 1]\ndoffs=0\nbaseline=60\n"
    )


# ETH3D


def test_eth3d(tmp_path: Path):
    put_scene(tmp_path / "two_view_training/forest_1s", truth_folder=tmp_path / "two_view_training_gt/forest_1s")
    mask = np.full((HEIGHT, WIDTH), 255)
    mask[2] = 0
    put_8bit(tmp_path / "two_view_training_gt/forest_1s/mask0nocc.png", mask)
    put_image(tmp_path / "two_view_training/broken/im0.png", 1)
    dataset = open_data(f"eth3d:{tmp_path}")
    assert len(dataset) == 1
    assert "broken/im1.png: missing" in dataset.problems[0]
    sample = dataset[0]
    np.testing.assert_array_equal(sample.disparity, disparity(5))
    assert sample.occluded is not None
    assert sample.occluded[2].all()
    assert sample.occluded.sum() == WIDTH
    assert sample.camera is not None
    assert sample.camera.baseline == 0.06
    assert names(f"eth3d:{tmp_path}/two_view_training/forest_1s") == ["forest_1s"]


# DrivingStereo


def test_drivingstereo_training(tmp_path: Path):
    sequence = "2018-07-09-16-11-56"
    for index in range(2):
        stem = f"{sequence}/2018-07-09-16-12-0{index}-100"
        put_image(tmp_path / f"train-left-image/{stem}.jpg", index)
        put_image(tmp_path / f"train-right-image/{stem}.jpg", index)
        put_16bit(tmp_path / f"train-disparity-map/{stem}.png", disparity(index), 256)
    calib = tmp_path / "calib_train/half-image-calib" / f"{sequence}.txt"
    calib.parent.mkdir(parents=True)
    rectified = "1003.5 0 450.25 0 0 1003.5 200.5 0 0 0 1 0"
    calib.write_text(
        f"T_101: 0 0 0\nP_rect_101: {rectified}\nT_103: -0.54 0.0 0.0\n"
        f"P_rect_103: {rectified.replace('450.25 0', '450.25 -540')}\n"
    )
    dataset = open_data(f"drivingstereo:{tmp_path}")
    assert len(dataset) == 2
    np.testing.assert_array_equal(dataset[1].disparity, disparity(1))
    camera = dataset[0].camera
    assert camera is not None
    assert (camera.focal, camera.baseline, camera.cx, camera.cy) == (1003.5, 0.54, 450.25, 200.5)
    (tmp_path / f"train-left-image/{stem}.jpg").unlink()
    dataset = open_data(f"drivingstereo:{tmp_path}")
    assert len(dataset) == 1
    assert "train-left-image" in dataset.problems[0]


def test_drivingstereo_sizes(tmp_path: Path):
    wide = (4, 1762)
    for size, shape, scale in (("half", (HEIGHT, WIDTH), 256), ("full", wide, 128)):
        put_image(tmp_path / f"sunny/left-image-{size}-size/a.png", 1, shape)
        put_image(tmp_path / f"sunny/right-image-{size}-size/a.png", 1, shape)
        put_16bit(tmp_path / f"sunny/disparity-map-{size}-size/a.png", disparity(1, shape), scale)
    half = open_data(f"drivingstereo:{tmp_path}")
    assert len(half) == 1
    np.testing.assert_array_equal(half[0].disparity, disparity(1))
    full = open_data(f"drivingstereo:{tmp_path}/sunny/left-image-full-size")
    np.testing.assert_array_equal(full[0].disparity, disparity(1, wide))


# folder


def test_folder_of_scenes(tmp_path: Path):
    put_image(tmp_path / "b/left.png", 1)
    put_image(tmp_path / "b/right.png", 2)
    truth = disparity(3)
    truth[0, 0], truth[1, 1] = np.nan, np.inf
    np.savez(tmp_path / "b/disparity.npz", disparity=truth)
    (tmp_path / "b/meta.json").write_text(json.dumps({"domain": "x", "calib": {"f": 9.0, "baseline_mm": 50}}))
    put_scene(tmp_path / "a", truth="disp0.pfm")
    put_image(tmp_path / "flow_c/frame0.png", 1)
    put_image(tmp_path / "lonely/right.png", 1)
    dataset = open_data(f"folder:{tmp_path}")
    assert [sample.name for sample in dataset] == ["a", "b"]
    assert "lonely/left.png: missing" in dataset.problems[0]
    assert len(dataset.problems) == 1
    sample = dataset[1]
    assert sample.valid is not None
    assert sample.disparity is not None
    assert sample.camera is not None
    assert sample.valid.sum() == HEIGHT * WIDTH - 2
    assert sample.disparity[0, 0] == 0
    assert (sample.camera.focal, sample.camera.baseline) == (9.0, 0.05)
    assert sample.meta["domain"] == "x"
    assert names(f"folder:{tmp_path}/b") == ["b"]


@pytest.mark.parametrize("suffix", ["pfm", "png", "npy", "npz"])
def test_folder_of_sides(tmp_path: Path, suffix: str):
    from leadline.data.formats.disparity import write_disparity

    for stem in ("im0", "x"):
        put_image(tmp_path / f"left/{stem}.jpg", 1)
        put_image(tmp_path / f"right/{stem}.png", 2)
        write_disparity(tmp_path / f"disparity/{stem}.{suffix}", disparity(4))
    (tmp_path / "calib.txt").write_text("P0: 100 0 5 0 0 100 3 0 0 0 1 0\nP1: 100 0 5 -20 0 100 3 0 0 0 1 0\n")
    put_image(tmp_path / "left/alone.png", 1)
    dataset = open_data(f"folder:{tmp_path}")
    assert [sample.name for sample in dataset] == ["im0", "x"]
    np.testing.assert_array_equal(dataset[0].disparity, disparity(4))
    camera = dataset[0].camera
    assert camera is not None
    assert camera.baseline == 0.2
    assert "right/alone: missing" in dataset.problems[0]


def test_folder_pair_without_truth(tmp_path: Path):
    put_image(tmp_path / "left.jpg", 1)
    put_image(tmp_path / "right.bmp", 1)
    sample = open_data(f"folder:{tmp_path}")[0]
    assert sample.disparity is None
    assert sample.valid is None


# what does not fit


def put_pair(folder: Path, left: tuple[int, int], right: tuple[int, int], truth: np.ndarray) -> str:
    put_image(folder / "scene/left.png", 1, left)
    put_image(folder / "scene/right.png", 2, right)
    np.savez(folder / "scene/disparity.npz", disparity=truth)
    return f"folder:{folder}"


def test_views_of_two_sizes(tmp_path: Path):
    dataset = open_data(put_pair(tmp_path, (6, 10), (6, 11), np.ones((6, 10))))
    with pytest.raises(UserError, match=r"scene: the views differ in size \(10 x 6 and 11 x 6\)"):
        dataset[0]


def test_truth_of_another_size(tmp_path: Path):
    with pytest.raises(UserError, match="scene: disparity is 5 x 3 and the views are 10 x 6"):
        open_data(put_pair(tmp_path, (6, 10), (6, 10), np.ones((3, 5))))[0]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -3.0])
def test_truth_without_a_valid_pixel(tmp_path: Path, value: float):
    with pytest.raises(UserError, match="scene: no pixel of the truth is valid"):
        open_data(put_pair(tmp_path, (6, 10), (6, 10), np.full((6, 10), value)))[0]


def test_one_pixel(tmp_path: Path):
    assert open_data(put_pair(tmp_path, (1, 1), (1, 1), np.ones((1, 1))))[0].size == (1, 1)


def test_a_truncated_view_names_its_file(tmp_path: Path):
    spec = put_pair(tmp_path, (6, 10), (6, 10), np.ones((6, 10)))
    view = tmp_path / "scene/right.png"
    view.write_bytes(view.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"right\.png: truncated"):
        open_data(spec)[0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("kitti2016:/", "unknown data format 'kitti2016': did you mean 'kitti2015'"),
        ("/data/x", "write for example folder:/data/x"),
        ("folder:", "write for example folder:PATH"),
        ("kitti2015:/not/there", "/not/there: no such folder"),
    ],
)
def test_specs_that_say_nothing(spec: str, said: str):
    with pytest.raises(UserError, match=said):
        open_data(spec)


@pytest.mark.parametrize(
    "kind", ["kitti2012", "kitti2015", "sceneflow", "middlebury", "eth3d", "drivingstereo", "folder"]
)
def test_empty_and_unfit_folders(tmp_path: Path, kind: str):
    with pytest.raises(UserError, match="is empty"):
        open_data(f"{kind}:{tmp_path}")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="no stereo pairs laid out as"):
        open_data(f"{kind}:{tmp_path}")
    with pytest.raises(UserError, match="is not a folder"):
        open_data(f"{kind}:{tmp_path}/notes.txt")


def test_datasets_travel_to_loader_processes(kitti2015: Path):
    dataset = pickle.loads(pickle.dumps(open_data(f"kitti2015:{kitti2015}")))
    assert dataset[0].name == "000000_10"


def test_names_are_unique(tmp_path: Path):
    for place in ("a_b/c", "a/b_c"):
        put_scene(tmp_path / place)
    assert names(f"eth3d:{tmp_path}") == ["a_b_c", "a_b_c~2"]


# occlusion


def test_occlusion_of_a_box_before_a_wall():
    """Wall at 2 px, box at 6 px in columns 12 to 15: the 4 px left of the box, and 2 at the border, are unseen."""
    left = np.full((1, 24), 2, np.float32)
    left[0, 12:16] = 6
    right = np.full((1, 24), 2, np.float32)
    right[0, 6:10] = 6
    everywhere = np.ones((1, 24), bool)
    occluded = occluded_by_cross_check(left, everywhere, right, everywhere)
    np.testing.assert_array_equal(np.flatnonzero(occluded), [0, 1, 8, 9, 10, 11])
    nowhere = np.zeros((1, 24), bool)
    np.testing.assert_array_equal(np.flatnonzero(occluded_by_cross_check(left, everywhere, right, nowhere)), [0, 1])
    assert not occluded_by_cross_check(left, nowhere, right, everywhere).any()


def test_write_image_is_what_the_trees_are_made_with(tmp_path: Path):
    """So that a reader's mistake and a writer's cannot hide each other."""
    from matplotlib.image import imread

    write_image(tmp_path / "a.png", image(3))
    np.testing.assert_array_equal((imread(tmp_path / "a.png") * 255).round().astype(np.uint8), image(3))
