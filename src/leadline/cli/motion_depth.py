"""`leadline motion-depth FRAME0 FRAME1`: depth from the motion of one calibrated camera."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.report import report_failed
from leadline.errors import UserError
from leadline.version import __version__

if TYPE_CHECKING:  # heavy imports stand in the functions, so that --help stays quick
    import numpy as np

    from leadline.cli.frames import FramePair
    from leadline.geometry.motion import Motion, PinholeCamera
    from leadline.predict import MotionPrediction, Predictor

NEAREST_POSE = 0.02  # s between a frame and the pose that is taken for it


@dataclass(frozen=True)
class Known:
    """What is known of the camera's motion: at most one of the three first."""

    poses: tuple[np.ndarray, np.ndarray | None, str] | None  # camera to world; times, s; the file
    motion: Motion | None
    gyro: tuple[np.ndarray, np.ndarray] | None  # times, s; rad/s
    distance: float | None  # m
    times: dict[str, float] | None  # s, of frames by their stems


@click.command("motion-depth")
@click.argument("frames", nargs=-1, required=True, metavar="FRAME0 FRAME1 [...]")
@click.option("-o", "--output", required=True, metavar="DIR", help="Where the results go; made where missing.")
@click.option("-m", "--model", default="dis", show_default=True, help="A flow model: `leadline models`, or a file.")
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--calib", metavar="FILE", help="Calibration: JSON with fx, fy, cx, cy; Middlebury's or KITTI's file.")
@click.option("--fx", type=float, metavar="PX", help="Focal length, instead of --calib.")
@click.option("--fy", type=float, metavar="PX", help="Vertical focal length [fx].")
@click.option("--cx", type=float, metavar="PX", help="Principal point [image centre].")
@click.option("--cy", type=float, metavar="PX", help="Principal point [image centre].")
@click.option("--poses", metavar="FILE", help="Poses: TUM (time tx ty tz qx qy qz qw) or KITTI (12 numbers a frame).")
@click.option("--motion", metavar="RX,RY,RZ,TX,TY,TZ", help="Of every pair: X1 = R X0 + t; rotation vector °, t m.")
@click.option("--gyro", metavar="FILE", help="Angular rates (time wx wy wz): the rotation; translation is estimated.")
@click.option("--times", "times_file", metavar="FILE", help="Times of the frames, s, a line each [from their names].")
@click.option("--distance", type=float, metavar="M", help="How far the camera moved in a pair: scale for estimates.")
@click.option("--step", type=int, default=1, show_default=True, help="Of a sequence: frames from one to the other.")
@click.option("--min-parallax", type=float, default=1.0, show_default=True, metavar="PX", help="Less gives no depth.")
@click.option("--max-residual", type=float, default=2.0, show_default=True, metavar="PX", help="More moves by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_context
def command(
    context: click.Context,
    frames: tuple[str, ...],
    output: str,
    model: str,
    device: str | None,
    calib: str | None,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
    poses: str | None,
    motion: str | None,
    gyro: str | None,
    times_file: str | None,
    distance: float | None,
    step: int,
    min_parallax: float,
    max_residual: float,
    as_json: bool,
) -> None:
    """Depth of FRAME0 from optical flow and the motion of the camera until FRAME1.

    Frames as for `leadline flow`: two images, one folder, one video, or three images and more. The motion comes from
    --poses or --motion; else it is estimated from the flow, with the rotation from --gyro where that is given. An
    estimated translation has no length, so depths are then in units of it, unless --distance tells it.

    \b
    depth.npz            depth, deviation (same unit), valid, parallax and residual (px)
    depth.png            mm, uint16; 0 where unknown (where the unit is metres)
    depth_color.png      near red, far blue
    moving.png           255 where the flow does not fit the camera's motion
    low_parallax.png     255 where too little moves to tell a depth
    meta.json            motion, units, shares of the pixels

    Frames must be free of lens distortion.
    """
    from leadline.cli.frames import find_frames
    from leadline.files import writable_folder
    from leadline.models.network import Task
    from leadline.zoo import load

    for name, value in (
        ("--min-parallax", min_parallax), ("--max-residual", max_residual), ("--distance", distance), ("--fx", fx),
        ("--fy", fy),
    ):  # fmt: skip
        if value is not None and not value > 0:
            raise UserError(f"{name} {value:g}: give more than 0")
    known = _known(poses, motion, gyro, times_file, distance)
    calibration = _calibration(calib, fx, fy, cx, cy)
    found, count = find_frames(frames, step)
    pairs = list(found) if count is not None else found
    if known.poses is not None and known.poses[1] is None and count is not None:
        _check_count(len(known.poses[0]), count + step if len(frames) != 2 else 2, known.poses[2])
    folder = writable_folder(output)
    predictor = load(model, device)
    if predictor.task is not Task.FLOW:
        raise UserError(f"{model} is for {predictor.task.value}: motion-depth takes a model for optical flow")

    done, failed = [], []
    for number, pair in enumerate(pairs):
        place = folder if count == 1 else folder / pair.name
        try:
            done.append(_one(predictor, pair, number, step, place, calibration, known, min_parallax, max_residual))
        except UserError as error:
            if count == 1:
                raise
            failed.append({"frame0": pair.first, "frame1": pair.second, "error": " ".join(str(error).split())})
    _report(done, failed, folder, as_json)
    if failed:
        context.exit(1)


def _known(poses: str | None, motion: str | None, gyro: str | None, times: str | None, distance: float | None) -> Known:
    import numpy as np

    from leadline.data.formats.poses import read_gyro, read_poses
    from leadline.geometry.motion import Motion, rotation_matrix

    given = [name for name, value in (("--poses", poses), ("--motion", motion), ("--gyro", gyro)) if value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other: each of them says how the camera moved")
    if distance is not None and (poses or motion):
        raise UserError("--distance is for an estimated motion: --poses and --motion tell the distance themselves")
    moved = None
    if motion is not None:
        try:
            numbers = np.array([float(part) for part in motion.split(",")])
        except ValueError:
            numbers = np.zeros(0)
        if numbers.shape != (6,) or not np.isfinite(numbers).all():
            raise UserError(f"--motion {motion}: give six numbers with commas: rotation vector (°), translation (m)")
        moved = Motion(rotation_matrix(np.radians(numbers[:3])), numbers[3:])
    return Known(
        poses=(*read_poses(poses), poses) if poses is not None else None,
        motion=moved,
        gyro=read_gyro(gyro) if gyro is not None else None,
        distance=distance,
        times=_read_times(times) if times is not None else None,
    )


def _read_times(path: str) -> dict[str, float]:
    from leadline.data.formats.content import read_content

    times: dict[str, float] = {}
    for number, line in enumerate(read_content(path).decode(errors="replace").splitlines()):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        try:
            # TUM's rgb.txt has "time file"; a plain list has the time of frame 0, 1, ...
            times[Path(parts[1]).stem if len(parts) > 1 else str(len(times))] = float(parts[0])
        except ValueError:
            raise UserError(f"{path}: line {number + 1} is no time: {line[:40]!r}") from None
    return times


def _calibration(
    calib: str | None, fx: float | None, fy: float | None, cx: float | None, cy: float | None
) -> tuple[float, float, float | None, float | None]:
    """fx, fy, cx, cy; None: the centre of the image."""
    given = {name: value for name, value in (("fx", fx), ("fy", fy), ("cx", cx), ("cy", cy)) if value is not None}
    if calib is not None:
        if given:
            raise UserError(f"--calib and --{', --'.join(given)} exclude each other: give one or the other")
        return _read_calibration(Path(calib))
    if fx is None:
        raise UserError("the camera's focal length is needed: give --calib FILE or --fx PX")
    return fx, fx if fy is None else fy, cx, cy


def _read_calibration(path: Path) -> tuple[float, float, float | None, float | None]:
    from leadline.data.formats.calib import read_calib
    from leadline.data.formats.content import read_content

    content = read_content(path)
    if content.lstrip().startswith(b"{"):
        try:
            values = json.loads(content)
            values = values.get("calib", values.get("camera", values))
            if "fx" in values:
                found = [float(values[key]) if key in values else None for key in ("fx", "fy", "cx", "cy")]
                return found[0], found[1] or found[0], found[2], found[3]  # type: ignore[return-value]
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is not valid JSON with fx, fy, cx, cy ({error}): mend it") from error
    camera = read_calib(path)
    return camera.focal, camera.focal, camera.cx, camera.cy


def _check_count(poses: int, frames: int, path: str) -> None:
    if poses != frames:
        raise UserError(
            f"{path}: has {poses} pose(s) and there are {frames} frames: a file without times needs one line per frame"
        )


def _time_of(pair: FramePair, number: int, known: Known, second: bool, step: int) -> float:
    if pair.times is not None:
        return pair.times[1 if second else 0]
    stem = Path(pair.second if second else pair.first).stem
    if known.times is not None:
        for key in (stem, str(number + (step if second else 0))):
            if key in known.times:
                return known.times[key]
        raise UserError(f"{stem}: --times has no time for this frame")
    try:
        return float(stem)
    except ValueError:
        raise UserError(f"{stem}: the name of the frame is no time in seconds: give --times FILE") from None


def _pose_at(known: Known, pair: FramePair, number: int, second: bool, step: int) -> np.ndarray:
    import numpy as np

    assert known.poses is not None
    poses, times, path = known.poses
    if times is None:
        index = number + (step if second else 0)
        if index >= len(poses):
            raise UserError(f"{path}: has {len(poses)} pose(s), none for frame {index}: one line per frame is needed")
        return poses[index]
    wanted = _time_of(pair, number, known, second, step)
    nearest = int(np.abs(times - wanted).argmin())
    if abs(times[nearest] - wanted) > NEAREST_POSE:
        raise UserError(
            f"{path}: the pose nearest to the frame at {wanted:.6f} s is {abs(times[nearest] - wanted):.3f} s away "
            f"(at most {NEAREST_POSE} s): is it another sequence's file?"
        )
    return poses[nearest]


def _one(
    predictor: Predictor,
    pair: FramePair,
    number: int,
    step: int,
    folder: Path,
    calibration: tuple[float, float, float | None, float | None],
    known: Known,
    min_parallax: float,
    max_residual: float,
) -> dict[str, Any]:
    """Reads a pair, triangulates, writes the results and returns what meta.json says."""
    from leadline.geometry.motion import Motion, PinholeCamera, rotation_from_gyro
    from leadline.predict import predict_motion_depth

    frame0, frame1 = pair.read()
    height, width = frame0.shape[:2]
    fx, fy, cx, cy = calibration
    camera = PinholeCamera(fx, fy, (width - 1) / 2 if cx is None else cx, (height - 1) / 2 if cy is None else cy)
    motion, rotation = known.motion, None
    if known.poses is not None:
        first, second = (_pose_at(known, pair, number, end, step) for end in (False, True))
        motion = Motion.between(first, second)
    if known.gyro is not None:
        ends = [_time_of(pair, number, known, end, step) for end in (False, True)]
        rotation = rotation_from_gyro(*known.gyro, *ends)
    start = time.perf_counter()
    found = predict_motion_depth(
        predictor, frame0, frame1, camera, motion,
        rotation=rotation, distance=known.distance, min_parallax=min_parallax, max_residual=max_residual,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    files = _write(folder, found)
    about = _about(found, camera, files) | {
        "model": predictor.name,
        "frame0": pair.first,
        "frame1": pair.second,
        "output": str(folder),
        "width": width,
        "height": height,
        "seconds": round(seconds, 4),
    }
    from leadline.files import write_whole

    write_whole(folder / "meta.json", (json.dumps(about, indent=2) + "\n").encode())
    for warning in about["warnings"]:
        click.echo(f"leadline: warning: {pair.first}: {warning}", err=True)
    return about


def _write(folder: Path, found: MotionPrediction) -> dict[str, str]:
    import numpy as np

    from leadline.colors import color_disparity
    from leadline.data.formats.arrays import write_array
    from leadline.data.formats.depth_png import write_depth_png
    from leadline.data.formats.images import write_image

    depth = found.depth
    unit = "m" if found.motion.is_metric else "lengths of the camera's translation"
    write_array(
        folder / "depth.npz", depth=depth.depth, deviation=depth.deviation, valid=depth.valid,
        parallax=depth.parallax, residual=depth.residual,
    )  # fmt: skip
    files = {"depth.npz": f"depth and its standard deviation ({unit}), valid; parallax, residual (px)"}
    if found.motion.is_metric:
        write_depth_png(folder / "depth.png", depth.depth, depth.valid)
        files["depth.png"] = "depth, mm, uint16; 0 where unknown or beyond 65.535 m"
    inverse = np.where(depth.valid, 1 / np.where(depth.valid, depth.depth, 1), 0).astype(np.float32)
    write_image(folder / "depth_color.png", color_disparity(inverse, depth.valid))
    files["depth_color.png"] = "inverse depth in colours (Turbo: blue far, red near); black where unknown"
    for name, mask, told in (
        ("moving.png", depth.moving, "255 where the flow does not fit the camera's motion"),
        ("low_parallax.png", depth.low_parallax, "255 where too little moves to tell a depth"),
    ):
        write_image(folder / name, mask.astype(np.uint8) * 255)
        files[name] = told
    return files


def _about(found: MotionPrediction, camera: PinholeCamera, files: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    depth, motion = found.depth, found.motion
    warnings = []
    if not motion.is_metric:
        warnings.append("the scale is not known: depths are in lengths of the camera's translation (see --distance)")
    if found.agreeing is not None and found.agreeing < 0.5:
        warnings.append(
            f"only {100 * found.agreeing:.0f} % of the pixels agree with the estimated motion: it may be wrong"
        )
    if not depth.valid.any():
        warnings.append("no pixel has a depth")
    relative = (depth.deviation / np.where(depth.valid, depth.depth, 1))[depth.valid]
    return {
        "leadline": __version__,
        "unit": "m" if motion.is_metric else "translation",
        "camera": {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "unit": "px"},
        "motion": {
            "rotation": motion.rotation.tolist(),
            "translation": motion.translation.tolist(),
            "angle_degrees": motion.angle,
            "convention": "X1 = R X0 + t, x right, y down, z forward",
            "estimated": found.agreeing is not None,
            "agreeing": found.agreeing,
        },
        "valid": float(depth.valid.mean()),
        "inconsistent_flow": float(found.flow.occluded.mean()),
        "moving": float(depth.moving.mean()),
        "low_parallax": float(depth.low_parallax.mean()),
        "behind": float(depth.behind.mean()),
        "median_depth": float(np.median(depth.depth[depth.valid])) if depth.valid.any() else None,
        "median_relative_deviation": float(np.median(relative)) if relative.size else None,
        "files": files,
        "warnings": warnings,
    }


def _report(done: list[dict[str, Any]], failed: list[dict[str, str]], folder: Path, as_json: bool) -> None:
    if as_json:
        json.dump({"pairs": done, "failed": failed}, sys.stdout, indent=2)
        click.echo()
    else:
        for about in done if len(done) == 1 else []:
            unit = "m" if about["unit"] == "m" else "translations"
            median = "none" if about["median_depth"] is None else f"{about['median_depth']:.3g} {unit}"
            click.echo(f"median depth {median}, {100 * about['valid']:.0f} % of the pixels: {about['output']}")
        if len(done) > 1:
            click.echo(f"{len(done)} depths in {folder}/NAME")
    report_failed(done, failed, ["frame0", "frame1"])
