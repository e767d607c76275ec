"""`leadline depth IMAGE`: metric depth, colours and a point cloud of single images and of videos in folders."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.report import report
from leadline.errors import UserError
from leadline.version import __version__

if TYPE_CHECKING:  # heavy imports stand in the functions, so that --help stays quick
    import numpy as np

    from leadline.geometry.camera import PinholeCamera
    from leadline.predict import Predictor

FILES = ("depth.png", "depth.npz", "depth_color.png", "cloud.ply")  # all that a run may write beside meta.json


@click.command("depth")
@click.argument("images")
@click.option("-o", "--output", required=True, metavar="DIR", help="Where the results go; made where missing.")
@click.option("-m", "--model", required=True, help="A model for monocular depth: a checkpoint or an exported model.")
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--resize", metavar="HxW", help="Predict at this size, mostly that of the training; else at their own.")
@click.option("--video", is_flag=True, help="IMAGES are frames of a video, in order: keep the memory.")
@click.option("--fx", type=float, metavar="PX", help="Focal length, for cloud.ply.")
@click.option("--fy", type=float, metavar="PX", help="Vertical focal length [fx].")
@click.option("--cx", type=float, metavar="PX", help="Principal point [image centre].")
@click.option("--cy", type=float, metavar="PX", help="Principal point [image centre].")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on depths that are no metres.")
@click.option("--max-depth", type=float, metavar="M", help="Limit of cloud.ply.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_context
def command(
    context: click.Context,
    images: str,
    output: str,
    model: str,
    device: str | None,
    resize: str | None,
    video: bool,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
    scale: float,
    max_depth: float | None,
    as_json: bool,
) -> None:
    """Predict the depth of single images.

    IMAGES is an image, a folder, or a quoted glob. Results of one image go into DIR, those of several into DIR/NAME:

    \b
    depth.png        mm, uint16; 0 where beyond 65.535 m
    depth.npz        metres, float32, key "depth"
    depth_color.png  red near, blue far
    cloud.ply        coloured points in metres (with --fx)
    meta.json        size, units, camera, model, time

    Depth is along the optical axis. What a model says in metres holds for images like those it was trained on.
    """
    from leadline.cli.options import parse_size
    from leadline.cli.pairs import find_images
    from leadline.files import writable_folder

    if not scale > 0:
        raise UserError(f"--scale {scale:g}: give a factor, more than 0")
    if max_depth is not None and not max_depth > 0:
        raise UserError(f"--max-depth {max_depth:g}: give metres, more than 0")
    if fx is None and any(value is not None for value in (fy, cx, cy)):
        raise UserError("--fy, --cx, --cy alone give no cloud: --fx (px) is needed")
    size = None if resize is None else parse_size(resize)
    found = find_images("IMAGES", images)
    folder = writable_folder(output)
    places = [folder] if len(found) == 1 else [folder / name for _, name in found]
    for (image, _), place in zip(found, places, strict=True):
        if place.resolve() == image.parent.resolve():
            raise UserError(f"{place}: the image is in there, and results could replace its truth: choose another")
    predictor = _load(model, device, size)
    predict = _as_video(model, device, size) if video else predictor.predict
    camera = (fx, fy, cx, cy) if fx is not None else None

    done, failed = [], []
    for (image, _), place in zip(found, places, strict=True):
        try:
            done.append(_predict_one(predict, predictor.name, image, place, camera, max_depth, scale))
        except (UserError, RuntimeError, MemoryError) as error:  # out of memory is a RuntimeError in torch
            if len(found) == 1:
                raise
            failed.append({"image": str(image), "error": " ".join(str(error).split()) or type(error).__name__})
    report(done, failed, folder, as_json, ["image"], "image")
    if failed:
        context.exit(1)


def _load(model: str, device: str | None, size: tuple[int, int] | None) -> Predictor:
    from leadline.models.network import Task
    from leadline.predict.resized import Resized
    from leadline.zoo import load

    predictor = load(model, device)
    if predictor.task is not Task.MONO:
        other = "predict" if predictor.task is Task.STEREO else predictor.task.value
        raise UserError(f"{model} is for {predictor.task.value}: depth takes a monocular model; see `leadline {other}`")
    return predictor if size is None else Resized(predictor, size)


def _as_video(model: str, device: str | None, size: tuple[int, int] | None) -> Callable[..., np.ndarray]:
    from leadline.checkpoint import load_network
    from leadline.predict.video import VideoDepth
    from leadline.zoo import find_checkpoint

    if size is not None:
        raise UserError("--video and --resize exclude each other: resize the frames beforehand")
    return VideoDepth(load_network(find_checkpoint(model)), device).next


def _predict_one(
    predict: Callable[..., np.ndarray],
    name: str,
    path: Path,
    folder: Path,
    numbers: tuple[float | None, ...] | None,
    max_depth: float | None,
    scale: float,
) -> dict[str, Any]:
    """Reads an image, predicts, writes the results and returns what meta.json says."""
    import numpy as np

    from leadline.colors import color_depth
    from leadline.data.formats.arrays import write_array
    from leadline.data.formats.depth_png import MILLIMETRES, write_depth_png
    from leadline.data.formats.images import read_image, write_image
    from leadline.data.formats.ply import write_ply
    from leadline.files import write_whole
    from leadline.geometry.cloud import depth_cloud

    image = read_image(path)
    start = time.perf_counter()
    depth = (predict(image) * np.float32(scale)).astype(np.float32)
    seconds = time.perf_counter() - start
    for old in FILES:  # an earlier run's cloud would pass for this image's
        (folder / old).unlink(missing_ok=True)
    files = {
        "depth.png": f"depth, mm, uint16; 0 where farther than {65535 / MILLIMETRES:.3f} m",
        "depth.npz": "depth, m, float32, along the optical axis",
        "depth_color.png": "depth in colours (Turbo: red near, blue far)",
    }
    write_depth_png(folder / "depth.png", depth)
    write_array(folder / "depth.npz", depth=depth)
    write_image(folder / "depth_color.png", color_depth(depth))
    camera = None if numbers is None else _camera(numbers, image.shape[:2])
    if camera is not None:
        points, colors = depth_cloud(depth, image, camera, max_depth=max_depth)
        write_ply(folder / "cloud.ply", points, colors)
        files["cloud.ply"] = "points, m, camera at the origin: x right, y down, z forward; RGB"
    about = {
        "leadline": __version__,
        "model": name,
        "image": str(path),
        "height": image.shape[0],
        "width": image.shape[1],
        "unit": "m",
        "scale": scale,
        "median_depth": round(float(np.median(depth)), 4),
        "camera": None if camera is None else camera.to_dict(),
        "seconds": round(seconds, 4),
        "files": files,
    }
    write_whole(folder / "meta.json", (json.dumps(about, indent=2) + "\n").encode())
    return about


def _camera(numbers: tuple[float | None, ...], size: tuple[int, ...]) -> PinholeCamera:
    from leadline.geometry.camera import PinholeCamera

    fx, fy, cx, cy = numbers
    if fx is None or not fx > 0 or (fy is not None and not fy > 0):
        raise UserError("--fx and --fy are px, more than 0")
    return PinholeCamera(
        fx,
        fx if fy is None else fy,
        (size[1] - 1) / 2 if cx is None else cx,
        (size[0] - 1) / 2 if cy is None else cy,
    )
