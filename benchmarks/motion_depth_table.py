"""Depth from motion on real pairs with known depth.

    python benchmarks/motion_depth_table.py --kitti2012 /data/kitti2012 [--model dis]

Two tests per scene. `known motion`: the two cameras of the stereo rig as one that has moved by its baseline, so depths
are in metres and compared as they are. `estimated motion`: the left camera at frames 10 and 11, the essential matrix
estimated from the flow; the depth has no scale, so it is multiplied by the median ratio to the truth. The truth is the
lidar's, as disparity. Writes benchmarks/results/motion_depth.csv.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np

import leadline
from leadline.data.formats.images import read_image
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.geometry.depth import disparity_to_depth
from leadline.geometry.motion import Motion, PinholeCamera
from leadline.machine import describe_machine
from leadline.predict import predict_motion_depth

CSV = Path(__file__).parent / "results" / "motion_depth.csv"
FARTHEST = 80.0  # m, as the field caps KITTI's depth
COLUMNS = ("abs_rel", "delta1_percent", "density_percent", "agreeing_percent", "told_over_found", "pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti2012", required=True, metavar="PATH")
    parser.add_argument("--model", default="dis")
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    predictor = leadline.load(options.model)
    data = leadline.open_data(f"kitti2012:{options.kitti2012}", "stereo")
    rows = []
    for index in range(len(data)):
        sample, files = data[index], data.item(index).files
        stereo = sample.camera
        camera = PinholeCamera(stereo.focal, stereo.focal, stereo.cx, stereo.cy)
        truth, known = disparity_to_depth(sample.disparity, stereo, sample.valid)
        later = files["left"].with_name(files["left"].name.replace("_10", "_11"))
        baseline = Motion(np.eye(3), np.array([-stereo.baseline, 0.0, 0.0]))
        for kind, second, motion in (("known", sample.images[1], baseline), ("estimated", read_image(later), None)):
            try:
                found = predict_motion_depth(predictor, sample.images[0], second, camera, motion)
            except UserError as error:
                print(f"{sample.name} {kind}: {error}")
                continue
            rows.append([options.model, sample.name, kind, *measure(found, truth, known)])
            print(rows[-1])
    for kind in ("known", "estimated"):
        values = np.array([row[3:] for row in rows if row[2] == kind], float)
        medians = [float(np.median(column)) if np.isfinite(column).all() else float("nan") for column in values.T]
        rows.append([options.model, "median", kind, *medians])
        print(rows[-1])
    if not options.dry:
        text = io.StringIO()
        text.write(f"# {describe_machine()}\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["model", "scene", "motion", *COLUMNS])
        writer.writerows([[_text(v) for v in row] for row in rows])
        write_whole(CSV, text.getvalue().encode())


def _text(value: object) -> object:
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.4f}"


def measure(found, truth, known) -> list[float]:
    """AbsRel; share within a factor of 1.25; share of the truth that has an answer; inliers of the motion; the told
    standard deviation over the error that was found (medians); pixels of truth."""
    asked = known & (truth <= FARTHEST)
    both = asked & found.depth.valid
    depth, deviation = found.depth.depth[both].astype(float), found.depth.deviation[both].astype(float)
    scale = 1.0 if found.motion.is_metric else float(np.median(truth[both] / depth))
    depth, deviation, true = scale * depth, scale * deviation, truth[both]
    error = np.abs(depth - true)
    return [
        float((error / true).mean()),
        float(100 * (np.maximum(depth / true, true / depth) < 1.25).mean()),
        float(100 * both.sum() / asked.sum()),
        float("nan") if found.agreeing is None else 100 * found.agreeing,
        float(np.median(deviation) * 0.6745 / np.median(error)),  # the median of |normal| is 0.6745 deviations
        float(asked.sum()),
    ]


if __name__ == "__main__":
    main()
