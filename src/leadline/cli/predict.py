"""`leadline predict LEFT RIGHT`: disparity, depth, colours and a point cloud of pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.report import report
from leadline.errors import UserError
from leadline.version import __version__

if TYPE_CHECKING:  # heavy imports stand in the functions, so that --help stays quick
    import numpy as np

    from leadline.cli.pairs import Pair
    from leadline.geometry.camera import StereoCamera
    from leadline.predict import Predictor

NEAR_END, CROWDED = 0.9, 0.01  # of a model's range, and share of the pixels there that is told


@dataclass(frozen=True)
class Options:
    """What the caller asked for, the same for every pair."""

    camera: StereoCamera | None
    consistency: bool
    occluded: str
    right_view: bool
    max_depth: float
    white_level: int | None
    check: bool


@click.command()
@click.argument("left")
@click.argument("right")
@click.option("-o", "--output", required=True, metavar="DIR", help="Where the results go; made where missing.")
@click.option("-m", "--model", default="plummet-s", show_default=True, help="A name of `leadline models`, or a file.")
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--num-disparities", type=int, help="How far sgbm, sgbm-padded and bm search, px, multiple of 16 [192].")
@click.option("--calib", metavar="FILE", help="Calibration: Middlebury's calib.txt, KITTI's, or JSON.")
@click.option("--focal", type=float, metavar="PX", help="Focal length, with --baseline, instead of --calib.")
@click.option("--baseline", type=float, metavar="M", help="Distance of the cameras, metres.")
@click.option("--doffs", type=float, metavar="PX", help="cx of the right camera - cx of the left [0].")
@click.option("--cx", type=float, metavar="PX", help="Principal point of the left camera [image centre].")
@click.option("--cy", type=float, metavar="PX", help="Principal point of the left camera [image centre].")
@click.option("--max-depth", type=float, default=65.535, show_default=True, metavar="M", help="Limit of cloud.ply.")
@click.option("--consistency", is_flag=True, help="Predict the right view too; write consistent.png, confidence.png.")
@click.option(
    "--occluded",
    type=click.Choice(["keep", "mask", "fill"]),
    default="keep",
    show_default=True,
    help="Pixels that fail the left-right check: keep, mark invalid, or fill with the background beside them.",
)
@click.option("--right-view", is_flag=True, help="Write the right view's disparity too: disparity_right.pfm.")
@click.option("--white-level", type=int, metavar="N", help="White in 16-bit images, such as 4095 for 12 bits [65535].")
@click.option("--check/--no-check", default=True, show_default=True, help="Look for unrectified or swapped views.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_context
def command(
    context: click.Context,
    left: str,
    right: str,
    output: str,
    model: str,
    device: str | None,
    num_disparities: int | None,
    calib: str | None,
    focal: float | None,
    baseline: float | None,
    doffs: float | None,
    cx: float | None,
    cy: float | None,
    max_depth: float,
    consistency: bool,
    occluded: str,
    right_view: bool,
    white_level: int | None,
    check: bool,
    as_json: bool,
) -> None:
    """Predict the disparity of rectified pairs.

    LEFT and RIGHT are two images, two folders, or two quoted globs, paired in the order of their sorted names. Results
    of one pair go into DIR, those of several into DIR/NAME:

    \b
    disparity.pfm        px, float32; inf where invalid
    disparity.png        px x 256, uint16; 0 where invalid or over 255.99 px
    disparity_color.png  blue far, red near
    depth.png            mm, uint16; 0 where invalid or beyond 65.535 m (with calibration)
    cloud.ply            coloured points in metres (with calibration)
    meta.json            sizes, units, sign, calibration, model, time, warnings

    Disparity is positive, the left view is the reference: x_right = x_left - d.
    """
    from leadline.cli.pairs import find_pairs
    from leadline.files import writable_folder
    from leadline.models.network import Task
    from leadline.zoo import load

    if white_level is not None and not 1 <= white_level <= 65535:
        raise UserError(f"--white-level {white_level}: give 1 to 65535")
    if not max_depth > 0:
        raise UserError(f"--max-depth {max_depth:g}: give metres, more than 0")
    options = Options(
        camera=_camera(calib, focal, baseline, doffs, cx, cy),
        consistency=consistency,
        occluded=occluded,
        right_view=right_view,
        max_depth=max_depth,
        white_level=white_level,
        check=check,
    )
    pairs = find_pairs(left, right)
    folder = writable_folder(output)
    places = [folder] if len(pairs) == 1 else [folder / pair.name for pair in pairs]
    for pair, place in zip(pairs, places, strict=True):
        if place.resolve() in (pair.left.parent.resolve(), pair.right.parent.resolve()):
            raise UserError(f"{place}: the images are in there, and results could replace their truth: choose another")
    predictor = load(model, device, num_disparities)
    if predictor.task is not Task.STEREO:
        raise UserError(f"{model} is for {predictor.task.value}: predict takes a stereo model")

    done, failed = _predict_all(predictor, pairs, folder, options)
    report(done, failed, folder, as_json, ["left", "right"])
    if failed:
        context.exit(1)


def _predict_all(
    predictor: Predictor, pairs: list[Pair], folder: Path, options: Options
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """What meta.json says of each pair, and the pairs that failed, with the reason."""
    from rich.console import Console
    from rich.progress import track

    if len(pairs) == 1:  # nothing else to go on with: its error is the command's error
        return [_predict_one(predictor, pairs[0], folder, options)], []
    done, failed = [], []
    console = Console(stderr=True)
    for pair in track(pairs, "predicting", console=console, disable=not console.is_terminal):
        try:
            done.append(_predict_one(predictor, pair, folder / pair.name, options))
        except (UserError, RuntimeError, MemoryError) as error:  # out of memory is a RuntimeError in torch
            reason = " ".join(str(error).split()) or type(error).__name__
            failed.append({"left": str(pair.left), "right": str(pair.right), "error": reason})
    return done, failed


def _predict_one(predictor: Predictor, pair: Pair, folder: Path, options: Options) -> dict[str, Any]:
    """Reads a pair, predicts, writes the results and returns what meta.json says."""
    import numpy as np

    from leadline.cli.results import Results
    from leadline.geometry.rectification import check_rectification
    from leadline.predict import predict_checked, predict_right

    results = Results(folder)
    left, right = (_read(path, options.white_level, results.warnings) for path in (pair.left, pair.right))
    start = time.perf_counter()
    checked = None
    if options.consistency or options.occluded != "keep":
        checked = predict_checked(predictor, left, right, options.occluded)
        disparity, right_disparity = checked.disparity, checked.right_disparity
    else:
        disparity = predictor.predict(left, right)
        right_disparity = predict_right(predictor, left, right) if options.right_view else None
    seconds = time.perf_counter() - start
    if options.check:
        results.warnings += check_rectification(left, right).warnings()

    valid = np.isfinite(disparity) & (disparity > 0)
    if checked is not None:
        valid &= checked.valid
    if not valid.any():
        results.warnings.append("no pixel has a valid disparity")
    results.warnings += _end_of_range(predictor, disparity[valid])
    results.clear()
    results.disparity(disparity, valid)
    if options.camera is not None:
        results.depth(disparity, valid, left, options.camera, options.max_depth)
    if options.right_view and right_disparity is not None:
        results.right_view(right_disparity)
    if checked is not None and options.consistency:
        results.trust(checked.consistent, checked.confidence)
    for warning in results.warnings:
        click.echo(f"leadline: warning: {pair.left}: {warning}", err=True)

    return results.meta(
        {
            "leadline": __version__,
            "model": predictor.name,
            "device": str(getattr(predictor, "device", "cpu")),
            "left": str(pair.left),
            "right": str(pair.right),
            "output": str(folder),
            "width": left.shape[1],
            "height": left.shape[0],
            "disparity": {"unit": "px", "reference": "left", "sign": "positive: x_right = x_left - d"},
            "valid": float(valid.mean()),
            "median_disparity": float(np.median(disparity[valid])) if valid.any() else None,
            "occluded": options.occluded,
            "consistent": None if checked is None else float(checked.consistent.mean()),
            "calibration": _calibration(options.camera),
            "seconds": round(seconds, 4),
        }
    )


def _end_of_range(predictor: Predictor, disparities: np.ndarray) -> list[str]:
    """A warning where many disparities are about as large as a network can find: larger ones may be there."""
    from leadline.classical import ClassicalStereo

    reach = predictor.max_disparity
    if isinstance(getattr(predictor, "inner", predictor), ClassicalStereo):
        return []  # beyond its range it finds noise, of any size
    if reach is None or disparities.size == 0 or (disparities > NEAR_END * reach).mean() < CROWDED:
        return []
    return [
        f"disparities crowd at the end of {predictor.name}'s range of {reach} px, and larger ones are missed: "
        f"-m {predictor.name}:careful or {predictor.name}:x0.5 reaches farther"
    ]


def _read(path: Path, white_level: int | None, warnings: list[str]) -> np.ndarray:
    """The image; 16-bit values are brought from `white_level` to the full range."""
    import numpy as np

    from leadline.data.formats.images import read_image

    image = read_image(path)
    if image.dtype != np.uint16:
        return image
    if white_level is not None:
        return np.minimum(image.astype(np.uint32) * 65535 // white_level, 65535).astype(np.uint16)
    brightest = int(image.max())
    if brightest < 8192:
        warnings.append(
            f"{path.name} has 16 bits but nothing brighter than {brightest}: if the camera gives fewer bits, say what "
            "white is, such as --white-level 4095 for 12 bits"
        )
    return image


def _camera(
    calib: str | None,
    focal: float | None,
    baseline: float | None,
    doffs: float | None,
    cx: float | None,
    cy: float | None,
) -> StereoCamera | None:
    numbers = {"focal": focal, "baseline": baseline, "doffs": doffs, "cx": cx, "cy": cy}
    given = {name: value for name, value in numbers.items() if value is not None}
    if calib is not None:
        if given:
            raise UserError(f"--calib and --{', --'.join(given)} exclude each other: give one or the other")
        from leadline.data.formats.calib import read_calib

        return read_calib(calib)
    if not given:
        return None
    if focal is None or baseline is None:
        raise UserError(f"--{', --'.join(given)} alone give no depth: both --focal (px) and --baseline (m) are needed")
    from leadline.data.formats.calib import camera_from_dict

    return camera_from_dict(given, "--focal, --baseline, ...")


def _calibration(camera: StereoCamera | None) -> dict[str, Any] | None:
    if camera is None:
        return None
    return {**camera.to_dict(), "units": {"focal": "px", "baseline": "m", "cx": "px", "cy": "px", "doffs": "px"}}
